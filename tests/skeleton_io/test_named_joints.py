"""Joints by name in the JSON, archives and pickles of one's own programs, and in the tables of motion capture."""

import json
import pickle
import warnings

import numpy as np
import pytest
from motion import IMAGE, motion, pixels

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_skeleton, recordings_in
from llm_action.skeleton_io.joint_names import standard_joints

PLACES = motion("kinect20").round(4)
NAMES = ["".join(word.capitalize() for word in joint.split("_")) for joint in get_layout("kinect20").joints]
RATE = 25.0


def point(place):
    return dict(zip("xyz", map(float, place), strict=False))


def frames(of_joint):
    """One mapping a frame: the time and what `of_joint` makes of each name and place."""
    return [
        {"time": number / RATE, "joints": of_joint(dict(zip(NAMES, map(list, frame), strict=True)))}
        for number, frame in enumerate(PLACES.tolist())
    ]


WAYS = {
    "places by name": frames(lambda joints: joints),
    "x, y, z by name": frames(lambda joints: {name: point(place) for name, place in joints.items()}),
    "capital letters": frames(lambda joints: {n: {"Position": dict(zip("XYZ", p))} for n, p in joints.items()}),
    "a list of joints": frames(lambda joints: [{"name": n, "position": p} for n, p in joints.items()]),
    "types and scores": frames(lambda joints: [{"jointType": n, **point(p), "score": 0.9} for n, p in joints.items()]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrap", ["list", "below a key", "lines", "by number", "persons"])
def test_frames_of_named_joints(tmp_path, way, wrap):
    content = WAYS[way]
    if wrap == "persons":
        content = {"frames": [{"time": one["time"], "bodies": [{"id": 4, **one}]} for one in content]}
    if wrap == "below a key":
        content = {"take": "wave", "data": content}
    if wrap == "by number":
        content = {str(number): one for number, one in enumerate(content)}
    text = "\n".join(map(json.dumps, content)) if wrap == "lines" else json.dumps(content)
    (tmp_path / "clip.json").write_text(text)
    sequence = read_skeleton(tmp_path / "clip.json")
    assert sequence.layout == "kinect20"
    np.testing.assert_allclose(sequence.joints[0], PLACES, atol=1e-4)
    assert sequence.fps == pytest.approx(RATE, abs=0.01)


def test_joints_directly_in_a_frame_and_missing_ones(tmp_path):
    content = [{"t": n / RATE, **dict(zip(NAMES, f.tolist()))} for n, f in enumerate(PLACES)]
    del content[3]["LeftHand"]
    content[4]["LeftHand"] = [None, None, None]
    (tmp_path / "clip.jsonl").write_text("\n".join(map(json.dumps, content)))
    joints = read_skeleton(tmp_path / "clip.jsonl").joints[0]
    hand = NAMES.index("LeftHand")
    assert np.isnan(joints[3:5, hand]).all()
    np.testing.assert_allclose(np.delete(joints, hand, 1), np.delete(PLACES, hand, 1), atol=1e-4)


def test_two_persons_keep_their_ids(tmp_path):
    one, other = PLACES, PLACES + np.array([1.5, 0, 0])
    content = [
        {"people": [{"id": key, "keypoints": dict(zip(NAMES, places[n].tolist()))} for key, places in order]}
        for n, order in enumerate(
            [(("a", one), ("b", other)) if n % 2 else (("b", other), ("a", one)) for n in range(12)]
        )
    ]
    (tmp_path / "clip.json").write_text(json.dumps({"fps": RATE, "frames": content}))
    sequence = read_skeleton(tmp_path / "clip.json")
    assert sequence.fps == RATE
    found = sorted(sequence.joints, key=lambda person: person[0, 0, 0])
    np.testing.assert_allclose(found, [one, other], atol=1e-4)


def test_named_pixels_are_pixels(tmp_path):
    shown = pixels(PLACES)
    content = [{n: {"x": p[0], "y": p[1], "confidence": 0.8} for n, p in zip(NAMES, f.tolist())} for f in shown]
    (tmp_path / "clip.json").write_text(json.dumps({"frame_rate": 30, "frames": content}))
    sequence = read_skeleton(tmp_path / "clip.json", image_size=IMAGE)
    np.testing.assert_allclose(sequence.joints[0], shown, rtol=1e-5)
    assert sequence.scores[0].min() == pytest.approx(0.8)


COCO = motion("coco17").round(4)


def test_what_pose_models_in_browsers_give(tmp_path):
    """TensorFlow.js and ml5: lists of poses a frame, keypoints with names, pixels beside metres."""
    joints = get_layout("coco17").joints
    camel = [joint.split("_")[0] + "".join(word.capitalize() for word in joint.split("_")[1:]) for joint in joints]
    shown = pixels(COCO)
    points = [[{**point(p), "score": 0.9, "name": n} for n, p in zip(joints, f)] for f in shown]
    parts = [[{"part": n, "score": 0.9, "position": point(p)} for n, p in zip(camel, f)] for f in shown]
    contents = {
        "lists of poses": [[{"score": 0.9, "keypoints": one}] for one in points],
        "with a frame of nobody": [[], *([{"keypoints": one}] for one in points)],
        "a pose a frame": [{"keypoints": one} for one in points],
        "ml5": [[{"pose": {"score": 0.9, "keypoints": one}, "skeleton": []}] for one in parts],
    }
    for way, content in contents.items():
        (tmp_path / "clip.json").write_text(json.dumps(content))
        found = read_skeleton(tmp_path / "clip.json")
        np.testing.assert_allclose(found.joints[0], shown, rtol=1e-5, err_msg=way)
        assert found.layout == "coco17", way
    metres = [[{**point(p), "name": n} for n, p in zip(joints, f)] for f in COCO * [-1, -1, 1]]
    both = [{"keypoints": flat, "keypoints3D": deep} for flat, deep in zip(points, metres)]
    (tmp_path / "clip.json").write_text(json.dumps(both))
    np.testing.assert_allclose(read_skeleton(tmp_path / "clip.json").joints[0], COCO, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "joints"),
    [
        ("hips_joint left_upLeg_joint left_leg_joint left_foot_joint", "hip_center left_hip left_knee left_ankle"),
        ("left_shoulder_1_joint left_arm_joint left_forearm_joint", "left_clavicle left_shoulder left_elbow"),
        ("Robot_Hips Robot_LeftUpLeg Robot_LeftLeg Robot_Head", "hip_center left_hip left_knee head"),
        ("LHJC RKJC LAJC RSJC LEJC RWJC", "left_hip right_knee left_ankle right_shoulder left_elbow right_wrist"),
        ("centerShoulder centerHead topHead leftWrist", "shoulder_center head head_top left_wrist"),
        ("left_hip left_knee left_ankle", "left_hip left_knee left_ankle"),
        ("Waist Torso LeftCollar LeftHand LeftWrist", "hip_center spine left_collar left_hand left_wrist"),
    ],
)
def test_names_of_arkit_rigs_and_joint_centres(names, joints):
    assert standard_joints(names.split()) == joints.split()


def test_arrays_with_names_and_numbers_alone(tmp_path):
    flat = [f"{name}_{axis}" for name in NAMES for axis in "xyz"]
    rows = PLACES.reshape(len(PLACES), -1)
    records = [{"label": "wave", **dict(zip(flat, row))} for row in rows.tolist()]
    contents = {
        "axes said": PLACES.transpose(2, 0, 1).tolist(),
        "names beside": {"fps": RATE, "joint_names": NAMES, "positions": PLACES.tolist()},
        "numbers": PLACES.tolist(),
        "numbers below a key": {"poses": PLACES.tolist()},
        "joint by joint": {"fps": RATE, "joints": {n: PLACES[:, j].tolist() for j, n in enumerate(NAMES)}},
        "axis by axis": {
            n: {axis: PLACES[:, j, i].tolist() for i, axis in enumerate("xyz")} for j, n in enumerate(NAMES)
        },
        "numbers as texts": [{n: [str(v) for v in p] for n, p in zip(NAMES, f.tolist())} for f in PLACES],
        "deep down": {"take": {"meta": {"fps": RATE}, "frames": frames(lambda joints: joints)}},
        "pandas' records": records,
        "pandas' columns": {name: {str(n): v for n, v in enumerate(rows[:, c])} for c, name in enumerate(flat)},
        "columns": {name: rows[:, column].tolist() for column, name in enumerate(flat)},
    }
    for way, content in contents.items():
        (tmp_path / "clip.json").write_text(json.dumps(content))
        layout = "kinect20" if way in ("axes said", "numbers", "numbers below a key") else None
        axes = "CTV" if way == "axes said" else None
        found = read_skeleton(tmp_path / "clip.json", layout=layout, axes=axes)
        np.testing.assert_allclose(found.joints[0], PLACES, atol=1e-4, err_msg=way)


def test_joints_without_names_frame_by_frame(tmp_path):
    lists = PLACES.tolist()
    contents = {
        "arrays": [{"time": number / RATE, "joints": frame} for number, frame in enumerate(lists)],
        "a row of numbers": [{"landmarks": frame.ravel().tolist()} for frame in PLACES],
        "ZED": {str(40 * n): {"body_list": [{"id": 1, "keypoint": frame}]} for n, frame in enumerate(lists)},
        "Panoptic": [{"bodies": [{"id": 0, "joints19": [[*p, 0.9] for p in frame]}]} for frame in lists],
    }
    for way, content in contents.items():
        (tmp_path / "clip.json").write_text(json.dumps(content))
        found = read_skeleton(tmp_path / "clip.json", layout="kinect20")
        np.testing.assert_allclose(found.joints[0], PLACES, atol=1e-4, err_msg=way)
        alone = read_skeleton(tmp_path / "clip.json")  # bones tell which of three layouts with as many joints it is
        np.testing.assert_allclose(alone.to_layout("kinect20").joints[0], PLACES, atol=1e-4, err_msg=way)


def test_archives_and_pickles_of_one_s_own(tmp_path):
    np.savez(tmp_path / "names.npz", keypoints_3d=PLACES, joint_names=NAMES, framerate=RATE)
    np.savez(tmp_path / "nameless.npz", PLACES)
    np.savez(tmp_path / "each.npz", **{name: PLACES[:, number] for number, name in enumerate(NAMES)})
    (tmp_path / "dict.pkl").write_bytes(pickle.dumps({"joints": PLACES, "fps": RATE}))
    (tmp_path / "array.pkl").write_bytes(pickle.dumps(PLACES))
    (tmp_path / "named.pkl").write_bytes(pickle.dumps(WAYS["places by name"]))
    for name, options in {
        "names.npz": {},
        "each.npz": {},
        "nameless.npz": {"layout": "kinect20"},
        "dict.pkl": {"layout": "kinect20"},
        "array.pkl": {"layout": "kinect20"},
        "named.pkl": {},
    }.items():
        found = read_skeleton(tmp_path / name, **options)
        np.testing.assert_allclose(found.joints[0], PLACES, atol=1e-4, err_msg=name)
        assert found.fps in (None, pytest.approx(RATE)), name


def test_what_lies_beside_the_joints_counts(tmp_path):
    """As in a mapping in memory: layout, what points up, the unit, scores; texts that are no joints' names do not."""
    z_up = 1000 * PLACES[..., [0, 2, 1]] * [1, -1, 1]
    scores = np.ones(PLACES.shape[:2])
    scores[3, -1] = 0.1
    said = {"up": "z", "unit": "mm", "fps": RATE}
    np.savez(tmp_path / "names.npz", joints=z_up, joint_names=NAMES, scores=scores, **said)
    np.savez(tmp_path / "labels.npz", joints=z_up, names=["wave", "clap"], layout="kinect20", scores=scores, **said)
    content = {"joints": z_up.tolist(), "layout": "kinect20", "scores": scores.tolist(), **said}
    (tmp_path / "mapping.json").write_text(json.dumps(content))
    for name in ("names.npz", "labels.npz", "mapping.json"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RecordingWarning)
            found = read_skeleton(tmp_path / name)
        assert found.layout == "kinect20" and found.fps == RATE, name
        assert np.isnan(found.joints[0, 3, -1]).all(), name
        np.testing.assert_allclose(found.joints[0, :, :-1], PLACES[:, :-1], atol=1e-4, err_msg=name)


def test_matlab_s_only_array(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "clip.mat", {"skel": PLACES.transpose(1, 2, 0), "rate": RATE})
    found = read_skeleton(tmp_path / "clip.mat", layout="kinect20", axes="VCT")
    np.testing.assert_allclose(found.joints[0], PLACES, atol=1e-4)


def cells(places, number, time=True):
    return [str(number), f"{number / RATE:.4f}", *(f"{value:.3f}" for value in places.ravel())]


def three(names):
    return [name for name in names for _ in "xyz"]


def optitrack():
    turned = [[f"{0:.3f}", f"{0:.3f}", f"{1:.3f}", *map("{:.5f}".format, place)] for place in PLACES.reshape(-1, 3)]
    width = 6 * len(NAMES)
    head = [
        "Format Version,1.23,Take Name,wave,Capture Frame Rate,25.000000,Length Units,Meters",
        "",
        ",," + ",".join(["Bone"] * width),
        ",," + ",".join(f"Skeleton 1:{name}" for name in NAMES for _ in range(6)),
        ",," + ",".join(["3F"] * width),
        ",," + ",".join((["Rotation"] * 3 + ["Position"] * 3) * len(NAMES)),
        "Frame,Time (Seconds)," + ",".join(["X", "Y", "Z"] * 2 * len(NAMES)),
    ]
    per_frame = np.reshape(turned, (len(PLACES), -1))
    return head + [f"{number},{number / RATE:.4f}," + ",".join(row) for number, row in enumerate(per_frame)]


def qualisys():
    head = [f"NO_OF_FRAMES\t{len(PLACES)}", "FREQUENCY\t25", "DESCRIPTION\t--", "MARKER_NAMES\t" + "\t".join(NAMES)]
    return head + ["\t".join(f"{1000 * value:.1f}" for value in frame.ravel()) for frame in PLACES]


def opensim():
    head = [
        "PathFileType\t4\t(X/Y/Z)\tclip.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits",
        f"25\t25\t{len(PLACES)}\t{len(NAMES)}\tmm",
        "Frame#\tTime\t" + "\t\t\t".join(NAMES) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(NAMES) + 1) for axis in "XYZ"),
        "",
    ]
    return head + ["\t".join(cells(1000 * frame, number)) for number, frame in enumerate(PLACES)]


