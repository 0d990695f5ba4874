"""Prepared tables on the Hub: pushed, loaded with `datasets`, and trained on part by part."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from llm_action.datasets import hub_table, job, prepare
from llm_action.datasets.hub_table import INDEX, PartByPart, open_hub_table, write_index
from llm_action.datasets.prepared import open_prepared
from llm_action.datasets.utd_mhad import BENCHMARK

NAME = "alice/tiny-table"
STEPS = ["vqvae.steps=6", "vqvae.save_steps=2", "recognizer.steps=6", "recognizer.save_steps=2"]


@pytest.fixture(scope="module")
def prepared(recordings, tmp_path_factory):
    """24 sequences in eight parts."""
    folder = tmp_path_factory.mktemp("prepared") / "utd_mhad"
    before, job.FILES_PER_PART = job.FILES_PER_PART, 3
    try:
        prepare.prepare(BENCHMARK, BENCHMARK.scan(str(recordings)), folder, workers=1)
    finally:
        job.FILES_PER_PART = before
    return folder


@pytest.fixture
def fetched(prepared, monkeypatch, tmp_path):
    """Stands for the Hub; the files asked for, in order."""
    write_index(prepared, tmp_path / INDEX)
    asked = []

    def file(dataset, name):
        asked.append(name)
        return tmp_path / name if name == INDEX else prepared / name

    monkeypatch.setattr(hub_table, "_fetched", file)
    hub_table._part.cache_clear()
    return asked


def test_rows_are_those_of_the_folder_and_parts_come_when_they_are_asked_for(prepared, fetched):
    table, local = open_hub_table(NAME), open_prepared(prepared).with_format("numpy")
    assert len(table) == len(local) and table["label"] == list(local["label"])
    assert table.features["label"].names == open_prepared(prepared).features["label"].names
    assert [name for name in fetched if name.endswith(".arrow")] == []
    chosen = table.select(np.array([20, 4, 21]))
    for place, row in zip((20, 4, 21), chosen):
        expected = local[place]
        np.testing.assert_array_equal(row["joints"], expected["joints"])
        assert [row[name] for name in ("name", "subject", "cross_subject")] == [
            expected[name] for name in ("name", "subject", "cross_subject")
        ]
    assert [name for name in fetched if name.endswith(".arrow")] == [
        "data-00006.arrow",
        "data-00001.arrow",
        "data-00007.arrow",
    ]


def test_a_pass_sees_every_row_once_and_holds_four_parts(prepared, fetched):
    table = open_hub_table(NAME)
    orders = [table.shuffled(np.random.default_rng((0, turn))) for turn in range(3)]
    for order in orders:
        assert sorted(order) == list(range(24))
        assert len({place // 3 for place in order[:12]}) == 4, "the first half is of four of the eight parts"
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[1], orders[2])
    made = PartByPart(table, lambda row: row["name"])
    fetched.clear()
    for place in orders[0]:
        assert made[place] == table["name"][place]
        assert len(made.held) <= 4
    assert len([name for name in fetched if name.endswith(".arrow")]) == 8, "each part once a pass"
    few = table.select(range(12))
    np.testing.assert_array_equal(
        few.shuffled(np.random.default_rng(1)), np.random.default_rng(1).permutation(12), "few parts: any order"
    )


def test_a_damaged_part_is_refused(prepared, fetched, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "copy")
    part = tmp_path / "copy" / "data-00002.arrow"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    table = open_hub_table(NAME)
    monkeypatch.setattr(hub_table, "_fetched", lambda dataset, name: tmp_path / "copy" / name)
    assert table[0]["name"]
    with pytest.raises(ValueError, match=r"data-00002.arrow is not what the manifest says"):
        table[6]


@pytest.fixture(scope="module")
def pushed(client, hub, prepared):
    done = client.command("push-data", prepared, NAME)
    assert done.status == 0, done.err
    return hub.repos["dataset", NAME]


def test_what_was_pushed_loads_with_datasets_and_has_a_card(client, hub, pushed, check_card, tmp_path):
    files = pushed.files()
    assert {"README.md", "manifest.json", INDEX, "data-00000.arrow", "data-00007.arrow"} <= set(files)
    assert check_card(files["README.md"].content.decode(), "dataset") == ([], [])
    code = f"""
