"""COCO results, AlphaPose, MMPose, Ultralytics, Kinetics-Skeleton: the same motion as each tool writes it."""

import json

import numpy as np
import pytest
from motion import IMAGE, motion, pixels

from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_clips, read_skeleton, recordings_in


def save(path, content):
    path.write_text(json.dumps(content))
    return path


def flat(keypoints, score=0.9):
    return [float(number) for joint in keypoints for number in (*joint, score)]


def two(layout="coco17"):
    return [pixels(motion(layout, shift=shift)) for shift in (-1.0, 1.0)]


@pytest.mark.parametrize(("layout", "joints"), [("coco17", 17), ("halpe26", 26)])
def test_coco_results(tmp_path, layout, joints):
    places = pixels(motion(layout))
    content = [
        {"image_id": number, "category_id": 1, "keypoints": flat(frame), "score": 0.9}
        for number, frame in enumerate(places)
    ]
    sequence = read_skeleton(save(tmp_path / "clip.json", content[::-1]))
    assert (sequence.layout, sequence.joints.shape) == (layout, (1, 12, joints, 2))
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-6)


def test_alphapose_with_image_names_and_track_ids(tmp_path):
    left, right = two()
    content = []
    for number in range(12):
        for name, places in ((2, right), (1, left)):
            content.append(
                {"image_id": f"{number}.jpg", "category_id": 1, "keypoints": flat(places[number]), "idx": name}
            )
    sequence = read_skeleton(save(tmp_path / "alphapose-results.json", content))
    np.testing.assert_allclose(sequence.joints, [right, left], rtol=1e-6)


def test_alphapose_without_ids_and_with_gaps(tmp_path):
    left, right = two()
    content = []
    for number in range(12):
        people = [left, right] if number % 2 else [right, left]
        for places in people if number != 6 else []:
            content.append({"image_id": f"{number}.jpg", "category_id": 1, "keypoints": flat(places[number])})
    sequence = read_skeleton(save(tmp_path / "clip.json", content))
    assert sequence.joints.shape == (2, 12, 17, 2)
    seen = [number for number in range(12) if number != 6]
    np.testing.assert_allclose(sequence.joints[:, seen], np.array([right, left])[:, seen], rtol=1e-6)
    assert np.isnan(sequence.joints[:, 6]).all()


def test_alphapose_136_keeps_the_body(tmp_path):
    places = pixels(motion("halpe26"))
    whole = np.concatenate([places, np.ones((12, 110, 2))], axis=1)
    content = [{"image_id": f"{number}.jpg", "keypoints": flat(frame)} for number, frame in enumerate(whole)]
    sequence = read_skeleton(save(tmp_path / "clip.json", content))
    assert sequence.layout == "halpe26"
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-6)


def test_coco_annotations_with_visibility_flags(tmp_path):
    places = pixels(motion("coco17"))
    annotations = [{"image_id": 100 + number, "keypoints": flat(frame, 2)} for number, frame in enumerate(places)]
    annotations[3]["keypoints"][15:18] = [0, 0, 0]
    annotations[4]["keypoints"][17] = 1
    images = [{"id": 100 + number, "file_name": f"frame{11 - number}.png"} for number in range(12)]
    sequence = read_skeleton(save(tmp_path / "clip.json", {"images": images, "annotations": annotations}))
    np.testing.assert_allclose(sequence.joints[0, 0], places[11], rtol=1e-6)
    assert np.argwhere(np.isnan(sequence.joints).any(axis=-1)).tolist() == [[0, 8, 5]]


def instance(keypoints, score=0.9):
    return {"keypoints": keypoints.tolist(), "keypoint_scores": [score] * len(keypoints), "bbox": [[0, 0, 1, 1]]}


def test_mmpose_inferencer(tmp_path):
    left, right = two()
    frames = [
        {"frame_id": number, "instances": [instance(one[number]) for one in ([left, right], [right, left])[number % 2]]}
        for number in range(12)
    ]
    for content in (frames, {"meta_info": {"dataset_name": "coco"}, "instance_info": frames}):
        sequence = read_skeleton(save(tmp_path / "clip.json", content))
        assert sequence.layout == "coco17"
        np.testing.assert_allclose(sequence.joints, [left, right], rtol=1e-6)


def test_mmpose_names_in_meta_info_decide_the_layout(tmp_path):
    from llm_action.modeling.skeleton_layouts import get_layout

    places = motion("human36m17")
    names = {str(number): joint for number, joint in enumerate(get_layout("human36m17").joints)}
    frames = [{"frame_id": number, "instances": [instance(frame[:, :2] * 300)]} for number, frame in enumerate(places)]
    content = {"meta_info": {"keypoint_id2name": names}, "instance_info": frames}
    assert read_skeleton(save(tmp_path / "clip.json", content)).layout == "human36m17"