def vicon():
    head = [
        "Trajectories",
        "25",
        ",," + ",,,".join(f"Ann:{name}" for name in NAMES) + ",,",
        "Frame,Sub Frame," + ",".join(["X", "Y", "Z"] * len(NAMES)),
        ",," + ",".join(["mm"] * 3 * len(NAMES)),
    ]
    return head + [",".join([str(n), "0", *(f"{1000 * v:.2f}" for v in f.ravel())]) for n, f in enumerate(PLACES)]


def commented():
    head = [
        "# made by our studio",
        "# frame rate: 25",
        ",".join(["frame", *(f"{n}_{a} [mm]" for n in NAMES for a in "xyz")]),
    ]
    return head + [",".join([str(n), *(f"{1000 * v:.2f}" for v in f.ravel())]) for n, f in enumerate(PLACES)]


def two_rows():
    head = [",".join(["Time", *three(NAMES)]), ",".join(["", *["x", "y", "z"] * len(NAMES)])]
    return head + [",".join(cells(frame, number)[1:]) for number, frame in enumerate(PLACES)]


def unity():
    head = ",".join(["Time", *NAMES])
    vectors = [["({:.4f}, {:.4f}, {:.4f})".format(*place) for place in frame] for frame in PLACES]
    return [head, *(",".join([f"{number / RATE:.4f}", *row]) for number, row in enumerate(vectors))]


