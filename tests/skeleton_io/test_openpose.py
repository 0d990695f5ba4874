import json

import numpy as np
import pytest
from motion import IMAGE, motion, pixels, y_down

from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_skeleton, recordings_in


def person(keypoints: np.ndarray, scores: float = 0.9, key: str = "pose_keypoints_2d") -> dict:
    rows = [[*map(float, joint), scores if any(joint) else 0.0] for joint in keypoints]
    return {"person_id": [-1], key: [number for row in rows for number in row]}


def write_folder(folder, frames, name="clip", first=0):
    folder.mkdir(parents=True)
    for number, people in enumerate(frames, first):
        content = {"version": 1.3, "people": people}
        (folder / f"{name}_{number:012d}_keypoints.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("layout", ["body25", "openpose18"])
def test_a_folder_is_a_recording(tmp_path, layout):
    places = pixels(motion(layout))
    folder = write_folder(tmp_path / "wave" / "one", [[person(frame)] for frame in places], first=40)
    sequence = read_skeleton(folder)
    assert (sequence.layout, sequence.joints.shape, sequence.name) == (layout, (1, *places.shape), "one")
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-6)
    assert recordings_in(tmp_path) == [folder]


def test_people_in_any_order_who_come_and_go(tmp_path):
    left, right = (pixels(motion("body25", shift=shift)) for shift in (-1.0, 1.0))
    frames = []
    for number in range(12):
        people = [person(left[number]), person(right[number])]
        people = people[::-1] if number % 3 == 1 else people
        frames.append([person(left[number])] if number in (5, 6) else people)
    sequence = read_skeleton(write_folder(tmp_path / "two", frames))
    assert sequence.num_persons == 2
    np.testing.assert_allclose(sequence.joints[0], left, rtol=1e-6)
    seen = [number for number in range(12) if number not in (5, 6)]
    np.testing.assert_allclose(sequence.joints[1, seen], right[seen], rtol=1e-6)
    assert np.isnan(sequence.joints[1, 5:7]).all()


def test_zeros_and_unsure_joints_are_missing_and_empty_ends_cut(tmp_path):
    places = pixels(motion("body25"))
    places[3, 4] = 0
    people = [[person(frame)] for frame in places]
    people[5][0]["pose_keypoints_2d"][3 * 7 + 2] = 0.1
    sequence = read_skeleton(write_folder(tmp_path / "one", [[], [], *people, []]))
    assert (sequence.num_frames, sequence.first_frame) == (12, 2)
    assert np.argwhere(np.isnan(sequence.joints).any(axis=-1)).tolist() == [[0, 3, 4], [0, 5, 7]]


def test_frames_left_out_are_empty(tmp_path):
    folder = write_folder(tmp_path / "one", [[person(frame)] for frame in pixels(motion("body25"))])
    (folder / f"clip_{4:012d}_keypoints.json").unlink()
    sequence = read_skeleton(folder)
    assert sequence.num_frames == 12
    assert np.isnan(sequence.joints[0, 4]).all()


def test_three_dimensions_are_y_down(tmp_path):
    places = motion("body25")
    people = [[person(frame, key="pose_keypoints_3d")] for frame in y_down(places)]
    sequence = read_skeleton(write_folder(tmp_path / "one", people))
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-5, atol=1e-6)
    assert "-y pointed up" in " ".join(sequence.notes)


def test_shares_of_the_image_need_its_size(tmp_path):
    places = pixels(motion("body25"))
    folder = write_folder(tmp_path / "one", [[person(frame / IMAGE)] for frame in places])
    with pytest.warns(RecordingWarning, match="image_size="):
        read_skeleton(folder)
    sequence = read_skeleton(folder, image_size="1920x1080")
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-5)


def test_single_files(tmp_path):
    places = pixels(motion("body25"))
    frames = [{"version": 1.3, "people": [person(frame)]} for frame in places]
    (tmp_path / "one.json").write_text(json.dumps(frames[0]))
    assert read_skeleton(tmp_path / "one.json").num_frames == 1
    (tmp_path / "list.json").write_text(json.dumps(frames))
    np.testing.assert_allclose(read_skeleton(tmp_path / "list.json").joints[0], places, rtol=1e-6)
    by_image = {f"{number}.jpg": frames[number] for number in sorted(range(12), key=str)}
    (tmp_path / "alphapose.json").write_text(json.dumps(by_image))
    np.testing.assert_allclose(read_skeleton(tmp_path / "alphapose.json").joints[0], places, rtol=1e-6)


def test_refusals(tmp_path):
    folder = write_folder(tmp_path / "two", [[person(frame)] for frame in pixels(motion("body25"))])
    (folder / f"other_{4:012d}_keypoints.json").write_text("{}")
    with pytest.raises(ValueError, match="found 2 .*a folder of its own"):
        read_skeleton(folder)
    with pytest.raises(ValueError, match="4 frames without anyone"):
        read_skeleton(write_folder(tmp_path / "nobody", [[]] * 4))
    with pytest.raises(ValueError, match="3 numbers a joint"):
        read_skeleton(write_folder(tmp_path / "odd", [[{"pose_keypoints_2d": [1.0] * 76}]]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="a folder of other files"):
        read_skeleton(tmp_path / "empty")


def test_body25_is_never_taken_for_a_kinect(tmp_path):
    folder = write_folder(tmp_path / "one", [[person(frame)] for frame in pixels(motion("body25"))])
    with pytest.raises(ValueError, match="body25"):
        read_skeleton(folder, layout="coco17")
