"""What stage 2 reads: held-out parts, few examples, token noise, batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets import describe_dataset
from llm_action.datasets import split as data
from llm_action.datasets.split import load_split
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.training.sentences import NEIGHBOURS, Collator, SentenceStream, TokenNoise

FIRST_ACTION = 100


@pytest.fixture(scope="module")
def experiment(tiny_config) -> Experiment:
    return load_experiment(tiny_config)


class TestSplit:
    def test_held_out_views_are_the_test_part(self, monkeypatch):
        rows = [(label, subject, camera) for label in range(2) for subject in range(1, 5) for camera in range(1, 4)]
        labels, subjects, cameras = (list(column) for column in zip(*rows, strict=True))
        parts = ["train" if subject % 2 else "test" for subject in subjects]
        names = ["sit", "stand"]
        columns = {"label": labels, "subject": subjects, "camera": cameras, "cross_subject": parts}
        table = Dataset.from_dict(columns).cast_column("label", ClassLabel(names=names))
        monkeypatch.setattr(data, "open_dataset", lambda *_: (describe_dataset("synthetic"), table))

        split = load_split(Experiment(holdout_cameras=[2, 3]), None)
        assert split.held_out and not load_split(Experiment(), None).held_out
        assert set(split.train["camera"]) == {1} and set(split.test["camera"]) == {2, 3}
        assert set(split.train["subject"]) == set(split.test["subject"]) == {1, 3}
        both = load_split(Experiment(holdout_cameras=[3], holdout_subjects=[1]), None)
        assert set(zip(both.train["subject"], both.train["camera"], strict=True)) == {(3, 1), (3, 2)}
        assert len(both.train) + len(both.test) == len(split.train) + len(split.test)
        with pytest.raises(ValueError, match="test part.*holdout_cameras"):
            load_split(Experiment(holdout_cameras=[9]), None)

    @pytest.mark.parametrize("number", (1, 2, 3))
    def test_so_many_examples_of_each_class(self, experiment, recordings, number):
        split = load_split(replace(experiment, training_examples_per_class=number), str(recordings))
        assert set(Counter(split.train["label"]).values()) == {number}
        whole = load_split(experiment, str(recordings))
        assert set(split.train["name"]) < set(whole.train["name"]) and split.test["name"] == whole.test["name"]

    def test_more_examples_keep_the_few_and_the_seed_chooses(self, experiment, recordings):
        def names(number: int, seed: int = 0) -> set[str]:
            chosen = replace(experiment, training_examples_per_class=number, seed=seed)
            return set(load_split(chosen, str(recordings)).train["name"])

        assert names(1) < names(2) < names(99) == names(0)
        assert len({frozenset(names(2, seed)) for seed in range(6)}) > 1

    def test_neutral_names_stand_for_the_same_classes(self, experiment, recordings):
        neutral = replace(experiment, recognizer=replace(experiment.recognizer, label_names="neutral"))
        given, plain = load_split(neutral, str(recordings)), load_split(experiment, str(recordings))
        assert given.labels == [f"class {number}" for number in range(1, 28)]
        assert given.test.features["label"].names == given.labels
        assert given.train["label"] == plain.train["label"]


@pytest.fixture(scope="module", params=("hyperbolic", "euclidean"))
def vqvae(request) -> ActionVQVAE:
    torch.manual_seed(0)
    config = ActionVQVAEConfig(
        num_frames=8, codebook_size=20, num_levels=2, code_dim=4, hidden_size=16, num_layers=1, num_heads=2,
        embedding_dim=8, geometry=request.param,
    )  # fmt: skip
    return ActionVQVAE(config).eval()


def writes(vqvae):
    """What token noise asks of a processor of one sense."""
    return SimpleNamespace(vqvae=vqvae, senses={}, first_action_id=FIRST_ACTION)


class TestTokenNoise:
    def test_a_share_of_the_action_tokens_becomes_neighbours(self, vqvae):
        noise, rng = TokenNoise(writes(vqvae), 0.3), np.random.default_rng(0)
        ids = [5, 7, *rng.integers(FIRST_ACTION, FIRST_ACTION + 40, 2000).tolist(), 9]
        noisy = noise(ids, rng)
        changed = [(old, new) for old, new in zip(ids, noisy, strict=True) if old != new]
        assert 0.25 < len(changed) / 2000 < 0.35
        assert noisy[:2] == [5, 7] and noisy[-1] == 9
        codes = vqvae.codebook.codes.detach().double()
        for old, new in changed[:200]:
            (level, code), (other_level, other) = (divmod(token - FIRST_ACTION, 20) for token in (old, new))
            assert other_level == level
            distances = [distance(codes[level, code], x, vqvae.config.geometry) for x in codes[level]]
            assert sum(d < distances[other] for d in distances) <= NEIGHBOURS  # itself and those nearer

    def test_an_item_has_its_own_noise_whenever_it_is_read(self, vqvae):
        rows = [{"input_ids": list(range(FIRST_ACTION, FIRST_ACTION + 40))}]
        stream = SentenceStream(rows, [0] * 6, seed=0, noise=TokenNoise(writes(vqvae), 0.5))
        backwards = [stream[item]["input_ids"] for item in reversed(range(6))][::-1]
        assert backwards == [stream[item]["input_ids"] for item in range(6)]
        assert len({tuple(ids) for ids in backwards}) == 6
        assert rows[0]["input_ids"] == list(range(FIRST_ACTION, FIRST_ACTION + 40))
        assert len(SentenceStream(rows, [0] * 6, seed=0)) == 6


def distance(x: torch.Tensor, y: torch.Tensor, geometry: str) -> float:
    if geometry == "euclidean":
        return float((x - y).norm())
    x, y = (torch.tanh(v.norm()) * v / v.norm() for v in (x, y))
    ratio = (x - y).square().sum() / ((1 - x.square().sum()) * (1 - y.square().sum()))
    return float(torch.arccosh(1 + 2 * ratio))


class TestCollator:
    EXAMPLES = (
        {"input_ids": [11, 12, 13, 7, 2], "answer_length": 2, "label": 4},
        {"input_ids": [11, 14, 8, 9, 6, 2], "answer_length": 4, "label": 0},
    )

    def test_answers_are_the_labels(self):
        batch = Collator(pad_token_id=0)(list(self.EXAMPLES))
        assert batch["input_ids"].tolist() == [[11, 12, 13, 7, 2, 0], [11, 14, 8, 9, 6, 2]]
        assert batch["attention_mask"].tolist() == [[1] * 5 + [0], [1] * 6]
        assert batch["labels"].tolist() == [[-100] * 3 + [7, 2, -100], [-100] * 2 + [8, 9, 6, 2]]

    def test_the_closed_set_reads_the_prompts_alone(self):
        batch = Collator(0, "closed_set")(list(self.EXAMPLES))
        assert batch["input_ids"].tolist() == [[11, 12, 13], [11, 14, 0]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
        assert batch["classes"].tolist() == [4, 0]