def turned_too():
    head = ",".join(["Time", *(f"{name}{what}" for name in NAMES for what in ("Pos", "Rot"))])
    vectors = [['"({:.4f}, {:.4f}, {:.4f})","(0.0, 0.0, 0.0, 1.0)"'.format(*place) for place in f] for f in PLACES]
    return [head, *(",".join([f"{number / RATE:.4f}", *row]) for number, row in enumerate(vectors))]


def remarks():
    head = "|".join(f"{name}:T{axis}" for name in ["Time", *NAMES] for axis in "XYZ").replace(
        "Time:TX|Time:TY|Time:TZ", "Time"
    )
    rows = ["|".join(cells(frame, number)[1:]) for number, frame in enumerate(PLACES)]
    return [head, *rows[:5], head, *rows[5:], "# end of the take"]


@pytest.mark.parametrize(
    "program", [optitrack, qualisys, opensim, vicon, commented, two_rows, unity, turned_too, remarks]
)
def test_motion_capture_tables(tmp_path, program):
    suffix = {opensim: ".trc", qualisys: ".tsv"}.get(program, ".csv")
    path = tmp_path / f"clip{suffix}"
    path.write_text("\n".join(program()))
    sequence = read_skeleton(path)
    assert sequence.layout == "kinect20"
    np.testing.assert_allclose(sequence.joints[0], PLACES, atol=2e-3)
    assert sequence.fps == (None if program is vicon else pytest.approx(RATE, abs=0.01))
    assert recordings_in(tmp_path) == [path]


