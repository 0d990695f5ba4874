"""`prepare`: parallel, cleaned, resumable, the same for any number of workers."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from datasets import load_from_disk

from llm_action.cli import main
from llm_action.datasets import BENCHMARKS, describe_dataset, job, open_dataset, prepare, row_to_sequence, table_parts
from llm_action.datasets.job import read_missing_list
from llm_action.datasets.prepared import open_prepared, read_manifest
from llm_action.datasets.table_parts import write_part
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.skeleton_io import read_skeleton

NTU60 = BENCHMARKS["ntu60"]
JOINT_TAIL = " 277.419 191.8218 1036.233 519.1677 -0.2059419 0.05349901 0.9692109 -0.1239193 2\n"


def write_ntu(path: Path, seed: int, bodies: int = 1, frames: int = 20) -> None:
    """An NTU file with people who stand two metres away and move their arms."""
    rng = np.random.default_rng(seed)
    stature = np.stack([rng.uniform(-0.2, 0.2, 25), np.linspace(-0.9, 0.9, 25), np.full(25, 2.0)], -1)
    lines = [f"{frames}\n"]
    for _ in range(frames):
        lines.append(f"{bodies}\n")
        for body in range(bodies):
            joints = stature + np.array([body, 0, 0]) + rng.normal(0, 0.02, (25, 3))
            lines.append(f"7205759403793110{body} 0 1 1 1 1 0 0.02764709 0.05745083 2\n25\n")
            lines += [f"{x:.7g} {y:.7g} {z:.7g}{JOINT_TAIL}" for x, y, z in joints]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


@pytest.fixture
def ntu_tree(tmp_path) -> Path:
    """Three setups, two bodies in action 50, an empty, a bodyless, a damaged and a listed file."""
    root = tmp_path / "raw"
    names = [f"S{s:03}C{c:03}P{p:03}R001A{a:03}" for s in (1, 2, 17) for c in (1, 2) for p in (1, 3) for a in (1, 50)]
    for seed, name in enumerate(names):
        write_ntu(root / name[:4] / f"{name}.skeleton", seed, bodies=2 if name.endswith("050") else 1)
    (root / "S003C001P001R001A002.skeleton").write_text("")
    (root / "S003C001P001R001A003.skeleton").write_text("2\n0\n0\n")
    (root / "S003C001P001R001A004.skeleton").write_text("2\n1\nrubbish\n")
    write_ntu(root / "S003C001P001R001A005.skeleton", 99)
    write_ntu(root / "S018C001P001R001A061.skeleton", 99)  # of NTU RGB+D 120
    return root


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def command(source: Path, out: Path, *options: str) -> list[str]:
    return ["prepare", "ntu60", "--source", str(source), "--out", str(out), *options]


def test_a_folder_of_format_2_has_its_camera_column_too(ntu_tree, tmp_path):
    """There it was called view."""
    assert main(command(ntu_tree, tmp_path / "new", "--workers", "1")) == 0
    table, manifest = load_from_disk(str(tmp_path / "new")), read_manifest(tmp_path / "new")
    table.rename_column("camera", "view").save_to_disk(str(tmp_path / "old"))
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({**manifest, "format": 2, "parts": []}))
    assert open_prepared(tmp_path / "old").column_names == [*table.column_names]
    assert open_prepared(tmp_path / "old")["camera"][:] == table["camera"][:]


def test_what_comes_out(ntu_tree, tmp_path, capsys):
    listed = tmp_path / "missing.txt"
    listed.write_text("2 samples have no skeletons\n\nS003C001P001R001A005\nS009C001P001R001A005\n")
    out = tmp_path / "ntu60"
    assert main(command(ntu_tree, out, "--workers", "1", "--missing-list", str(listed))) == 0
    text = capsys.readouterr().out
    assert "24 sequences" in text and "5 files dropped" in text
    table = load_from_disk(str(out))
    assert len(table) == 24
    assert table.features["label"].names == list(NTU60.labels)
    row = next(row for row in table if row["name"] == "S017C002P003R001A050")
    assert (row["label"], row["subject"], row["camera"], row["cross_subject"], row["cross_view"]) == (
        49, 3, 2, "test", "train",
    )  # fmt: skip
    assert row["shape"] == [2, 20, 25, 3]
    dropped = {Path(row["file"]).stem[-4:]: row["why"] for row in csv.DictReader((out / "dropped.csv").open())}
    assert set(dropped) == {"A002", "A003", "A004", "A005", "A061"}
    assert "empty file" in dropped["A002"]
    assert "2 frames without a body" in dropped["A003"]
    assert "missing skeletons" in dropped["A005"]
    assert "none of ntu60" in dropped["A061"]
    manifest = read_manifest(out)
    assert manifest["counts"]["cross_subject"] == {"test": 12, "train": 12}
    assert manifest["persons"] == {"1": 12, "2": 12}
    assert manifest["subjects"] == {"1": 12, "3": 12}
    assert "leave_out_subject_N: each of 2 subjects" in text
    assert {part["file"]: part["sha256"] for part in manifest["parts"]}.items() <= content(out).items()


def test_test_recordings_that_training_has_too_are_said(ntu_tree, tmp_path, capsys):
    trained, tested = (
        next(ntu_tree.rglob(f"S001C00{camera}P00{person}R001A001.skeleton")) for camera, person in ((2, 1), (1, 3))
    )
    tested.write_bytes(trained.read_bytes())
    assert main(command(ntu_tree, tmp_path / "out", "--workers", "1")) == 0
    assert read_manifest(tmp_path / "out")["copies"] == {"cross_subject": 1, "cross_view": 1}
    rows = list(csv.DictReader((tmp_path / "out" / "copies.csv").open()))
    assert rows[0] == {"protocol": "cross_subject", "test recording": tested.stem, "training recording": trained.stem}
    assert "test recordings that are training recordings, number for number: 1" in capsys.readouterr().out


def test_any_number_of_workers_and_a_kill_give_the_same(ntu_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "FILES_PER_PART", 3)
    scan = NTU60.scan(ntu_tree)
    for workers in (1, 2, 3):
        prepare.prepare(NTU60, scan, tmp_path / f"out{workers}", workers=workers)
    expected = content(tmp_path / "out1")
    assert len([name for name in expected if name.endswith(".arrow")]) == 10
    assert content(tmp_path / "out2") == expected == content(tmp_path / "out3")
    assert set(expected) == {
        *(name for name in expected if name.endswith(".arrow")),
        "dataset_info.json", "doubtful.csv", "dropped.csv", "manifest.json", "state.json",
    }  # fmt: skip

    written = []

    def killed(folder, index, *rest):
        if len(written) == 4:
            (folder / "data-00009.123.tmp").write_bytes(b"half a part")
            raise KeyboardInterrupt
        written.append(index)
        return write_part(folder, index, *rest)

    monkeypatch.setattr(table_parts, "write_part", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(NTU60, scan, tmp_path / "again", workers=1)
    assert not (tmp_path / "again").exists()

    def counted(folder, index, *rest):
        written.append(index)
        return write_part(folder, index, *rest)

    monkeypatch.setattr(table_parts, "write_part", counted)
    prepare.prepare(NTU60, scan, tmp_path / "again", workers=1)
    assert sorted(written) == list(range(10)), "every part is written once"
    assert content(tmp_path / "again") == expected
    prepare.prepare(NTU60, scan, tmp_path / "again", workers=1)
    assert len(written) == 10, "what is finished is not done again"


def test_other_files_or_settings_are_not_mixed(ntu_tree, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(ntu_tree, out, "--workers", "1")) == 0
    assert main(command(ntu_tree, out, "--workers", "1", "--max-persons", "1")) == 2
    said = capsys.readouterr().err
    assert "holds a table of other files or settings" in said and "--restart" in said
    assert main(command(ntu_tree, out, "--workers", "1", "--max-persons", "1", "--restart")) == 0
    assert read_manifest(out)["persons"] == {"1": 25}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_said_and_nothing_is_lost(ntu_tree, tmp_path, monkeypatch, small_disk, capsys, workers):
    monkeypatch.setattr(job, "FILES_PER_PART", 6)
    assert main(command(ntu_tree, tmp_path / "whole", "--workers", "1")) == 0
    size = sum(path.stat().st_size for path in (tmp_path / "whole").glob("*.arrow"))
    out = small_disk(size // 2) / "out"
    assert main(command(ntu_tree, out, "--workers", workers)) == 2
    said = capsys.readouterr().err.splitlines()
    assert "No space left on device" in said[-1] and "the same command goes on from here" in said[-1]
    partial = out.with_name("out.partial")
    kept = {path: path.stat().st_mtime_ns for path in partial.glob("data-*.arrow")}
    assert kept and not out.exists()
    assert main(command(ntu_tree, out, "--workers", workers)) == 2, "there is still no room"
    small_disk(4 * size)
    assert main(command(ntu_tree, out, "--workers", workers)) == 0
    assert content(out) == content(tmp_path / "whole")
    assert kept.items() <= {partial / path.name: path.stat().st_mtime_ns for path in out.iterdir()}.items()


def test_a_damaged_part_of_an_interrupted_run_is_written_again(ntu_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "FILES_PER_PART", 6)
    scan = NTU60.scan(ntu_tree)
    prepare.prepare(NTU60, scan, tmp_path / "whole", workers=1)
    monkeypatch.setattr(prepare, "finish", lambda *_: None)  # cut off
    prepare.prepare(NTU60, scan, tmp_path / "out", workers=1)
    monkeypatch.undo()
    monkeypatch.setattr(job, "FILES_PER_PART", 6)
    partial = tmp_path / "out.partial"
    (partial / "data-00001.arrow").write_bytes(b"")  # as a power failure leaves a file
    (partial / "report-00002.json").write_text('{"rows": 3')
    prepare.prepare(NTU60, scan, tmp_path / "out", workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_second_run_in_the_same_folder_is_refused_and_a_killed_one_blocks_nothing(ntu_tree, tmp_path, capsys):
    out = tmp_path / "out"
    code = (
        "import sys, time\nfrom llm_action.cli import main\nfrom llm_action.datasets import table_parts\n"
        "table_parts._rows = lambda *_: (print('reading', flush=True), time.sleep(600))\n"
        f"sys.exit(main({command(ntu_tree, out, '--workers', '1')!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "reading\n"
        for option in ("--workers=1", "--restart", "--merge"):
            assert main(command(ntu_tree, out, option)) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"error: {out}: process {first.pid} on ") and said.count("\n") == 1
        first.kill()
        first.wait()
    assert main(command(ntu_tree, out, "--workers", "1")) == 0
    assert read_manifest(out)["rows"] == 25


def test_a_table_that_lost_a_part_says_so(ntu_tree, tmp_path):
    out = tmp_path / "out"
    prepare.prepare(NTU60, NTU60.scan(ntu_tree), out, workers=1)
    part = out / "data-00000.arrow"
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"data-00000\.arrow: expected .* bytes"):
        open_prepared(out)
    part.unlink()
    with pytest.raises(FileNotFoundError, match="prepare again"):
        open_prepared(out)


def test_prepared_folders_stand_in_for_the_raw_ones(ntu_tree, recordings, tmp_path):
    out = tmp_path / "ntu60"
    prepare.prepare(NTU60, NTU60.scan(ntu_tree), out, workers=1)
    benchmark, table = open_dataset("ntu60", out)
    assert (benchmark.name, len(table)) == ("ntu60", 25)
    benchmark, table = open_dataset(out)
    assert (benchmark.name, benchmark.layout, benchmark.default_protocol) == ("ntu60", "ntu25", "cross_subject")
    with pytest.raises(ValueError, match=r"expected ntu120, found a prepared folder of ntu60"):
        open_dataset("ntu120", out)
    with pytest.raises(ValueError, match="llm-action prepare ntu60"):
        open_dataset("ntu60", ntu_tree)
    with pytest.raises(ValueError, match="prepare folder"):
        describe_dataset(ntu_tree)

    utd = BENCHMARKS["utd_mhad"]
    prepare.prepare(utd, utd.scan(recordings), tmp_path / "utd", workers=1)
    raw, prepared = open_dataset("utd_mhad", recordings)[1], open_dataset("utd_mhad", tmp_path / "utd")[1]
    assert raw["name"][:] == prepared["name"][:]
    assert raw["cross_subject"][:] == prepared["cross_subject"][:]
    extractor = SkeletonFeatureExtractor()
    for one, other in zip(raw, prepared):
        np.testing.assert_allclose(
            extractor.normalize(row_to_sequence(one)), extractor.normalize(row_to_sequence(other)), atol=1e-4
        )


def test_duplicates_and_other_names(ntu_tree, tmp_path):
    write_ntu(ntu_tree / "copy" / "S001C001P001R001A001.skeleton", 0)
    with pytest.raises(ValueError, match=r"every sample once"):
        NTU60.scan(ntu_tree)
    with pytest.raises(FileNotFoundError, match="expected .json files of smarthome"):
        BENCHMARKS["smarthome"].scan(ntu_tree)


def test_missing_lists_are_read(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("302 of the captured samples\nhave missing skeleton data.\n\nS001C002P005R002A008\nx.skeleton\n")
    assert read_missing_list(path) == ["S001C002P005R002A008", "x"]


@pytest.mark.real_data
def test_real_files_are_normalised_alike_raw_and_prepared(data_root, tmp_path):
    folder = data_root / "ntu_samples"
    if not folder.is_dir():
        pytest.skip("no ntu_samples in the data folder")
    prepare.prepare(NTU60, NTU60.scan(folder), tmp_path / "out", workers=1)
    extractor = SkeletonFeatureExtractor("ntu25")
    table = open_prepared(tmp_path / "out")
    assert len(table) == 6
    for row in table:
        raw = extractor.normalize(read_skeleton(folder / f"{row['name']}.skeleton"))
        np.testing.assert_allclose(extractor.normalize(row_to_sequence(row)), raw, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_thousand_full_size_files(tmp_path):
    """Killed once, resumed: the same output, with less than 1 GB more memory than before the first file was read."""
    root, count = tmp_path / "raw", 5000
    for seed in range(20):
        write_ntu(tmp_path / f"{seed}.txt", seed, bodies=1 + (seed % 5 == 0), frames=90)
    sources = [(tmp_path / f"{seed}.txt").read_bytes() for seed in range(20)]
    root.mkdir()
    for index in range(count):
        action, subject, setup = index % 60 + 1, index // 60 % 40 + 1, index // 2400 + 1
        (root / f"S{setup:03}C001P{subject:03}R001A{action:03}.skeleton").write_bytes(sources[index % 20])
    arguments = [sys.executable, "-m", "llm_action.cli", *command(root, tmp_path / "killed", "--workers", "2")]

    process = subprocess.Popen(arguments)
    while len(list((tmp_path / "killed.partial").glob("data-*.arrow"))) < 8:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    done = len(list((tmp_path / "killed.partial").glob("data-*.arrow")))

    peak, baseline = peak_memory([*arguments])
    started = time.perf_counter()
    undisturbed = [sys.executable, "-m", "llm_action.cli", *command(root, tmp_path / "whole", "--workers", "2")]
    whole_peak, whole_baseline = peak_memory(undisturbed)
    seconds = time.perf_counter() - started
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert max(peak - baseline, whole_peak - whole_baseline) < 1e9
    size = sum(len(source) for source in sources) / len(sources) * count / 1e9
    print(
        f"{count} files, {size:.2f} GB: {seconds:.0f} s with start-up, killed after {done} parts of 20; "
        f"peak {whole_peak / 1e6:.0f} MB in all, {(whole_peak - whole_baseline) / 1e6:.0f} MB above baseline"
    )


def peak_memory(arguments: list[str]) -> tuple[int, int]:
    """Peak of the memory of a command and its workers, and what it took before the first part was begun, in bytes."""
    process = psutil.Popen(arguments)
    out = Path(arguments[arguments.index("--out") + 1] + ".partial")
    peak = baseline = 0
    while process.poll() is None:
        total = 0
        try:
            for one in (process, *process.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.Error:
            continue
        if not list(out.glob("*.tmp")):
            baseline = baseline or total
            baseline = max(baseline, total) if peak == 0 else baseline
        else:
            peak = max(peak, total)
        time.sleep(0.05)
    assert process.returncode == 0
    return peak, baseline