def test_mmpose_lifted_to_three_dimensions_is_z_up(tmp_path):
    places = motion("human36m17")
    lifted = np.stack([places[..., 0], -places[..., 2], places[..., 1]], axis=-1)
    frames = [{"frame_id": number, "instances": [instance(frame)]} for number, frame in enumerate(lifted)]
    sequence = read_skeleton(save(tmp_path / "clip.json", frames))
    assert sequence.layout == "human36m17"
    np.testing.assert_allclose(sequence.joints[0], places, rtol=1e-5, atol=1e-6)


def test_mmpose_of_a_single_image(tmp_path):
    sequence = read_skeleton(save(tmp_path / "image.json", [instance(one[0]) for one in two()]))
    assert sequence.joints.shape == (2, 1, 17, 2)


def ultralytics(keypoints, track=None):
    person = {"name": "person", "class": 0, "box": {}, "keypoints": {"x": keypoints[:, 0].tolist(),
              "y": keypoints[:, 1].tolist(), "visible": [0.9] * 17}}  # fmt: skip
    return person if track is None else {**person, "track_id": track}


def test_ultralytics_json(tmp_path):
    left, right = two()
    frames = [[ultralytics(right[number], 4), ultralytics(left[number], 9)] for number in range(12)]
    sequence = read_skeleton(save(tmp_path / "clip.json", frames))
    np.testing.assert_allclose(sequence.joints, [right, left], rtol=1e-6)
    (tmp_path / "clip.jsonl").write_text("\n".join(json.dumps(frame) for frame in frames))
    np.testing.assert_allclose(read_skeleton(tmp_path / "clip.jsonl").joints, [right, left], rtol=1e-6)
    folder = tmp_path / "wave" / "one"
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        save(folder / f"clip_{number}.json", frame)
    np.testing.assert_allclose(read_skeleton(folder).joints, [right, left], rtol=1e-6)
    assert recordings_in(tmp_path / "wave") == [folder]


@pytest.mark.parametrize("tail", [[], [0.8], [0.8, 3]])
@pytest.mark.parametrize("visible", [True, False])
def test_ultralytics_label_folders(tmp_path, tail, visible):
    places = pixels(motion("coco17"))
    folder = tmp_path / "run"
    (folder / "labels").mkdir(parents=True)
    for number, frame in enumerate(places / IMAGE):
        numbers = [0, 0.5, 0.5, 0.2, 0.6]
        for joint in frame:
            numbers += [*joint, 0.9] if visible else [*joint]
        (folder / "labels" / f"clip_{number + 1}.txt").write_text(" ".join(f"{value:.6g}" for value in numbers + tail))
    with pytest.warns(RecordingWarning, match="image_size="):
        read_skeleton(folder)
    sequence = read_skeleton(folder, image_size=IMAGE)
    assert sequence.joints.shape == (1, 12, 17, 2)
    np.testing.assert_allclose(sequence.joints[0], places, atol=0.01)


def kinetics(people_of_frames, **extra):
    data = []
    for number, people in enumerate(people_of_frames):
        skeleton = [
            {
                "pose": (places / IMAGE).round(5).ravel().tolist(),
                "score": [0.9 if joint.any() else 0.0 for joint in places],
            }
            for places in people
        ]
        data.append({"frame_index": number + 1, "skeleton": skeleton})
    return {"data": data, "label": "waving hand", "label_index": 5, **extra}


def test_kinetics_skeleton(tmp_path):
    left, right = two("openpose18")
    right[4, 2] = 0
    path = save(tmp_path / "clip.json", kinetics([[left[n], right[n]][:: 1 if n % 2 else -1] for n in range(12)]))
    sequence = read_skeleton(path, image_size=IMAGE)
    assert (sequence.layout, sequence.fps) == ("openpose18", 30)
    expected = np.array([right, left])
    expected[0, 4, 2] = np.nan
    np.testing.assert_allclose(sequence.joints, expected, atol=0.02)
    unsaid = read_skeleton(path)
    assert any("16:9" in note for note in unsaid.notes)
    np.testing.assert_allclose(unsaid.joints * 120, expected, atol=0.05)
    (clip,) = read_clips(path)
    assert clip.label == "waving hand"


@pytest.mark.parametrize("label", (["waving"], {"name": "waving"}, 1.5, True), ids=str)
def test_a_kinetics_label_is_a_name_or_a_number(tmp_path, label):
    path = save(tmp_path / "clip.json", kinetics([[one] for one in two("openpose18")[0]], label=label))
    with pytest.raises(ValueError, match=r"clip.json: expected 'label' as a name or a number"):
        list(read_clips(path))
    assert read_skeleton(path).num_frames, "what is recognised needs no label"


def test_a_kinetics_clip_without_anyone(tmp_path):
    with pytest.raises(ValueError, match="3 frames without anyone"):
        read_skeleton(save(tmp_path / "clip.json", kinetics([[], [], []])))