@pytest.mark.parametrize("mark", ["", "NaN", "NULL", "None", "n/a", "#N/A", "-"])
def test_cells_that_say_that_a_joint_is_missing(tmp_path, mark):
    header = ["time", *(f"{name}_{axis}" for name in NAMES for axis in "xyz")]
    rows = [[f"{number / RATE:.4f}", *(f"{value:.4f}" for value in f.ravel())] for number, f in enumerate(PLACES)]
    for row in rows[2:5]:
        row[-3:] = [mark] * 3
    (tmp_path / "clip.csv").write_text("\n".join(map(",".join, [header, *rows])))
    joints = read_skeleton(tmp_path / "clip.csv").joints[0]
    assert np.isnan(joints[2:5, -1]).all()
    np.testing.assert_allclose(joints[:, :-1], PLACES[:, :-1], atol=1e-4)


def test_one_who_stands_still_beside_one_who_moves(tmp_path):
    """No warning of a recording without motion, whoever is seen longer."""
    still = np.repeat(PLACES[:1], len(PLACES), 0) + np.array([1.5, 0, 0])
    np.savez(tmp_path / "clip.npz", joints=np.stack([PLACES, still]), layout="kinect20")
    for people in ([PLACES, still], [still, PLACES]):
        np.savez(tmp_path / "clip.npz", joints=np.stack(people), layout="kinect20")
        with warnings.catch_warnings():
            warnings.simplefilter("error", RecordingWarning)
            assert read_skeleton(tmp_path / "clip.npz").num_persons == 2


