"""The commands that show: explain and render, from files to files."""

import json

import pytest
from PIL import Image

from llm_action.cli import main


@pytest.fixture(scope="module")
def files(recordings):
    return [str(file) for file in sorted(recordings.glob("*_s2_*.mat"))[:2]]


def test_explain_writes_a_page_a_picture_each_and_a_json(tiny_export, files, tmp_path, capsys):
    out = tmp_path / "why.html"
    assert main(["explain", str(tiny_export), *files, "--out", str(out)]) == 0
    assert out.is_file() and (tmp_path / "why_1.png").is_file() and (tmp_path / "why_2.png").is_file()
    content = json.loads((tmp_path / "why.json").read_text())
    assert [one["name"] for one in content] == [file.rpartition("/")[2].removesuffix(".mat") for file in files]
    said = capsys.readouterr().out
    assert all(f"{file}: {one['ranking'][0]['label']}" in said for file, one in zip(files, content))


def test_a_file_that_cannot_be_read_stops_no_other(tiny_export, files, tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert main(["explain", str(tiny_export), str(bad), files[0], "--out", str(tmp_path / "why.html")]) == 2
    assert "1 of 2 files were not explained" in capsys.readouterr().err
    assert (tmp_path / "why.png").is_file()


def test_without_a_student_there_is_no_fast_explanation(tiny_export, files, tmp_path, capsys):
    assert main(["explain", str(tiny_export), files[0], "--fast", "--out", str(tmp_path / "why.html")]) == 2
    assert "has no student" in capsys.readouterr().err


def test_render_burns_in_what_the_model_says(tiny_export, files, tmp_path):
    plain, named = tmp_path / "plain.png", tmp_path / "named.png"
    assert main(["render", *files, "--out", str(plain)]) == 0
    assert main(["render", *files, "--out", str(named), "--model", str(tiny_export)]) == 0
    with Image.open(plain) as one, Image.open(named) as other:
        assert other.width == one.width and other.height > one.height


def test_render_says_which_suffixes_it_writes(files, tmp_path, capsys):
    assert main(["render", *files, "--out", str(tmp_path / "a.avi")]) == 2
    assert ".gif or .mp4 or .png" in capsys.readouterr().err
