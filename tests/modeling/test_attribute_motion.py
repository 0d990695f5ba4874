"""What a motion measures, and what an action's attributes lead one to expect of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from llm_action.modeling.action_attributes import ATTRIBUTES, mirrored_values, value_numbers
from llm_action.modeling.attribute_likelihood import AttributeStatistics
from llm_action.modeling.attribute_motion import AttributeMotion
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.motion_measures import SIDE, mirrored, motion_measures
from llm_action.modeling.skeleton_layouts import get_layout
from tests.modeling.standing import STANDING

LAYOUT = get_layout("kinect20")
FRAMES = 64
TIME = np.linspace(0, 1, FRAMES)
RAISED = np.clip(5 * np.minimum(TIME, 1 - TIME), 0, 1)


def person(rng: np.random.Generator, flat: bool = False, **hands: dict[str, np.ndarray]) -> np.ndarray:
    """(1, frames, 20, 3): somebody who stands and moves hands to the right, up and forward, a little otherwise each
    time."""
    joints = np.zeros((FRAMES, LAYOUT.num_joints, 3))
    for name, place in STANDING.items():
        for side, sign in (("right", 1), ("left", -1)):
            joints[:, LAYOUT.index(name.replace("*", side))] = np.array(place) * [sign if "*" in name else 1, 1, 1]
    for side, ways in hands.items():
        for axis, way in ways.items():
            column, sign = {"right": (0, 1), "up": (1, 1), "forward": (2, -1)}[axis]
            for joint, share in (("hand", 1), ("wrist", 0.8), ("elbow", 0.3)):
                joints[:, LAYOUT.index(f"{side}_{joint}"), column] += share * sign * way * rng.uniform(0.85, 1.15)
    joints += rng.normal(0, 0.01, joints.shape)
    return (joints * [1, 1, 0 if flat else 1])[None].astype(np.float32)


def swing(side: str, height: float, axis: str, times: float) -> dict[str, dict[str, np.ndarray]]:
    """A hand that is raised, goes to and fro, and drops."""
    to_and_fro = 0.5 * np.sin(2 * np.pi * times * TIME) * RAISED
    ways = {"up": height * RAISED}
    ways[axis] = ways.get(axis, 0) + to_and_fro
    return {side: ways}


def both(height: float, axis: str, times: float) -> dict[str, dict[str, np.ndarray]]:
    return swing("right", height, axis, times) | swing("left", height, axis, times)


HEIGHTS = {"at the chest": 1.0, "above the head": 2.0}
AXES = {"sideways": "right", "forward and back": "forward"}
ARMS = ("right arm", "left arm", "both arms")


def motions(flat: bool = False) -> dict[str, Action]:
    """Twelve made-up actions: arm, height and direction in every combination, and eight recordings of each."""
    found = {}
    for arm in ARMS:
        for hands, height in HEIGHTS.items():
            for direction, axis in AXES.items():
                rng = np.random.default_rng(len(found))
                ways = both(height, axis, 2) if arm == "both arms" else swing(arm.split()[0], height, axis, 2)
                meant = {"arms": (arm,), "hands": (hands,), "direction": (direction,)}
                recordings = np.stack([person(rng, flat, **ways) for _ in range(8)])
                found[f"{arm} {hands} {direction}"] = Action(LabelDescription(attributes=meant), recordings)
    return found


NAMES = [f"{arm} {hands} {direction}" for arm in ARMS for hands in HEIGHTS for direction in AXES]


@dataclass
class Action:
    """Recordings of one action, and what is seen of them."""

    description: LabelDescription
    recordings: np.ndarray

    def __post_init__(self):
        mask = np.ones(self.recordings.shape[:2], bool)
        self.numbers = value_numbers(self.recordings, mask, LAYOUT.name)
        self.measures = measured(self.recordings)
        self.mirrored = measured(mirrored(self.recordings, LAYOUT.name))


def measured(recordings: np.ndarray) -> np.ndarray:
    return motion_measures(recordings, np.ones(recordings.shape[:2], bool), LAYOUT.name)


def gathered(actions: dict[str, Action]) -> AttributeStatistics:
    labels = [label for label, action in actions.items() for _ in action.recordings]
    described = {label: action.description for label, action in actions.items()}
    numbers, measures, other = (
        np.concatenate([getattr(action, name) for action in actions.values()])
        for name in ("numbers", "measures", "mirrored")
    )
    return AttributeStatistics.gathered(numbers, labels, described, (measures, other))


def by_measures(statistics: AttributeStatistics, seen: Action, labels: list[LabelDescription]) -> np.ndarray:
    """(recordings, labels) what the measures add to the values that the joints show."""
    meant = statistics.value_shares(labels)
    return statistics.scores(seen.numbers, meant, seen.measures) - statistics.scores(seen.numbers, meant)


@pytest.fixture(scope="module")
def actions() -> dict[str, Action]:
    return motions()


class TestMeasures:
    def test_a_mirror_swaps_the_sides(self, actions):
        seen = actions["right arm at the chest sideways"]
        one, other, right = seen.measures, seen.mirrored, seen.recordings
        assert (one[:, SIDE] > 0.5).all() and (other[:, SIDE] < -0.5).all()
        np.testing.assert_allclose(one[:, SIDE], -other[:, SIDE], atol=1e-4)
        np.testing.assert_array_equal(mirrored(mirrored(right, LAYOUT.name), LAYOUT.name), right)

    def test_they_are_numbers_whatever_moves(self):
        rng = np.random.default_rng(0)
        still, absent = person(rng)[None], np.zeros((1, 1, FRAMES, 20, 3), np.float32)
        for recording in (still, absent, np.full_like(absent, np.nan), person(rng, flat=True)[None], still[:, :, :2]):
            found = measured(recording)
            assert found.shape == measured(still).shape and np.isfinite(found).all()

    def test_values_in_a_mirror(self):
        for name, attribute in ATTRIBUTES.items():
            values, swapped = list(attribute.values), mirrored_values(name)
            assert [swapped[number] for number in swapped] == list(range(len(values)))
            for value, number in zip(values, swapped, strict=True):
                words = value.replace("counter-clockwise", "clockwise").replace("left", "right")
                assert values[number].replace("counter-clockwise", "clockwise").replace("left", "right") == words
        assert mirrored_values("sweep") == [1, 0, 2] and mirrored_values("hands") == [0, 1, 2, 3]


class TestExpectations:
    @pytest.mark.parametrize("left_out", NAMES)
    def test_an_action_that_nobody_trained_on_is_named_by_its_attributes(self, actions, left_out):
        statistics = gathered({label: one for label, one in actions.items() if label != left_out})
        labels = list(actions)
        scores = by_measures(statistics, actions[left_out], [action.description for action in actions.values()])
        assert np.mean(scores.argmax(1) == labels.index(left_out)) > 0.7

    def test_the_other_side_is_known_from_the_mirror(self, actions):
        """Trained without any left arm."""
        statistics = gathered({label: one for label, one in actions.items() if not label.startswith("left")})
        left = "left arm above the head sideways"
        labels = [
            actions[label].description
            for label in (left, left.replace("left", "right"), left.replace("left arm", "both arms"))
        ]
        assert (by_measures(statistics, actions[left], labels).argmax(1) == 0).all()

    def test_a_label_may_allow_either_arm(self, actions):
        either = LabelDescription(attributes={"arms": ("right arm", "left arm"), "hands": ("above the head",)})
        two = LabelDescription(attributes={"arms": ("both arms",), "hands": ("above the head",)})
        statistics = gathered(actions)
        for arm, best in (("right arm", 0), ("left arm", 0), ("both arms", 1)):
            seen = actions[f"{arm} above the head sideways"]
            assert (by_measures(statistics, seen, [either, two]).argmax(1) == best).all()

    def test_a_label_that_says_nothing_scores_nothing(self, actions):
        scores = by_measures(gathered(actions), actions["right arm at the chest sideways"], [LabelDescription()])
        np.testing.assert_allclose(scores, 0, atol=1e-6)

    def test_motions_without_depth(self):
        """Of pictures a third of the measures never vary."""
        flat = motions(flat=True)
        statistics = gathered(flat)
        labels = [LabelDescription(attributes={"arms": (arm,)}) for arm in ARMS]
        for number, arm in enumerate(ARMS):
            assert (by_measures(statistics, flat[f"{arm} above the head sideways"], labels).argmax(1) == number).all()

    def test_they_are_stored_as_text(self, actions):
        statistics = gathered(actions)
        stored = AttributeMotion.unpacked(asdict(statistics)["motion"])
        assert all(isinstance(text, str) for text in statistics.motion.values())
        again = AttributeMotion.unpacked(stored.packed())
        for name in ("centre", "scale", "usual", "towards", "metric"):
            np.testing.assert_array_equal(getattr(again, name), getattr(stored, name))

    def test_models_from_before_count_the_values_alone(self, actions):
        statistics = gathered(actions)
        earlier = AttributeStatistics(confusions=statistics.confusions, shares=statistics.shares)
        labels = [action.description for action in actions.values()]
        assert not by_measures(earlier, actions["both arms at the chest sideways"], labels).any()

    def test_too_few_classes_expect_nothing(self, actions):
        one = {"right arm at the chest sideways": actions["right arm at the chest sideways"]}
        nothing = {
            label: replace(action, description=LabelDescription()) for label, action in list(actions.items())[:2]
        }
        assert gathered(one).motion is None and gathered(nothing).motion is None
