import os
import pickle

import numpy as np
import pytest

from llm_action.skeleton_io import read_clips, read_skeleton


def annotation(name: str = "clip", label: int = 3, persons: int = 2, channels: int = 2) -> dict:
    rng = np.random.default_rng(label)
    return {
        "frame_dir": name,
        "total_frames": 6,
        "img_shape": (480, 640),
        "original_shape": (480, 640),
        "label": label,
        "keypoint": rng.uniform(1, 400, size=(persons, 6, 17, channels)).astype(np.float16),
        "keypoint_score": rng.uniform(0.5, 1, (persons, 6, 17)).astype(np.float16),
    }


def list_clips(path):
    return list(read_clips(path))


def write(path, annotations, protocol=4, **splits):
    path.write_bytes(pickle.dumps({"split": splits, "annotations": annotations}, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_all_annotations_and_splits(tmp_path, protocol):
    annotations = [annotation("a", 0, persons=1), annotation("b", 7)]
    path = write(tmp_path / "set.pkl", annotations, protocol, train=["a"], val={"b"})
    clips = list(read_clips(path))
    assert [(clip.sequence.name, clip.label, clip.splits) for clip in clips] == [
        ("a", 0, ("train",)),
        ("b", 7, ("val",)),
    ]
    sequence = clips[1].sequence
    assert (sequence.layout, sequence.joints.shape) == ("coco17", (2, 6, 17, 2))
    np.testing.assert_array_equal(sequence.joints, annotations[1]["keypoint"].astype(np.float32))
    np.testing.assert_array_equal(sequence.scores, annotations[1]["keypoint_score"].astype(np.float32))


def test_labels_and_scores_as_numpy_scalars_and_absent(tmp_path):
    plain = annotation()
    plain["label"] = np.int64(5)
    del plain["keypoint_score"]
    ((sequence, label, _),) = read_clips(write(tmp_path / "set.pkl", [plain]))
    assert label == 5
    assert sequence.scores is None


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_of_any_memory_order_type_and_use(tmp_path, protocol):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 6, 17, 2))
    for keypoint in (
        np.asfortranarray(values),
        values.transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3),
        values.astype(">f4"),
        (values * 100).astype(np.int16),
        values[:, ::2],
    ):
        plain = annotation() | {"keypoint": keypoint, "frame_dir": np.str_("clip"), "label": np.array(4)}
        del plain["keypoint_score"]
        (clip,) = read_clips(write(tmp_path / "set.pkl", [plain], protocol, train=np.array(["clip"])))
        assert (clip.sequence.name, clip.label, clip.splits) == ("clip", 4, ("train",))
        np.testing.assert_array_equal(clip.sequence.joints, keypoint.astype(np.float32))


def test_padding_is_missing(tmp_path):
    padded = annotation(persons=2)
    padded["keypoint"][1] = 0
    padded["keypoint"][0, 3, 4] = 0
    sequence = read_skeleton(write(tmp_path / "one.pkl", [padded]))
    assert sequence.joints.shape == (*sequence.scores.shape, 2) == (1, 6, 17, 2)
    assert np.isnan(sequence.joints[0, 3, 4]).all()


def test_read_skeleton_wants_a_single_annotation(tmp_path):
    assert read_skeleton(write(tmp_path / "one.pkl", [annotation("a")])).name == "a"
    for count in (0, 2):
        with pytest.raises(ValueError, match=rf"many\.pkl.*one annotation.*{count}.*read_clips"):
            read_skeleton(write(tmp_path / "many.pkl", [annotation()] * count))


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, getattr, pickle.loads, np.load, np.fromfile])
def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path, function, protocol):
    target = tmp_path / "touched"
    argument = f"mkdir {target}" if function is os.system else str(target)
    path = write(tmp_path / "bad.pkl", [annotation(), Runs(function, argument)], protocol)
    with pytest.raises(ValueError, match=r"bad\.pkl.*a use of .*could run code"):
        list_clips(path)
    assert not target.exists()


def test_arrays_of_objects_do_not_smuggle_code(tmp_path):
    target = tmp_path / "touched"
    smuggled = annotation()
    smuggled["keypoint"] = np.array([Runs(os.mkdir, str(target))], dtype=object)
    with pytest.raises(ValueError, match="could run code"):
        list_clips(write(tmp_path / "bad.pkl", [smuggled]))
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoint": np.zeros((2, 6, 17, 2))}, "no joint was seen"),
        ({"keypoint": np.ones((6, 17, 2))}, r"\(persons, frames, joints, channels\).*\(6, 17, 2\)"),
        ({"keypoint": np.ones((2, 6, 19, 2)), "keypoint_score": np.ones((2, 6, 19))}, "19 joints"),
        ({"keypoint": "none"}, "keypoint"),
        ({"label": "clap"}, "label"),
        ({"keypoint_score": np.ones((2, 6, 16))}, "scores of shape"),
    ],
)
def test_a_damaged_annotation_is_named_by_its_place(tmp_path, change, message):
    path = write(tmp_path / "set.pkl", [annotation(), annotation() | change])
    with pytest.raises(ValueError, match=message) as error:
        list_clips(path)
    assert f"{path}: clip 1" in str(error.value)
    dropped = []
    assert [clip.sequence.name for clip in read_clips(path, dropped=dropped)] == ["clip"]
    assert len(dropped) == 1


def test_other_pickles_are_explained(tmp_path):
    with pytest.raises(ValueError, match="'split' and 'annotations'"):
        list_clips(write(tmp_path / "list.pkl", None))
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps({"weights": {"a": 1}}))
    with pytest.raises(ValueError, match=r"'split' and 'annotations'.*weights"):
        read_skeleton(path)
    path.write_bytes(pickle.dumps({"poses": np.ones((5, 156))}))
    with pytest.raises(ValueError, match=r"pose parameters of a body model"):
        read_skeleton(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        list_clips(tmp_path / "absent.pkl")


def test_one_annotation_a_bare_list_and_no_label(tmp_path):
    unlabelled = annotation("a")
    del unlabelled["label"], unlabelled["frame_dir"]
    path = tmp_path / "clip.pkl"
    for content in (unlabelled, [unlabelled], (unlabelled,)):
        path.write_bytes(pickle.dumps(content))
        assert [clip.label for clip in read_clips(path)] == [None]
        np.testing.assert_array_equal(read_skeleton(path).joints, unlabelled["keypoint"].astype(np.float32))


def test_a_zipped_pickle(tmp_path):
    import zipfile

    write(tmp_path / "set.pkl", [annotation("a", 2)])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "set.pkl", "set.pkl")
    assert [clip.label for clip in read_clips(tmp_path / "set.zip")] == [2]


def test_joints_of_low_score_are_missing(tmp_path):
    unsure = annotation("a", persons=1)
    unsure["keypoint_score"][0, 2, 5] = 0.02
    sequence = read_skeleton(write(tmp_path / "one.pkl", [unsure]))
    assert np.argwhere(np.isnan(sequence.joints).any(axis=-1)).tolist() == [[0, 2, 5]]


def test_clips_with_x_y_score_in_one_array(tmp_path):
    plain = annotation("a", persons=1)
    plain["keypoint"] = np.concatenate([plain["keypoint"], plain.pop("keypoint_score")[..., None]], axis=-1)
    sequence = read_skeleton(write(tmp_path / "one.pkl", [plain]))
    assert (sequence.joints.shape, sequence.scores.shape) == ((1, 6, 17, 2), (1, 6, 17))
