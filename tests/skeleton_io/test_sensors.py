"""MediaPipe, Azure Kinect, Kinect v2 tables, PKU-MMD, MSRC-12, MSR-Action3D's screen coordinates, NTU conversions."""

import json
import pickle

import numpy as np
import pytest
from motion import IMAGE, landmarks, motion, pixels, y_down

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_action_points, read_clips, read_skeleton


def names(text):
    return text.split()


MEDIAPIPE = motion("mediapipe33")
AROUND_HIPS = MEDIAPIPE - MEDIAPIPE[:, [23, 24]].mean(axis=1, keepdims=True)


def image_landmarks():
    """x, y in shares of the image, z in shares of its width from the hips' depth."""
    hips = MEDIAPIPE[:, [23, 24], 2].mean(axis=1)[:, None]
    depth = (MEDIAPIPE[..., 2] - hips) * 1080 / hips / IMAGE[0]
    return np.concatenate([pixels(MEDIAPIPE) / IMAGE, depth[..., None]], axis=-1)


def with_visibility(points, visibility=0.99):
    return np.concatenate([points, np.full((*points.shape[:2], 1), visibility)], axis=-1)


def test_mediapipe_world_landmarks_as_arrays(tmp_path):
    world = with_visibility(landmarks(MEDIAPIPE))
    for array in (world[..., :3], world, world[None], world.reshape(12, -1), world[..., :3].reshape(12, -1)):
        np.save(tmp_path / "clip.npy", array)
        sequence = read_skeleton(tmp_path / "clip.npy")
        assert sequence.layout == "mediapipe33"
        np.testing.assert_allclose(sequence.joints[0], AROUND_HIPS, atol=1e-5)
    assert "world landmarks" in " ".join(sequence.notes)


def test_mediapipe_world_landmarks_that_somebody_turned_already(tmp_path):
    np.save(tmp_path / "clip.npy", AROUND_HIPS)
    np.testing.assert_allclose(read_skeleton(tmp_path / "clip.npy").joints[0], AROUND_HIPS, atol=1e-6)
    np.save(tmp_path / "clip.npy", MEDIAPIPE)
    np.testing.assert_allclose(read_skeleton(tmp_path / "clip.npy").joints[0], MEDIAPIPE, atol=1e-6)


def test_mediapipe_image_landmarks_need_the_image_s_size(tmp_path):
    np.save(tmp_path / "clip.npy", with_visibility(image_landmarks()))
    with pytest.warns(RecordingWarning, match=r"clip.*image_size="):
        read_skeleton(tmp_path / "clip.npy")
    sequence = read_skeleton(tmp_path / "clip.npy", image_size=IMAGE)
    assert sequence.joints.shape == (1, 12, 33, 3)
    # places up to a shift and the image's scale; a camera draws near parts larger, hence the tolerance
    found = sequence.joints[0] - sequence.joints[0][:, [23, 24]].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found * 3.1, AROUND_HIPS, atol=0.12)


def test_mediapipe_hidden_landmarks_are_missing(tmp_path):
    world = with_visibility(landmarks(MEDIAPIPE))
    world[:, 25:, 3] = 0.05
    np.save(tmp_path / "clip.npy", world)
    missing = np.isnan(read_skeleton(tmp_path / "clip.npy").joints[0]).all(axis=-1)
    assert missing[:, 25:].all() and not missing[:, :25].any()


def test_mediapipe_json(tmp_path):
    world = [[dict(zip(("x", "y", "z", "visibility"), point)) for point in frame]
             for frame in with_visibility(landmarks(MEDIAPIPE)).tolist()]  # fmt: skip
    image = [[dict(zip(("x", "y", "z"), point)) for point in frame] for frame in image_landmarks().tolist()]
    contents = [
        world,
        [{"frame": n, "landmarks": frame} for n, frame in enumerate(world)],
        {"frames": [{"pose_landmarks": i, "pose_world_landmarks": w} for i, w in zip(image, world)]},
        [{"poseWorldLandmarks": [frame]} for frame in world],
        {"fps": 30, "frames": [{"landmarks": [list(point.values()) for point in frame]} for frame in world]},
    ]
    for content in contents:
        (tmp_path / "clip.json").write_text(json.dumps(content))
        sequence = read_skeleton(tmp_path / "clip.json")
        np.testing.assert_allclose(sequence.joints[0], AROUND_HIPS, atol=1e-5)


