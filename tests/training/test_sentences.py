"""What stage 2 reads: held-out parts, few examples, token noise, batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from datasets import ClassLabel, Dataset

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets import describe_dataset
from llm_action.datasets import split as data
from llm_action.datasets.split import load_split
from llm_action.training.sentences import Collator

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
