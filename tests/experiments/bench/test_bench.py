"""The benchmark: its competitors give the exact scores, its figures are what they say, and a report comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

import llm_action
from llm_action.cli import main
from llm_action.config.experiment import Experiment
from llm_action.config.sections import RecognizerStage
from llm_action.datasets.utd_mhad import LABELS
from llm_action.experiments.bench.inputs import Sizes, candidate_names, load_inputs, untrained_model
from llm_action.experiments.bench.memory import measure, peak_bytes
from llm_action.experiments.bench.pipeline import write_ntu
from llm_action.experiments.bench.plot import plot_bench
from llm_action.experiments.bench.precision import PRECISIONS, precision_section
from llm_action.experiments.bench.run import SECTIONS, run_bench
from llm_action.experiments.bench.scoring import allowed_tokens, generate, label_by_label, label_ids, repeated_cache
from llm_action.experiments.bench.timing import Figure, ratio, take_turns
from llm_action.experiments.bench.training import our_trainer, stock_trainer
from llm_action.modeling.label_scoring import score_labels
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline

SIZES = Sizes(
    label_counts=(3, 8),
    labels=8,
    single_tokens=3,
    sequences=2,
    batch=2,
    batches=(1, 2),
    windows=2,
    training_steps=1,
    precision_sequences=2,
)


@pytest.fixture(scope="module")
def inputs(tiny_base, tmp_path_factory):
    folder = untrained_model(tmp_path_factory.mktemp("bench") / "model", str(tiny_base))
    return load_inputs(folder, False, SIZES)


class TestCompetitors:
    def test_all_give_the_exact_scores(self, inputs):
        model, tree, embeds = inputs.model.causal_lm, inputs.tree(8), inputs.embeds(0)
        labels = label_ids(tree)
        assert len({len(ids) for ids in labels}) > 1  # so that batches are padded
        with torch.no_grad():
            exact = score_labels(model, tree, embeds)[0]
        for scores in (
            label_by_label(model, embeds, labels),
            repeated_cache(model, embeds, labels, len(labels)),
            repeated_cache(model, embeds, labels, 3),
        ):
            torch.testing.assert_close(scores, exact, atol=1e-4, rtol=0)

    def test_the_repeated_cache_takes_labels_of_one_token(self, inputs):
        model, embeds = inputs.model.causal_lm, inputs.embeds(0)
        labels = [torch.tensor([7]), torch.tensor([9, 4, 2]), torch.tensor([5])]
        expected = label_by_label(model, embeds, labels)
        torch.testing.assert_close(repeated_cache(model, embeds, labels, 2), expected, atol=1e-4, rtol=0)

    def test_constrained_generation_answers_a_label(self, inputs):
        labels = label_ids(inputs.tree(8))
        end, longest = int(labels[0][-1]), max(map(len, labels))
        options = {"max_new_tokens": longest, "prefix_allowed_tokens_fn": allowed_tokens(labels)}
        for row in range(2):
            answer = generate(inputs.model.causal_lm, inputs.embeds(row), end, **options)
            assert answer in [ids[:-1].tolist() for ids in labels]
            assert len(generate(inputs.model.causal_lm, inputs.embeds(row), end)) <= 5

    def test_stock_and_our_training_have_one_loss(self, inputs, tmp_path):
        answer = [5, 6, inputs.processor.tokenizer.eos_token_id]
        prompts = [prompt[0].tolist() for prompt in inputs.prompts]
        prompts[1] = prompts[1][4:]  # so that the batch is padded
        rows = {
            "input_ids": [prompt + answer for prompt in prompts],
            "answer_length": [3, 3],
            "prompt_length": [len(prompt) for prompt in prompts],
            "label": [0, 0],
        }
        stage = RecognizerStage(steps=1, batch_size=2, base_dtype="float32", lora_rank=4)
        experiment = Experiment(base_model=inputs.model.config.base_model, recognizer=stage)
        losses, weights = [], []
        for make in (our_trainer, stock_trainer):
            trainer = make(experiment, inputs, Dataset.from_dict(rows), tmp_path)
            trainer.train()
            losses.append(trainer.state.log_history[0]["loss"])
            weights.append([weight for weight in trainer.model.parameters() if weight.requires_grad])
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)
        for ours, stock in zip(*weights, strict=True):  # one step of the same optimiser
            torch.testing.assert_close(ours, stock, atol=1e-4, rtol=0)


class TestFigures:
    def test_median_spread_and_target(self):
        figure = Figure("a / b", (3.0, 1.0, 2.0), target=">= 2")
        assert figure.as_dict() == {
            **{"name": "a / b", "unit": "x", "median": 2.0, "low": 1.0, "high": 3.0, "runs": 3},
            **{"target": ">= 2", "met": True},
        }
        assert not Figure("a", (2.0,), target="<= 1.9").met
        assert Figure("none wrong", (0.0,), target="<= 0").met
        assert "met" not in Figure("a", (2.0,)).as_dict()

    def test_ratios_are_of_runs_next_to_each_other(self):
        assert ratio({"a": [2.0, 30.0], "b": [1.0, 10.0]}, "a", "b").values == (2.0, 3.0)

    def test_ways_take_turns_on_the_same_input(self):
        calls: list[tuple[str, int]] = []
        seconds = take_turns("x", {name: lambda r, name=name: calls.append((name, r)) for name in "ab"}, 2)
        assert calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
        assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}

    def test_peak_memory_counts_what_is_freed_again(self):
        before = peak_bytes(lambda: None)
        held = peak_bytes(lambda: [torch.ones(2**25).sum() for _ in range(3)])  # 128 MiB at a time
        assert 0.9 * 2**27 < held - before < 3 * 2**27


def test_label_names_are_always_the_same_and_distinct():
    names = candidate_names(["my  own", "drink water"], 2000)
    assert names[:2] == ["my own", "drink water"]
    assert len(set(names)) == len(names) == 2000
    assert candidate_names(["my own", "drink water"], 30) == names[:30]


def test_written_ntu_files_are_read_back(inputs, tmp_path):
    sequence = inputs.sequences[0]
    found = llm_action.read_skeleton(write_ntu(sequence, tmp_path))
    assert found.layout == "ntu25"
    np.testing.assert_allclose(found.joints, sequence.joints, atol=1e-6)


def test_every_precision_is_held_against_float32(inputs):
    figures = {figure.name: figure for figure in precision_section(inputs, 1).figures}
    assert figures["float32, merged: difference of scores, largest"].met
    for name in set(PRECISIONS) - {"float32"}:
        assert 0 <= figures[f"{name}: same best label as float32"].median <= 1
    assert 0 < figures["int8: difference of scores, largest"].median < 5


def test_accuracy_is_that_of_the_pipeline_on_the_data_set(tiny_export, recordings):
    inputs = load_inputs(tiny_export, True, SIZES, "utd_mhad", str(recordings))
    recognize = SkeletonActionRecognitionPipeline(model=inputs.model, processor=inputs.processor)
    files = sorted(recordings.glob("*_s[2468]_*"))  # of the test part
    truth = [LABELS[int(file.name[1 : file.name.index("_")]) - 1] for file in files]
    right = [recognize(file, top_k=1)[0]["label"] == label for file, label in zip(files, truth, strict=True)]
    figures = {figure.name: figure.median for figure in precision_section(inputs, 1).figures}
    assert len(inputs.sequences) == len(files)
    assert figures["float32: top-1 on the data set"] == pytest.approx(np.mean(right), abs=1e-6)


def test_memory_is_measured_for_both_ways_of_scoring(inputs):
    assert all(-1e9 < peak < 2e9 for peak in measure(inputs.folder, 8, 2).values())


def test_report_and_plot(tiny_base, tmp_path, capsys):
    report = run_bench(sections=["scoring", "labels"], repeats=1, sizes=SIZES, base_model=str(tiny_base))
    assert json.loads(json.dumps(report)) == report
    figures = {figure["name"]: figure for figure in report["sections"]["scoring"]["figures"]}
    assert all(figure["met"] for name, figure in figures.items() if name.endswith("largest difference"))
    assert {"label by label / packed tree", "best-first top-5 / generate", "packed tree / backbone"} <= set(figures)
    assert figures["best-first top-5 / generate"].get("target") is None  # asked of trained models only
    points = [f for f in report["sections"]["labels"]["figures"] if f.get("curve") == "packed tree"]
    assert [point["x"] for point in points] == [3, 8]
    printed = capsys.readouterr().out
    assert "untrained" in printed and "label by label / packed tree" in printed
    with Image.open(plot_bench(report, tmp_path / "bench.png")) as picture:
        assert picture.width > 1000


def test_an_unknown_section_is_refused_with_the_known_ones(capsys):
    assert main(["benchmark", "speed", "--sections", "speed"]) == 2
    message = capsys.readouterr().err
    assert "unknown sections speed" in message and all(name in message for name in SECTIONS)
