"""The notebook in hub_cards, run cell by cell: from a recording to an answer, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "hub_cards" / "own_data.ipynb"


@pytest.fixture
def cells() -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def test_it_has_at_most_ten_cells_and_no_output():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert len(content["cells"]) <= 10
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in content["cells"])


@pytest.mark.parametrize("own", [False, True], ids=["made up", "a file of one's own"])
def test_every_cell_runs(cells, own, tiny_export, recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    display = SimpleNamespace(Image=lambda filename: Path(filename).read_bytes(), HTML=str, IFrame=lambda src, **_: src)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    file = sorted(recordings.glob("a3_*"))[0]
    given = {'MODEL = "runs/demo/model"': f"MODEL = {str(tiny_export)!r}"}
    if own:
        given["RECORDING = None"] = f"RECORDING = {str(file)!r}"
    for old, new in given.items():
        assert old in cells[0]
        cells[0] = cells[0].replace(old, new)
    known: dict = {}
    for number, cell in enumerate(cells, 1):
        exec(compile(cell, f"cell {number}", "exec"), known)
    assert len(known["ranking"]) == 3 and (tmp_path / "why.html").is_file()
    printed = capsys.readouterr().out
    assert "greeting" in printed and "<a" in printed
    if own:
        assert known["ranking"][0]["label"] == "wave"
