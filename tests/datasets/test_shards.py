"""`prepare --shard` and `--merge`: the same table as from one machine, whatever is lost on the way is named."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.datasets import job, prepare, shards, table_parts
from llm_action.datasets.cleaning import Cleaning
from llm_action.datasets.folder import scan_folder
from llm_action.datasets.shards import Shard, merge_shards, prepare_shard
from llm_action.datasets.synthetic.sequences import generate_sequence

FILES_PER_PART = 2  # of 11 files: six parts
CLEANING = Cleaning(layout="ntu25")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(job, "FILES_PER_PART", FILES_PER_PART)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Eleven recordings of two classes, one of them damaged."""
    root = tmp_path_factory.mktemp("source")
    for index in range(11):
        file = root / ("wave" if index % 2 else "clap") / f"{index:02}.npy"
        file.parent.mkdir(exist_ok=True)
        action = "waving a hand" if index % 2 else "clapping hands"
        np.save(file, generate_sequence(action, index + 1, 2, 1).to_layout("ntu25").joints[0])
    (root / "wave" / "05.npy").write_bytes(b"rubbish")
    return root


@pytest.fixture
def whole(source, tmp_path) -> dict[str, str]:
    """What one machine writes."""
    assert main(command(source, tmp_path / "whole", "--workers", "1")) == 0
    return content(tmp_path / "whole")


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def command(source: Path, out: Path, *options: str) -> list[str]:
    return ["prepare", "folder", "--source", str(source), "--layout", "ntu25", "--out", str(out), *options]


@pytest.mark.parametrize("number", [1, 3, 4, 9])
def test_any_number_of_shards_in_any_order_is_the_table_of_one_machine(source, whole, tmp_path, number, capsys):
    out = tmp_path / "out"
    for one in np.random.default_rng(number).permutation(number) + 1:
        assert main(command(source, out, "--workers", "1", "--shard", f"{one}/{number}")) == 0
    assert main(command(source, out, "--merge")) == 0
    assert "10 sequences" in capsys.readouterr().out
    assert content(out) == whole
    assert len([name for name in whole if name.endswith(".arrow")]) == 6
    assert not (tmp_path / "out.shards").exists() and not (tmp_path / "out.partial").exists()
    assert main(command(source, out, "--merge")) == 0, "joined already"
    assert main(command(source, out, "--shard", f"1/{number}")) == 0, "nothing left to do"
    assert not (tmp_path / "out.shards").exists()


def test_missing_unfinished_and_damaged_shards_are_named(source, whole, tmp_path):
    (benchmark, scan), out = scan_folder(source, layout="ntu25"), tmp_path / "out"

    def write(number):
        return prepare_shard(benchmark, scan, out, Shard(number, 3), workers=1, cleaning=CLEANING)

    with pytest.raises(ValueError, match=r"found none; write them first with --shard 1/N"):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    first, third = write(1), write(3)
    with pytest.raises(ValueError, match=r"out\.shards: shard 2/3 is missing\. Run"):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    second = write(2)
    (second / "data-00004.arrow").unlink()
    part = third / "data-00002.arrow"
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # one bit, same size
    part.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"shard 2/3 .*data-00004.* missing; shard 3/3 .*data-00002.* damaged"):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    assert not out.exists()
    untouched = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    for number in (1, 2, 3):
        write(number)
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == untouched, (
        "what is whole is not written again"
    )
    merge_shards(benchmark, scan, out, cleaning=CLEANING)
    assert content(out) == whole


def test_shards_of_other_numbers_or_settings_are_not_mixed(source, tmp_path):
    (benchmark, scan), out = scan_folder(source, layout="ntu25"), tmp_path / "out"
    prepare_shard(benchmark, scan, out, Shard(1, 2), workers=1, cleaning=CLEANING)
    prepare_shard(benchmark, scan, out, Shard(2, 2), workers=1, cleaning=Cleaning(max_persons=1))
    with pytest.raises(ValueError, match=r"shard 2/2 is of other files or settings"):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    prepare_shard(benchmark, scan, out, Shard(2, 3), workers=1, cleaning=CLEANING)
    with pytest.raises(ValueError, match=r"found shards of 2 and of 3; remove"):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)


def test_an_interrupted_merge_goes_on(source, whole, tmp_path, monkeypatch):
    (benchmark, scan), out = scan_folder(source, layout="ntu25"), tmp_path / "out"
    for number in (1, 2):
        prepare_shard(benchmark, scan, out, Shard(number, 2), workers=1, cleaning=CLEANING)
    taken = []

    def cut_off(source, folder, index):
        if index == 3:
            (folder / "data-00003.arrow.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        taken.append(index)
        take(source, folder, index)

    take = table_parts._take_part
    monkeypatch.setattr(table_parts, "_take_part", cut_off)
    with pytest.raises(KeyboardInterrupt):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    monkeypatch.setattr(table_parts, "_take_part", take)
    assert taken == [0, 1, 2] and not out.exists()

    def cut_off_later(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "finish", cut_off_later)
    with pytest.raises(KeyboardInterrupt):
        merge_shards(benchmark, scan, out, cleaning=CLEANING)
    monkeypatch.setattr(shards, "finish", prepare.finish)
    merge_shards(benchmark, scan, out, cleaning=CLEANING)
    assert content(out) == whole


def test_shards_of_disks_that_know_no_links_are_copied(source, whole, tmp_path, monkeypatch):
    (benchmark, scan), out = scan_folder(source, layout="ntu25"), tmp_path / "out"
    for number in (1, 2):
        folder = prepare_shard(
            benchmark, scan, tmp_path / f"machine{number}" / "out", Shard(number, 2), workers=1, cleaning=CLEANING
        )
        shutil.copytree(folder, tmp_path / "out.shards" / folder.name)  # as rsync would

    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refused)
    merge_shards(benchmark, scan, out, cleaning=CLEANING)
    assert content(out) == whole


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "-1/2", "1/2/3", ""])
def test_a_shard_is_k_of_n(source, tmp_path, text, capsys):
    with pytest.raises(ValueError, match="expected K/N with K from 1 to N"):
        Shard.parse(text)
    if text.startswith("3"):
        assert main(command(source, tmp_path / "out", "--shard", text)) == 2
        assert "expected K/N" in capsys.readouterr().err


@pytest.mark.slow
def test_shards_written_at_once_by_processes_of_their_own(source, tmp_path):
    """With parts as they are in use: one part, so that one of the shards is empty."""
    python = [sys.executable, "-m", "llm_action.cli"]
    assert subprocess.run([*python, *command(source, tmp_path / "whole", "--workers", "1")]).returncode == 0
    running = [
        subprocess.Popen([*python, *command(source, tmp_path / "out", "--workers", "1", "--shard", f"{number}/2")])
        for number in (1, 2)
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert subprocess.run([*python, *command(source, tmp_path / "out", "--merge")]).returncode == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")