import json
from datasets import load_dataset
table = load_dataset({NAME!r}, split="train")
streamed = load_dataset({NAME!r}, split="train", streaming=True)
print(json.dumps([len(table), table.features["label"].names[0], next(iter(streamed))["name"], table[0]["name"]]))
"""
    rows, label, first, same = client.run(code, tmp_path).json
    assert rows == 24 and label == BENCHMARK.labels[0] and first == same
    again = len(hub.uploads)
    assert client.command("push-data", tmp_path, NAME).status == 2, "no prepared folder"
    assert len(hub.uploads) == again


def train(client, config, out, dataset, *more):
    return client.command(
        "train", "--config", config, "--out", out, "--set", f"dataset={dataset}", *STEPS, *more, TQDM_DISABLE="1"
    )


def weights(run):
    files = [*run.glob("processor/**/*.safetensors"), *run.glob("model/**/*.safetensors")]
    assert len(files) == 6
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def test_both_stages_train_from_the_hub_and_a_stopped_run_goes_on(client, hub, pushed, prepared, tiny_config, tmp_path):
    done = train(client, tiny_config, tmp_path / "whole", NAME)
    assert done.status == 0, done.err[-2000:]
    sha = pushed.refs["main"]
    assert f"dataset: {NAME}@{sha}" in (tmp_path / "whole" / "experiment.yaml").read_text()
    card = (tmp_path / "whole" / "model" / "README.md").read_text()
    assert f"datasets:\n- {NAME}\n" in card and f"dataset: {NAME}@{sha}" in card, "the recipe names the commit"

    # stopped in either stage, and the data set has changed since
    code = f"""
import sys
from transformers import TrainerCallback, Trainer
from llm_action.cli import main
class Stops(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 3 and "STAGE" in args.output_dir:
            raise KeyboardInterrupt
before = Trainer.__init__
def with_stop(self, *args, **kwargs):
    before(self, *args, **kwargs)
    self.add_callback(Stops())
Trainer.__init__ = with_stop
command = ["train", "--config", {str(tiny_config)!r}, "--out", {str(tmp_path / "stopped")!r}]
sys.exit(main([*command, "--set", "dataset={NAME}", *{STEPS!r}]))
"""
    assert client.run(code.replace("STAGE", "vqvae"), TQDM_DISABLE="1").status == 130
    files = dict(pushed.files())
    pushed.commit("main", {name: blob for name, blob in files.items() if name != "data-00003.arrow"}, "a part less")
    assert client.run(code.replace("STAGE", "recognizer"), TQDM_DISABLE="1").status == 130
    done = train(client, tiny_config, tmp_path / "stopped", NAME)
    assert done.status == 0, done.err[-2000:]
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    pushed.commit("main", files, "the part again")


def test_sentences_are_those_of_the_folder(client, pushed, prepared, tiny_config, tmp_path):
    """With the same action tokenizer stage 2 reads the same, wherever the table lies: so it learns the same."""
    assert train(client, tiny_config, tmp_path / "hub", NAME).status == 0
    shutil.copytree(tmp_path / "hub" / "processor", tmp_path / "folder" / "processor")
    done = client.command(
        "train", "--stage", "recognizer", "--config", tiny_config, "--data", prepared, "--out", tmp_path / "folder",
        "--set", *STEPS, TQDM_DISABLE="1",
    )  # fmt: skip
    assert done.status == 0, done.err[-2000:]
    for file in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "hub" / "model" / file).read_bytes() == (tmp_path / "folder" / "model" / file).read_bytes()


def test_the_first_parts_are_enough_to_begin(client, hub, pushed, tiny_config, tmp_path):
    """A step of two sequences needs four parts of the eight at most; the others come when their turn comes."""
    code = f"""
import json
from llm_action.config.experiment import load_experiment
from llm_action.datasets.augmentation import AugmentedSkeletons, normalized
from llm_action.datasets.split import load_split
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
experiment = load_experiment({str(tiny_config)!r}, ["dataset={NAME}"])
split = load_split(experiment, None)
extractor = SkeletonFeatureExtractor("kinect20", 16)
sequences = normalized(split.train, extractor, "")
stream = AugmentedSkeletons(sequences, split.train["label"], experiment.augmentation, 16, 2, 100, 0)
print(json.dumps(float(stream[0]["skeletons"].sum())))
"""
    before = len(hub.requests)
    home = tmp_path / "home"
    done = client.fresh(code, HF_HOME=str(home))
    assert done.status == 0, done.err[-2000:]
    parts = {name for line in hub.requests[before:] for name in re.findall(r"data-\d+\.arrow", line)}
    assert len(parts) == 1, parts


def test_what_is_no_table_is_said(client, hub, pushed, tiny_config, tmp_path):
    for dataset in ("alice/nothing", "base-org/tiny-llama"):
        done = train(client, tiny_config, tmp_path / "run", dataset)
        assert done.status == 2 and dataset in done.err and len(done.err.strip().splitlines()) == 1, done.err
    done = train(client, tiny_config, tmp_path / "run", NAME, "extra_datasets=[{dataset: synthetic}]")
    assert done.status == 2 and "extra_datasets" in done.err
