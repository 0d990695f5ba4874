import os
from pathlib import Path

import numpy as np
import pytest

from llm_action.skeleton_io import read_skeleton

ROOT = Path(__file__).parents[2]
SAMPLES = Path(os.environ.get("LLM_ACTION_DATA", ROOT / "../shared/data")) / "ntu_samples"


def write_ntu(path: Path, frames: list[list[tuple[str, np.ndarray]]]) -> Path:
    """frames: for every frame the (body id, joints (joints, 3)) seen in it."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body_id, joints in bodies:
            lines += [f"{body_id} 0 1 1 1 1 0 0.02 0.05 2", str(len(joints))]
            lines += [f"{x:.6f} {y:.6f} {z:.6f} 277.4 191.8 1036.2 519.1 -0.2 0.05 0.96 -0.12 2" for x, y, z in joints]
    path.write_text("\n".join(lines) + "\n")
    return path


def random_joints(seed: int, count: int = 25) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).round(6)


def test_bodies_are_tracked_by_id_across_empty_frames(tmp_path):
    # these two ids are the same number in double precision
    first, second = "72057594037931101", "72057594037931102"
    a, b, c, d = (random_joints(seed) for seed in range(4))
    path = write_ntu(tmp_path / "S001.skeleton", [[], [(first, a)], [(second, b), (first, c)], [(second, d)]])
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.fps, sequence.name) == ("ntu25", 30.0, "S001")
    assert sequence.joints.shape == (2, 3, 25, 3)
    assert sequence.first_frame == 1
    np.testing.assert_allclose(sequence.joints[0, 0], a, rtol=1e-6)
    np.testing.assert_allclose(sequence.joints[0, 1], c, rtol=1e-6)
    np.testing.assert_allclose(sequence.joints[1, 1:], [b, d], rtol=1e-6)
    assert np.isnan(sequence.joints[1, 0]).all()
    assert np.isnan(sequence.joints[0, 2]).all()
    assert (sequence.scores[0, 0] == 1).all()
    assert (sequence.scores[1, 0] == 0).all()


def moving_body(frames: int, shift: float = 0.0) -> np.ndarray:
    """(frames, 25, 3): one body that walks slowly along x."""
    body = np.random.default_rng(5).normal(scale=0.4, size=(25, 3)) + np.array([shift, 0, 3])
    return (body + np.linspace(0, 0.3, frames)[:, None, None] * [1, 0, 0]).round(6)


def test_a_new_id_in_each_frame_is_still_one_body(tmp_path):
    body = moving_body(12)
    path = write_ntu(tmp_path / "x.skeleton", [[(str(100 + frame), joints)] for frame, joints in enumerate(body)])
    sequence = read_skeleton(path)
    assert sequence.num_persons == 1
    np.testing.assert_allclose(sequence.joints[0], body, rtol=1e-6)
    assert any("followed" in note for note in sequence.notes)


def test_two_bodies_whose_ids_swap_midway(tmp_path):
    left, right = moving_body(12, -1.0), moving_body(12, 1.0)
    ids = [("7", "8") if frame < 6 else ("8", "7") for frame in range(12)]
    frames = [[(ids[frame][0], left[frame]), (ids[frame][1], right[frame])] for frame in range(12)]
    sequence = read_skeleton(write_ntu(tmp_path / "x.skeleton", frames))
    np.testing.assert_allclose(sequence.joints, [left, right], rtol=1e-6)


def test_joints_that_are_not_tracked_are_missing(tmp_path):
    path = write_ntu(tmp_path / "x.skeleton", [[("7", random_joints(0))], [("7", random_joints(0))]])
    lines = path.read_text().splitlines()
    lines[4 + 3] = lines[4 + 3].rpartition(" ")[0] + " 0"
    lines[4 + 4] = lines[4 + 4].rpartition(" ")[0] + " 1"
    path.write_text("\n".join(lines))
    sequence = read_skeleton(path)
    assert np.isnan(sequence.joints[0, 0, 3]).all()
    assert np.isfinite(sequence.joints[0, 0, 4]).all(), "inferred joints are kept"


def test_two_bodies_with_one_id_in_a_frame_stay_apart(tmp_path):
    a, b = random_joints(0), random_joints(1)
    sequence = read_skeleton(write_ntu(tmp_path / "x.skeleton", [[("7", a), ("7", b)]]))
    np.testing.assert_allclose(sequence.joints[:, 0], [a, b], rtol=1e-6)


def test_a_joint_at_the_camera_is_missing(tmp_path):
    joints = random_joints(0)
    joints[4] = 0
    sequence = read_skeleton(write_ntu(tmp_path / "x.skeleton", [[("7", joints)]]))
    assert np.isnan(sequence.joints[0, 0, 4]).all()
    assert np.isfinite(np.delete(sequence.joints, 4, axis=2)).all()


@pytest.mark.parametrize(
    "variant",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n",
        lambda text: text.replace(" 0.05 ", "  0.05\t"),
        lambda text: text.replace(" 2\n", " 2 \n"),
    ],
    ids=["carriage returns", "no last newline", "blank last line", "wider spaces", "spaces at the end"],
)
def test_the_same_with_other_white_space(tmp_path, variant):
    frames = [[("7", random_joints(0)), ("8", random_joints(1))], [], [("8", random_joints(2))]]
    path = write_ntu(tmp_path / "x.skeleton", frames)
    expected = read_skeleton(path)
    path.write_bytes(variant(path.read_text()).encode())
    sequence = read_skeleton(path)
    np.testing.assert_array_equal(sequence.joints, expected.joints)
    np.testing.assert_array_equal(sequence.scores, expected.scores)


def test_uav_human_is_coco_in_pixels(tmp_path):
    joints = np.abs(random_joints(0, 17)) * 300
    path = write_ntu(tmp_path / "P000S00G10B10H10UC022000LC021000A000R0.txt", [[("0", joints)], [("0", joints)]])
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.fps) == ("coco17", None)
    assert sequence.joints.shape == (1, 2, 17, 2)
    np.testing.assert_allclose(sequence.joints[0, 0], joints[:, :2], rtol=1e-6)


def damage(text: str, how: str) -> str:
    lines = text.split("\n")
    if how == "half":
        return "\n".join(lines[: len(lines) // 2])
    if how == "last value":
        return text.rstrip()[:-2]
    if how == "word":
        lines[5] = lines[5].replace(lines[5].split()[0], "x")
        return "\n".join(lines)
    if how == "body count":
        lines[1] = "one"
        return "\n".join(lines)
    if how == "no frames":
        return "0\n"
    if how == "nobody":
        return "3\n0\n0\n0\n"
    return text.replace("\n25\n", "\n24\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("half", "cut short"),
        ("last value", "cut short"),
        ("word", "cut short or damaged"),
        ("body count", "whole numbers"),
        ("no frames", "leave it out"),
        ("nobody", "3 frames without a body"),
        ("joint count", "25 .*found 24"),
    ],
)
def test_damaged_files_are_named(tmp_path, how, message):
    path = write_ntu(tmp_path / "S001.skeleton", [[("7", random_joints(frame))] for frame in range(3)])
    path.write_text(damage(path.read_text(), how))
    with pytest.raises(ValueError, match=message) as error:
        read_skeleton(path)
    assert str(path) in str(error.value)


def read_line_by_line(path: Path) -> tuple[dict[str, dict[int, list[list[float]]]], int]:
    """An independent reader: body id -> frame -> joints."""
    bodies: dict[str, dict[int, list[list[float]]]] = {}
    with path.open() as file:
        num_frames = int(file.readline())
        for frame in range(num_frames):
            for _ in range(int(file.readline())):
                body_id = file.readline().split()[0]
                rows = [file.readline().split() for _ in range(int(file.readline()))]
                bodies.setdefault(body_id, {})[frame] = [[float(value) for value in row[:3]] for row in rows]
    return bodies, num_frames


@pytest.mark.real_data
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no real data: set LLM_ACTION_DATA or put it in ../shared/data")
def test_real_files_equal_an_independent_reader():
    paths = sorted(SAMPLES.glob("*.skeleton"))
    assert len(paths) == 6
    persons = []
    for path in paths:
        bodies, num_frames = read_line_by_line(path)
        expected = np.full((len(bodies), num_frames, 25, 3), np.nan)
        for person, frames in enumerate(bodies.values()):
            for frame, joints in frames.items():
                expected[person, frame] = joints
        sequence = read_skeleton(path)
        np.testing.assert_array_equal(sequence.joints, expected.astype(np.float32), err_msg=path.name)
        persons.append(sequence.num_persons)
    assert sorted(persons) == [1, 1, 1, 2, 2, 2]