def write_csv(path, header, rows, delimiter=","):
    lines = [] if header is None else [delimiter.join(header)]
    lines += [
        delimiter.join(f"{value:.9g}" if isinstance(value, float) else str(value) for value in row) for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


MP_NAMES = names(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee "
    "right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
)


@pytest.mark.parametrize("kind", ["named", "upper", "numbered", "bare", "bare with frame", "long"])
def test_mediapipe_csv(tmp_path, kind):
    world = with_visibility(landmarks(MEDIAPIPE))
    rows = [[float(value) for value in frame.ravel()] for frame in world]
    path = tmp_path / "clip.csv"
    if kind == "named":
        header = ["frame", *(f"{name}_{axis}" for name in MP_NAMES for axis in ("x", "y", "z", "visibility"))]
        write_csv(path, header, [[number, *row] for number, row in enumerate(rows)])
    elif kind == "upper":
        header = [f"{name.upper()}.{axis}" for name in MP_NAMES for axis in ("x", "y", "z", "visibility")]
        write_csv(path, header, rows, ";")
    elif kind == "numbered":
        write_csv(path, [f"{axis}{number + 1}" for number in range(33) for axis in "xyzv"], rows)
    elif kind == "bare":
        write_csv(path, None, rows)
    elif kind == "bare with frame":
        write_csv(path, None, [[number, *row] for number, row in enumerate(rows)])
    else:
        long = [[number, joint, *map(float, world[number, joint])] for number in range(12) for joint in range(33)]
        write_csv(path, ["frame", "landmark", "x", "y", "z", "visibility"], long)
    sequence = read_skeleton(path)
    assert sequence.layout == "mediapipe33"
    np.testing.assert_allclose(sequence.joints[0], AROUND_HIPS, atol=1e-5)


AZURE_NAMES = names(
    "PELVIS SPINE_NAVEL SPINE_CHEST NECK CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HAND_LEFT "
    "HANDTIP_LEFT THUMB_LEFT CLAVICLE_RIGHT SHOULDER_RIGHT ELBOW_RIGHT WRIST_RIGHT HAND_RIGHT HANDTIP_RIGHT "
    "THUMB_RIGHT HIP_LEFT KNEE_LEFT ANKLE_LEFT FOOT_LEFT HIP_RIGHT KNEE_RIGHT ANKLE_RIGHT FOOT_RIGHT HEAD NOSE "
    "EYE_LEFT EAR_LEFT EYE_RIGHT EAR_RIGHT"
)


def test_azure_kinect_json(tmp_path):
    places = motion("azure32")
    frames = [
        {"timestamp_usec": 66_667 * number, "num_bodies": 1,
         "bodies": [{"body_id": 7, "joint_positions": (y_down(frame) * 1000).tolist(), "joint_orientations": []}]}
        for number, frame in enumerate(places)
    ]  # fmt: skip
    content = {"k4abt_sdk_version": "1.1.2", "joint_names": AZURE_NAMES, "frames": frames}
    (tmp_path / "clip.json").write_text(json.dumps(content))
    sequence = read_skeleton(tmp_path / "clip.json")
    assert sequence.layout == "azure32"
    assert sequence.fps == pytest.approx(15, abs=0.01)
    np.testing.assert_allclose(sequence.joints[0], places, atol=1e-5)
    frames[3]["bodies"][0]["confidence_levels"] = [2] * 31 + [0]
    (tmp_path / "clip.json").write_text(json.dumps(content))
    assert np.isnan(read_skeleton(tmp_path / "clip.json").joints[0, 3, 31]).all()
    frames[3]["bodies"][0]["joint_positions"].pop()
    (tmp_path / "clip.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"32 joint_positions \(Azure Kinect\)"):
        read_skeleton(tmp_path / "clip.json")


def test_azure_kinect_csv(tmp_path):
    places = motion("azure32")
    header = ["timestamp_usec", "body_id", *(f"{name}_{axis}" for name in AZURE_NAMES for axis in "XYZ")]
    rows = [[33_333 * n, 1, *map(float, (y_down(frame) * 1000).ravel())] for n, frame in enumerate(places)]
    sequence = read_skeleton(write_csv(tmp_path / "clip.csv", header, rows))
    assert (sequence.layout, round(sequence.fps)) == ("azure32", 30)
    np.testing.assert_allclose(sequence.joints[0], places, atol=1e-5)


KINECT_NAMES = names(
    "SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight "
    "WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight "
    "SpineShoulder HandTipLeft ThumbLeft HandTipRight ThumbRight"
)


@pytest.mark.parametrize("style", ["{name}_X", "{name}.x", "{name} x", "{name}X", "{name}_PositionX"])
def test_kinect_v2_csv(tmp_path, style):
    places = motion("ntu25")
    axes = [
        [style.replace("X", axis.upper()).replace("x", axis).format(name=name) for axis in "xyz"]
        for name in KINECT_NAMES
    ]
    header = ["Time", "BodyID", *(name for group in axes for name in group)]
    rows = [[0.04 * number, 72057594037931101, *map(float, frame.ravel())] for number, frame in enumerate(places)]
    sequence = read_skeleton(write_csv(tmp_path / "clip.csv", header, rows))
    assert (sequence.layout, round(sequence.fps)) == ("ntu25", 25)
    np.testing.assert_allclose(sequence.joints[0], places, atol=1e-5)


def test_kinect_v2_csv_with_states_without_header_and_two_bodies(tmp_path):
    left, right = motion("ntu25", shift=-0.8), motion("ntu25", shift=0.8)
    state = np.full((12, 25, 1), 2.0)
    state[4, 6] = 0
    rows = []
    for number in range(12):
        for body, places in ((3, left), (5, right)):
            joints = np.concatenate([places[number], state[number]], axis=-1)
            rows.append([number / 30, body, *map(float, joints.ravel())])
    sequence = read_skeleton(write_csv(tmp_path / "clip.csv", None, rows))
    assert (sequence.layout, round(sequence.fps)) == ("ntu25", 30)
    assert np.isnan(sequence.joints[:, 4, 6]).all()
    expected = np.array([left, right])
    expected[:, 4, 6] = np.nan
    np.testing.assert_allclose(sequence.joints, expected, atol=1e-5)


def test_pku_mmd(tmp_path):
    first, second = motion("ntu25", shift=-0.8), motion("ntu25", shift=0.8)
    second[8:] = 0
    rows = np.concatenate([first.reshape(12, -1), second.reshape(12, -1)], axis=1)
    rows[:2] = 0
    np.savetxt(tmp_path / "0002-L.txt", rows, fmt="%.7f")
    sequence = read_skeleton(tmp_path / "0002-L.txt")
    assert (sequence.layout, sequence.fps, sequence.first_frame) == ("ntu25", 30, 2)
    np.testing.assert_allclose(sequence.joints[0], first[2:], atol=1e-5)
    np.testing.assert_allclose(sequence.joints[1, :6], second[2:8], atol=1e-5)
    assert np.isnan(sequence.joints[1, 6:]).all()


def write_msrc12(path, frames=12, empty=4):
    places = motion("kinect20", frames)
    joints = np.concatenate([places, np.ones((frames, 20, 1))], axis=-1).reshape(frames, -1)
    joints[:empty] = 0
    times = 2_779_995_831 + 33_333 * np.arange(frames)
    path.write_text("\n".join(" ".join([str(t), *(f"{v:.6f}" for v in row)]) for t, row in zip(times, joints)))
    return places, times


def test_msrc12_with_its_action_points(tmp_path):
    path = tmp_path / "P1_1_10_p06.csv"
    places, times = write_msrc12(path)
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.first_frame, round(sequence.fps)) == ("kinect20", 4, 30)
    np.testing.assert_allclose(sequence.joints[0], places[4:], atol=1e-5)
    ticks = [int((times[frame] * 49875 - 24937.5) / 1000) for frame in (6, 9)]
    path.with_suffix(".tagstream").write_text(
        "XQPCTick;Tag\n" + "".join(f"{tick};G10 Change weapon\n" for tick in ticks)
    )
    (first, name), (second, _) = read_action_points(path)
    assert name == "G10 Change weapon"
    np.testing.assert_allclose([first, second], [6 / 30, 9 / 30], atol=1e-3)


def write_timed_csv(path, places, times):
    names = [f"{joint}_{axis}" for joint in get_layout("kinect20").joints for axis in "xyz"]
    rows = [",".join([f"{t:.4f}", *(f"{v:.6f}" for v in row.ravel())]) for t, row in zip(times, places, strict=True)]
    path.write_text("\n".join([",".join(["time", *names]), *rows]))


def test_frames_that_come_irregularly_get_a_regular_clock(tmp_path):
    frames = 240
    moments = np.arange(frames) / 30
    places = motion("kinect20", frames)
    kept = np.r_[0:60, 60:120:2, 120:150, 180:240]  # every second one is lost for a while, then all for a second
    write_timed_csv(tmp_path / "lost.csv", places[kept], moments[kept])
    sequence = read_skeleton(tmp_path / "lost.csv", layout="kinect20", up="y", unit="m")
    assert abs(sequence.fps - 30) < 0.5 and abs(sequence.num_frames - frames) <= 3
    seen = ~np.isnan(sequence.joints[0]).any(axis=(1, 2))
    seconds = np.arange(sequence.num_frames) / sequence.fps
    assert seen[seconds < 4.9].all() and not seen[(seconds > 5.1) & (seconds < 5.9)].any()
    there = places[np.round(seconds[seen] * 30).astype(int).clip(max=frames - 1)]
    assert np.abs(sequence.joints[0, seen] - there).max() < np.abs(np.diff(places, axis=0)).max() * 2.01
    assert any("irregularly" in note for note in sequence.notes)


def test_regular_time_stamps_change_no_frame(tmp_path):
    places = motion("kinect20", 90)
    moments = np.arange(90) / 30 + np.random.default_rng(0).uniform(-0.01, 0.01, 90)  # they jitter, and keep the pace
    write_timed_csv(tmp_path / "steady.csv", places, moments)
    sequence = read_skeleton(tmp_path / "steady.csv", layout="kinect20", up="y", unit="m")
    assert sequence.num_frames == 90 and abs(sequence.fps - 30) < 0.3
    np.testing.assert_allclose(sequence.joints[0], places, atol=1e-5)


@pytest.mark.real_data
def test_real_msrc12(data_root):
    paths = sorted((data_root / "msrc12_untrimmed").glob("*.csv"))[:3]
    if not paths:
        pytest.skip("msrc12_untrimmed is not in the data folder")
    for path in paths:
        sequence = read_skeleton(path)
        layout = get_layout(sequence.layout)
        upright = sequence.joints[0, :, layout.index("head"), 1] - sequence.joints[0, :, layout.index("left_foot"), 1]
        assert 1.0 < np.nanmedian(upright) < 2.0
        assert 25 < sequence.fps < 35
        points = read_action_points(path)
        end = (sequence.first_frame + sequence.num_frames) / sequence.fps
        assert points and all(sequence.first_frame / sequence.fps <= moment < end + 0.1 for moment, _ in points)


def test_msr_action3d_screen_coordinates(tmp_path):
    places = motion("kinect20_msr")
    x, y, z = np.moveaxis(places, -1, 0)
    screen = np.stack([160 - 285.63 * x / z, 120 - 285.63 * y / z, 1000 * z, np.ones_like(x)], axis=-1)
    np.savetxt(tmp_path / "a01_s01_e01_skeleton.txt", screen.reshape(-1, 4))
    sequence = read_skeleton(tmp_path / "a01_s01_e01_skeleton.txt")
    np.testing.assert_allclose(sequence.joints[0], places, atol=1e-5)
    assert "screen coordinates" in sequence.notes[0]


@pytest.mark.parametrize("shape", ["rows", "five axes"])
def test_ntu_conversions_in_one_archive(tmp_path, shape):
    clips = np.zeros((3, 20, 2, 25, 3), np.float32)
    for number in range(3):
        clips[number, : 10 + number, 0] = motion("ntu25", 10 + number)
    clips[1, :11, 1] = motion("ntu25", 11, shift=1.0)
    stored = clips.reshape(3, 20, 150) if shape == "rows" else clips.transpose(0, 4, 1, 3, 2)
    labels = np.eye(60)[[4, 5, 6]]
    np.savez(tmp_path / "NTU60_CS.npz", x_train=stored[:2], y_train=labels[:2], x_test=stored[2:], y_test=[6])
    found = list(read_clips(tmp_path / "NTU60_CS.npz"))
    assert [(clip.label, clip.splits) for clip in found] == [(4, ("train",)), (5, ("train",)), (6, ("test",))]
    assert [clip.sequence.joints.shape[:2] for clip in found] == [(1, 10), (2, 11), (1, 12)]
    np.testing.assert_allclose(found[1].sequence.joints, clips[1, :11].swapaxes(0, 1), rtol=1e-6)
    with pytest.raises(ValueError, match="read_clips"):
        read_skeleton(tmp_path / "NTU60_CS.npz")


def test_ntu_conversions_with_a_label_pickle(tmp_path):
    clips = np.zeros((2, 3, 20, 25, 2), np.float32)
    clips[:, :, :12, :, 0] = motion("ntu25").transpose(2, 0, 1)
    clips[1] = 0
    np.save(tmp_path / "val_data_joint.npy", clips)
    names = ["S001C001P001R001A005.skeleton", "S001C001P001R001A007.skeleton"]
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps((names, [4, 6])))
    dropped: list = []
    (clip,) = read_clips(tmp_path / "val_data_joint.npy", dropped=dropped)
    assert (clip.sequence.name, clip.label, clip.splits) == ("S001C001P001R001A005", 4, ("val",))
    assert [name for name, _ in dropped] == ["S001C001P001R001A007"]
    np.testing.assert_allclose(clip.sequence.joints[0], motion("ntu25"), rtol=1e-6)
    with pytest.raises(ValueError, match="2 clips"):
        read_skeleton(tmp_path / "val_data_joint.npy")
