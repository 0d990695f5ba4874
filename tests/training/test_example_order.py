"""The order in which examples are trained on."""

from __future__ import annotations

from collections import Counter

from llm_action.training.example_order import BalancedDraws, Passes

LENGTHS = [38] * 90 + [70] * 38


def test_every_pass_has_every_example_once_in_an_order_of_its_own():
    order = list(Passes(LENGTHS, 16, 3 * len(LENGTHS), seed=0))
    passes = [order[i : i + len(LENGTHS)] for i in range(0, len(order), len(LENGTHS))]
    assert all(sorted(one) == list(range(len(LENGTHS))) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_the_seed_decides_and_the_total_cuts():
    assert list(Passes(LENGTHS, 16, 50, seed=1)) == list(Passes(LENGTHS, 16, 500, seed=1))[:50]
    assert list(Passes(LENGTHS, 16, 50, seed=1)) != list(Passes(LENGTHS, 16, 50, seed=2))


def test_a_batch_has_one_length_and_the_batches_are_mixed():
    firsts = Counter()
    for seed in range(40):
        order = list(Passes(LENGTHS, 16, len(LENGTHS), seed))
        batches = [order[i : i + 16] for i in range(0, 7 * 16, 16)]
        assert all(len({LENGTHS[index] for index in batch}) == 1 for batch in batches)
        firsts[LENGTHS[batches[0][0]]] += 1
    assert min(firsts[38], firsts[70]) > 2  # neither length always comes first


def test_classes_are_mixed_within_a_batch():
    label_of = [index % 10 for index in range(100)]
    order = list(Passes([38] * 100, 20, 100, seed=0))
    assert all(len({label_of[index] for index in order[i : i + 20]}) >= 6 for i in range(0, 100, 20))


class TestBalancedDraws:
    CLASSES = (0,) * 200 + (1,) * 3 + (4,) * 20

    def test_a_rare_class_comes_as_often_as_a_frequent_one(self):
        drawn = Counter(self.CLASSES[index] for index in BalancedDraws(list(self.CLASSES), 3000, seed=0))
        assert set(drawn) == {0, 1, 4} and all(900 < count < 1100 for count in drawn.values())

    def test_within_a_class_all_examples_come_alike(self):
        drawn = Counter(BalancedDraws(list(self.CLASSES), 3000, seed=0))
        assert all(250 < drawn[index] < 420 for index in (200, 201, 202))

    def test_the_seed_decides(self):
        first, again, other = (list(BalancedDraws(list(self.CLASSES), 50, seed)) for seed in (1, 1, 2))
        assert first == again != other and len(first) == 50
