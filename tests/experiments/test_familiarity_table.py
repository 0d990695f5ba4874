"""How strange motions are told from familiar ones, on UTD-MHAD and NW-UCLA."""

import json

import pytest

from llm_action.cli import main
from llm_action.evaluation.ledger import LEDGER_VARIABLE, read_ledger


@pytest.mark.real_data
@pytest.mark.slow
def test_strange_motions_are_told_from_familiar_ones(data_root, tmp_path, monkeypatch):
    out, ledger = tmp_path / "figures.json", tmp_path / "ledger.jsonl"
    monkeypatch.setenv(LEDGER_VARIABLE, str(ledger))
    command = ["benchmark", "familiarity", "--data", str(data_root / "utd_mhad"), "--ucla", str(data_root / "nw_ucla")]
    assert main([*command, "--json", str(out)]) == 0
    *splits, mean, whole = json.loads(out.read_text())
    assert [entry["dataset"] for entry in read_ledger(ledger)] == ["utd_mhad"] * 6
    assert len(splits) == 5 and mean["auroc of left out"] >= 0.80
    assert whole["auroc of other actions elsewhere"] >= 0.85
    for row in (*splits, whole):
        assert row["flagged: familiar"] <= 0.05
        assert all(row[f"auroc of {name}"] >= 0.99 for name in ("frozen", "empty", "random", "random, frozen"))
    assert whole["flagged: the same actions elsewhere"] <= 0.10
