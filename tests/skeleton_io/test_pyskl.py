import os
import pickle

import numpy as np
import pytest

from llm_action.skeleton_io import read_pyskl, read_skeleton


def annotation(name: str = "clip", label: int = 3, persons: int = 2, channels: int = 2) -> dict:
    rng = np.random.default_rng(label)
    return {
        "frame_dir": name,
        "total_frames": 6,
        "img_shape": (480, 640),
        "original_shape": (480, 640),
        "label": label,
        "keypoint": rng.uniform(1, 400, size=(persons, 6, 17, channels)).astype(np.float16),
        "keypoint_score": rng.random((persons, 6, 17)).astype(np.float16),
    }


def write(path, annotations, protocol=4, **splits):
    path.write_bytes(pickle.dumps({"split": splits, "annotations": annotations}, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_all_annotations_and_splits(tmp_path, protocol):
    annotations = [annotation("a", 0, persons=1), annotation("b", 7)]
    path = write(tmp_path / "set.pkl", annotations, protocol, train=["a"], val={"b"})
    splits, samples = read_pyskl(path)
    assert splits == {"train": ["a"], "val": ["b"]}
    assert [(sequence.name, label) for sequence, label in samples] == [("a", 0), ("b", 7)]
    sequence = samples[1][0]
    assert (sequence.layout, sequence.joints.shape) == ("coco17", (2, 6, 17, 2))
    np.testing.assert_array_equal(sequence.joints, annotations[1]["keypoint"].astype(np.float32))
    np.testing.assert_array_equal(sequence.scores, annotations[1]["keypoint_score"].astype(np.float32))


def test_labels_and_scores_as_numpy_scalars_and_absent(tmp_path):
    plain = annotation()
    plain["label"] = np.int64(5)
    del plain["keypoint_score"]
    ((sequence, label),) = read_pyskl(write(tmp_path / "set.pkl", [plain]))[1]
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
        splits, samples = read_pyskl(write(tmp_path / "set.pkl", [plain], protocol, train=np.array(["clip"])))
        assert splits == {"train": ["clip"]}
        assert (samples[0][0].name, samples[0][1]) == ("clip", 4)
        np.testing.assert_array_equal(samples[0][0].joints, keypoint.astype(np.float32))


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
        with pytest.raises(ValueError, match=rf"many\.pkl.*one annotation.*{count}.*read_pyskl"):
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
        read_pyskl(path)
    assert not target.exists()


def test_arrays_of_objects_do_not_smuggle_code(tmp_path):
    target = tmp_path / "touched"
    smuggled = annotation()
    smuggled["keypoint"] = np.array([Runs(os.mkdir, str(target))], dtype=object)
    with pytest.raises(ValueError, match="could run code"):
        read_pyskl(write(tmp_path / "bad.pkl", [smuggled]))
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoint": np.zeros((1, 6, 17, 2))}, "no joint was seen"),
        ({"keypoint": np.ones((6, 17, 2))}, r"\(persons, frames, joints, channels\).*\(6, 17, 2\)"),
        ({"keypoint": np.ones((1, 6, 19, 2))}, "19 joints"),
        ({"keypoint": "none"}, "keypoint"),
        ({"label": "clap"}, "label"),
        ({"keypoint_score": np.ones((2, 6, 16))}, "scores of shape"),
    ],
)
def test_a_damaged_annotation_is_named_by_its_place(tmp_path, change, message):
    path = write(tmp_path / "set.pkl", [annotation(), annotation() | change])
    with pytest.raises(ValueError, match=message) as error:
        read_pyskl(path)
    assert f"{path} (annotation 1)" in str(error.value)


def test_other_pickles_are_explained(tmp_path):
    with pytest.raises(ValueError, match="'split' and 'annotations'"):
        read_pyskl(write(tmp_path / "list.pkl", None))
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps({"keypoint": np.ones(3)}))
    with pytest.raises(ValueError, match=r"'split' and 'annotations'.*keypoint"):
        read_pyskl(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_pyskl(tmp_path / "absent.pkl")