def test_excel_s_unicode_text(tmp_path):
    header = "\t".join(f"{name}_{axis}" for name in NAMES for axis in "xyz")
    rows = ["\t".join(f"{value:.4f}".replace(".", ",") for value in frame.ravel()) for frame in PLACES]
    (tmp_path / "clip.txt").write_bytes("\r\n".join([header, *rows]).encode("utf-16"))
    np.testing.assert_allclose(read_skeleton(tmp_path / "clip.txt").joints[0], PLACES, atol=1e-4)


def test_markers_on_the_skin_are_no_joints(tmp_path):
    lines = qualisys()
    lines[3] = "MARKER_NAMES\t" + "\t".join(f"LASI{number}" for number in range(len(NAMES)))
    (tmp_path / "clip.tsv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="known joint names.*LASI0"):
        read_skeleton(tmp_path / "clip.tsv")


@pytest.mark.parametrize("content", [{"names": NAMES}, {"frames": [{"a": 1}] * 9}, [{"Head": [0, 1, 2]}] * 3, [], {}])
def test_json_without_joints_is_refused(tmp_path, content):
    (tmp_path / "clip.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="clip.json"):
        read_skeleton(tmp_path / "clip.json")


def test_files_that_only_others_read(tmp_path):
    for suffix, found in {".pt": "torch", ".xlsx": "Excel", ".parquet": "Parquet", ".safetensors": "tensors"}.items():
        (tmp_path / f"clip{suffix}").write_bytes(b"PK\x03\x04" + bytes(50))
        with pytest.raises(ValueError, match=f"{found}.*save"):
            read_skeleton(tmp_path / f"clip{suffix}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        ("\n<!DOCTYPE html>\n<html><body>404</body></html>", "page of the web.*fetch"),
        ('<?xml version="1.0"?>\n<mvnx version="4"/>', "XML.*BVH"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".csv", ".npy", ".skeleton", ".bvh"])
def test_what_came_in_a_file_s_place(tmp_path, content, message, suffix):
    (tmp_path / f"clip{suffix}").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_skeleton(tmp_path / f"clip{suffix}")
