"""One sound file of every format that the package reads or writes, made here from a made-up motion."""

from __future__ import annotations

import importlib.util
import json
import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.io

TESTS = Path(__file__).parents[1]
FRAMES = 12


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_motions = _load(TESTS / "skeleton_io" / "motion.py")
motion, pixels, y_down, landmarks = _motions.motion, _motions.pixels, _motions.y_down, _motions.landmarks


def write_recordings(folder: Path) -> list[Path]:
    """Files, and folders that are one recording, of every format that `read_skeleton` and `read_clips` know."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, content in _jsons().items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    _arrays(folder)
    _pickles(folder)
    scipy.io.savemat(folder / "utd.mat", {"d_skel": motion("kinect20_utd", FRAMES).transpose(1, 2, 0)})
    scipy.io.savemat(
        folder / "utd_packed.mat", {"d_skel": motion("kinect20_utd", FRAMES).transpose(1, 2, 0)}, do_compression=True
    )
    (folder / "openpose").mkdir(exist_ok=True)
    (folder / "yolo").mkdir(exist_ok=True)
    for number, frame in enumerate(pixels(motion("body25", FRAMES))):
        person = {"pose_keypoints_2d": _with(frame, 0.9)}
        file = folder / "openpose" / f"clip_{number:012}_keypoints.json"
        file.write_text(json.dumps({"version": 1.3, "people": [person]}))
    for number, frame in enumerate(pixels(motion("coco17", FRAMES)) / [1920, 1080]):
        words = [0, 0.5, 0.5, 0.3, 0.8, *_with(frame, 0.9)]
        (folder / "yolo" / f"clip_{number}.txt").write_text(" ".join(map(str, words)) + "\n")
    return sorted(folder.iterdir())


def _with(frame: np.ndarray, score: float) -> list[float]:
    """x, y (z), score of every joint in one row."""
    return [float(value) for joint in frame for value in (*joint, score)]


def _texts() -> dict[str, str]:
    ntu, coco, kinect = motion("ntu25", FRAMES), pixels(motion("coco17", FRAMES)), motion("kinect20_msr", FRAMES)
    lines = [str(FRAMES)]
    for frame in ntu:
        lines += ["1", "72057594037931101 0 1 1 1 1 0 0.1 0.2 2", "25"]
        lines += [" ".join(f"{value:.5f}" for value in joint) + " 1 2 3 4 0 0 0 1 2" for joint in frame]
    uav = [str(FRAMES)]
    for frame in coco:
        uav += ["1", "1 0 1 1 1 1 0 0 0 2", "17"]
        uav += [" ".join(f"{value:.3f}" for value in joint) + " 0 0 0 0 0 0 0 0 1 2" for joint in frame]
    msr = [" ".join(f"{value:.4f}" for value in (*joint, 1)) for frame in kinect for joint in frame]
    msrc = [
        " ".join(map(str, [1_000_000 + 33_333 * number, *_with(frame, 1)]))
        for number, frame in enumerate(motion("kinect20", FRAMES))
    ]
    pku = [" ".join(map(str, [*frame.ravel(), *[0.0] * 75])) for frame in ntu]
    joints = [
        f"{side}_{part}"
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ]
    body = motion("bandai22", FRAMES)
    wide = [
        "time,"
        + ",".join(f"SpineBase_{axis}" for axis in "XYZ")
        + ","
        + ",".join(f"{one}_{axis}" for one in joints for axis in "XYZ")
    ]
    long = ["frame;person;joint;x;y;z;visibility"]
    for number, frame in enumerate(body[:, : len(joints) + 1]):
        wide.append(f"{number / 30:.4f}," + ",".join(f"{value:.4f}" for value in frame.ravel()))
        long += [
            f"{number};a;{name};" + ";".join(f"{value:.4f}" for value in place) + ";0.9"
            for name, place in zip(joints, frame)
        ]
    media = [",".join(map(str, _with(frame, 0.99))) for frame in landmarks(motion("mediapipe33", FRAMES))]
    return {
        "ntu.skeleton": "\n".join(lines) + "\n",
        "uav.txt": "\n".join(uav) + "\n",
        "a01_s01_e01_skeleton3D.txt": "\n".join(msr) + "\n",
        "msrc.csv": "\n".join(msrc) + "\n",
        "pku.txt": "\n".join(pku) + "\n",
        "wide.csv": "\n".join(wide) + "\n",
        "long.tsv": "\n".join(long).replace(";", "\t") + "\n",
        "mediapipe.csv": "\n".join(media) + "\n",
        "clip.bvh": _bvh(),
        "lines.jsonl": "\n".join(
            json.dumps({"people": [{"pose_keypoints_2d": _with(frame, 0.9)}]})
            for frame in pixels(motion("body25", FRAMES))
        ),
    }


def _bvh() -> str:
    def bone(name: str, *below: str, at: str = "0 10 0") -> str:
        inside = "".join(below) or "End Site\n{\nOFFSET 0 5 0\n}\n"
        return f"JOINT {name}\n{{\nOFFSET {at}\nCHANNELS 3 Zrotation Xrotation Yrotation\n{inside}}}\n"

    def side(name: str, sign: int) -> tuple[str, str]:
        arm = bone(
            f"{name}Arm", bone(f"{name}ForeArm", bone(f"{name}Hand", at="0 -25 0"), at="0 -28 0"), at=f"{15 * sign} 0 0"
        )
        leg = bone(
            f"{name}UpLeg", bone(f"{name}Leg", bone(f"{name}Foot", at="0 -40 0"), at="0 -40 0"), at=f"{9 * sign} -2 0"
        )
        return arm, leg

    (left_arm, left_leg), (right_arm, right_leg) = side("Left", 1), side("Right", -1)
    spine = bone("Spine", bone("Spine1", bone("Neck", bone("Head")), left_arm, right_arm, at="0 20 0"))
    root = "ROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
    tree = f"HIERARCHY\n{root}{spine}{left_leg}{right_leg}}}\n"
    channels = 3 + 3 * (tree.count("JOINT") + 1)
    rows = [" ".join(["0", "95", str(number), *[f"{number / 3:.3f}"] * (channels - 3)]) for number in range(FRAMES)]
    return f"{tree}MOTION\nFrames: {FRAMES}\nFrame Time: 0.033333\n" + "\n".join(rows) + "\n"


def _jsons() -> dict[str, Any]:
    coco, body25 = pixels(motion("coco17", FRAMES)), pixels(motion("body25", FRAMES))
    shares = pixels(motion("openpose18", FRAMES)) / [1920, 1080]
    azure = 1000 * y_down(motion("azure32", FRAMES))
    smarthome, world = motion("smarthome13", FRAMES), landmarks(motion("mediapipe33", FRAMES))
    results = [
        {"image_id": f"{number}.jpg", "category_id": 1, "keypoints": _with(frame, 0.9), "score": 0.9, "idx": 1}
        for number, frame in enumerate(coco)
    ]
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(FRAMES)]
    annotations = [{**one, "image_id": number} for number, one in enumerate(results)]
    instances = [{"keypoints": frame.tolist(), "keypoint_scores": [0.9] * 17} for frame in coco]
    return {
        "ucla.json": {"file_name": "a", "skeletons": motion("kinect20", FRAMES).tolist(), "label": 1},
        "azure.json": {
            "k4abt_sdk_version": "1.1",
            "frames": [
                {"timestamp_usec": 33_333 * number, "bodies": [{"body_id": 1, "joint_positions": frame.tolist(),
                                                               "confidence_levels": [2] * 32}]}
                for number, frame in enumerate(azure)
            ],
        },
        "kinetics.json": {
            "data": [
                {"frame_index": number, "skeleton": [{"pose": frame.ravel().tolist(), "score": [0.9] * 18}]}
                for number, frame in enumerate(shares)
            ],
            "label": "waving", "label_index": 3,
        },
        "openpose.json": [{"people": [{"pose_keypoints_2d": _with(frame, 0.9)}]} for frame in body25],
        "openpose_by_image.json": {
            f"{number}.jpg": {"people": [{"pose_keypoints_2d": _with(frame, 0.9)}]}
            for number, frame in enumerate(body25)
        },
        "coco.json": results,
        "coco_annotations.json": {"images": images, "annotations": annotations},
        "mmpose.json": {
            "meta_info": {"dataset_name": "coco"},
            "instance_info": [{"frame_id": number, "instances": [one]} for number, one in enumerate(instances)],
        },
        "mmpose_frames.json": [{"frame_id": number, "instances": [one]} for number, one in enumerate(instances)],
        "yolo.json": [
            [{"name": "person", "class": 0, "track_id": 1,
              "keypoints": {"x": frame[:, 0].tolist(), "y": frame[:, 1].tolist(), "visible": [0.9] * 17}}]
            for frame in coco
        ],
        "mediapipe.json": [
            {"pose_world_landmarks": [dict(zip("xyz", map(float, place)), visibility=0.99) for place in frame]}
            for frame in world
        ],
        "smarthome.json": {
            "K": 10, "njts": 13, "frames": [[{"pose3d": frame.T.ravel().tolist()}] for frame in smarthome]
        },
    }  # fmt: skip


def _arrays(folder: Path) -> None:
    from llm_action.modeling.skeleton_sequence import SkeletonSequence
    from llm_action.skeleton_io import write_npz

    ntu, coco = motion("ntu25", FRAMES).astype(np.float32), pixels(motion("coco17", FRAMES)).astype(np.float32)
    np.save(folder / "ntu.npy", ntu)
    np.save(folder / "coco_scores.npy", np.concatenate([coco, np.full((FRAMES, 17, 1), 0.9)], axis=-1))
    np.save(folder / "ctvm.npy", ntu.transpose(2, 0, 1)[..., None])
    np.save(folder / "train_data_joint.npy", np.repeat(ntu.transpose(2, 0, 1)[None, ..., None], 3, axis=0))
    (folder / "train_label.pkl").write_bytes(pickle.dumps((["a.skeleton", "b.skeleton", "c.skeleton"], [0, 1, 2])))
    write_npz(SkeletonSequence(ntu, "ntu25", 30.0), folder / "own.npz")
    write_npz(SkeletonSequence(coco, "coco17", None, np.full(coco.shape[:2], 0.9)), folder / "own_2d.npz")
    clips = np.repeat(
        np.concatenate([ntu.reshape(FRAMES, 75), np.zeros((FRAMES, 75), np.float32)], axis=1)[None], 4, axis=0
    )
    np.savez(folder / "ntu_archive.npz", x_train=clips, y_train=np.eye(4), x_test=clips[:2], y_test=np.array([0, 1]))


def _pickles(folder: Path) -> None:
    coco, ntu = pixels(motion("coco17", FRAMES)).astype(np.float16), motion("ntu25", FRAMES).astype(np.float32)
    annotations = [
        {"frame_dir": f"S{number}", "total_frames": FRAMES, "img_shape": (1080, 1920), "label": number,
         "keypoint": coco[None], "keypoint_score": np.full((1, FRAMES, 17), 0.9, np.float16)}
        for number in range(3)
    ]  # fmt: skip
    whole = {"split": {"train": ["S0", "S1"], "test": ["S2"]}, "annotations": annotations}
    (folder / "pyskl.pkl").write_bytes(pickle.dumps(whole))
    (folder / "pyskl_list.pkl").write_bytes(pickle.dumps(annotations[:1], 2))
    (folder / "pyskl_one.pickle").write_bytes(
        pickle.dumps({"keypoint": ntu[None], "label": 1, "total_frames": FRAMES}, 5)
    )
    with zipfile.ZipFile(folder / "pyskl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pkl", pickle.dumps(whole))


def write_signals(folder: Path) -> list[Path]:
    """Files of another sense of every format that `read_signal` knows."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).normal(size=(60, 6))
    scipy.io.savemat(folder / "utd.mat", {"d_iner": values})
    rows = ["time,a x,a y", *(f"{number / 50:.3f},{x:.4f},{y:.4f}" for number, (x, y) in enumerate(values[:, :2]))]
    (folder / "watch.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    np.save(folder / "plain.npy", values)
    np.savez(folder / "known.npz", values=values, rate=50.0, channels=list("abcdef"), unit="g")
    return sorted(folder.iterdir())


OWN_LAYOUT = {
    "name": "fuzzed", "joints": ["skull", "shoulder_l", "shoulder_r", "hand_l", "hand_r"],
    "parents": {"shoulder_l": "skull", "shoulder_r": "skull", "hand_l": "shoulder_l", "hand_r": "shoulder_r"},
    "left_right": [["shoulder_l", "shoulder_r"], ["hand_l", "hand_r"]],
    "standard": {"skull": "head", "shoulder_l": "left_shoulder", "shoulder_r": "right_shoulder", "hand_l": "left_wrist",
                 "hand_r": "right_wrist"},
}  # fmt: skip
