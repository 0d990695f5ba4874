"""The student: persons, what it writes and reads, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llm_action.modeling import student as module
from llm_action.modeling.signal_sequence import SignalSequence
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.student import ActionStudent, SenseInput, StudentConfig


def config(**others) -> StudentConfig:
    settings = {"layout": "kinect15", "num_frames": 16, "widths": (8, 16), "hidden_size": 32, **others}
    return StudentConfig(["drink", "sit down", "wave"], **settings)


@pytest.fixture(params=[0, 1], ids=["no attention", "attention"])
def student(request) -> ActionStudent:
    torch.manual_seed(0)
    student = ActionStudent(config(num_layers=request.param))
    for _ in range(3):  # something for the normalisation to remember
        student(torch.randn(4, 2, 16, 15, 3), torch.ones(4, 2, dtype=torch.bool))
    return student.eval()


def test_absent_persons_say_nothing_and_the_order_of_persons_does_not_matter(student):
    skeletons = torch.randn(2, 2, 16, 15, 3)
    mask = torch.tensor([[True, False], [True, True]])
    given = student(skeletons, mask)
    changed = skeletons.clone()
    changed[0, 1] = 100.0
    torch.testing.assert_close(student(changed, mask), given)
    torch.testing.assert_close(student(skeletons.flip(1), mask.flip(1)), given)
    assert given.shape == (2, 3) and not torch.allclose(student(skeletons, mask.new_ones(2, 2)), given)


def test_answers_are_the_posterior_best_first(student):
    recording = SkeletonSequence(np.random.default_rng(0).normal(size=(1, 20, 15, 3)), "kinect15")
    (ranking,) = student.recognize([recording])
    scores = student(*map(torch.from_numpy, student.normalizer().arrays([recording])))[0].softmax(-1)
    assert [one["label"] for one in ranking] == [student.config.labels[i] for i in scores.argsort(descending=True)]
    assert [one["score"] for one in ranking] == pytest.approx(scores.sort(descending=True).values.tolist())
    assert len(student.recognize([recording], top_k=2)[0]) == 2
    # four views: the mean of their probabilities
    views = student(*map(torch.from_numpy, student.normalizer().arrays([recording], 4))).softmax(-1).mean(0)
    torch.testing.assert_close(student.log_posterior([recording], views=4)[0].exp(), views)


def test_a_temperature_changes_scores_and_no_order(student):
    recording = SkeletonSequence(np.random.default_rng(0).normal(size=(1, 20, 15, 3)), "kinect15")
    sure = student.log_posterior([recording])
    student.config.temperature = 3.0
    torch.testing.assert_close(student.log_posterior([recording]), (sure / 3).log_softmax(-1))


def test_saved_means_loadable(student, tmp_path):
    recording = SkeletonSequence(np.random.default_rng(0).normal(size=(1, 20, 15, 3)), "kinect15")
    student.save_pretrained(tmp_path)
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == ["config.json", "model.safetensors"]
    loaded = ActionStudent.from_pretrained(tmp_path)
    assert not loaded.training and loaded.config == student.config
    assert loaded.recognize([recording]) == student.recognize([recording])


class TestOfSeveralSenses:
    @pytest.fixture(params=[0, 1], ids=["no attention", "attention"])
    def student(self, request) -> ActionStudent:
        torch.manual_seed(0)
        senses = {"inertial": SenseInput(["x", "y", "z"], 32), "values": SenseInput(["e"], 16)}
        student = ActionStudent(config(senses=senses, num_layers=request.param))
        for _ in range(3):
            signals = {"inertial": torch.randn(4, 32, 3), "values": torch.randn(4, 16, 1)}
            student(torch.randn(4, 2, 16, 15, 3), torch.ones(4, 2, dtype=torch.bool), signals)
        student.signal_trunks[0].scales.fill_(2.0)
        return student.eval()

    @pytest.fixture
    def recording(self) -> dict:
        rng = np.random.default_rng(0)
        skeleton = SkeletonSequence(rng.normal(size=(1, 20, 15, 3)), "kinect15", fps=20)
        return {"skeleton": skeleton, "inertial": rng.normal(size=(50, 3)), "values": rng.normal(size=(9, 1))}

    def test_what_is_lacking_says_nothing(self, student, recording):
        every = student.log_posterior([recording])
        for lacking in recording:
            there = {name: one for name, one in recording.items() if name != lacking}
            left = student.log_posterior([there])
            assert not torch.allclose(left, every, atol=1e-3), lacking
            torch.testing.assert_close(student.log_posterior([{**recording, lacking: None}]), left)
        batch = student.log_posterior([recording, recording["skeleton"], {"values": recording["values"]}], views=2)
        alone = [student.log_posterior([one], views=2) for one in (recording, recording["skeleton"])]
        torch.testing.assert_close(batch[:2], torch.cat(alone))
        assert torch.isfinite(batch).all()

    def test_in_training_what_is_lacking_is_no_part_of_the_normalisation(self, student):
        trunk = student.train().signal_trunks[0]
        signals = torch.randn(6, 32, 3)
        there = trunk.of_those_there(signals)
        lacking = torch.cat([signals, torch.full((6, 32, 3), torch.nan)])
        torch.testing.assert_close(trunk.of_those_there(lacking), torch.cat([there, torch.zeros_like(there)]))
        assert not trunk.of_those_there(lacking[6:]).any()

    def test_signals_come_onto_the_skeletons_clock_in_the_order_of_its_channels(self, student, recording):
        times = np.linspace(-0.5, 1.5, 200)
        values = np.stack([np.sin(3 * times), np.cos(2 * times), times], 1)
        seen = (times >= 0) & (times <= 0.95)
        cut = np.stack([np.interp(np.linspace(0, 0.95, 400), times, channel) for channel in values.T], 1)
        assert seen.sum() < len(times)
        stamped = SignalSequence(values[:, [2, 0, 1]], channels=["z", "x", "y"], times=times)
        given = student.log_posterior([{**recording, "inertial": stamped}])
        torch.testing.assert_close(given, student.log_posterior([{**recording, "inertial": cut}]), atol=1e-3, rtol=0)

    def test_saved_means_loadable(self, student, recording, tmp_path):
        student.save_pretrained(tmp_path)
        loaded = ActionStudent.from_pretrained(tmp_path)
        assert loaded.config == student.config and loaded.config.format_version == 2
        assert loaded.recognize([recording]) == student.recognize([recording])

    def test_what_it_does_not_read_is_refused_with_what_to_do(self, student, recording):
        for given, message in (
            ({**recording, "emg": np.zeros((9, 1))}, "reads skeleton, inertial, values, got emg; leave that out"),
            ({"skeleton": None}, "at least one of skeleton, inertial, values, got none"),
            ({**recording, "inertial": np.zeros((9, 2))}, "expected the channels x, y, z, got 1, 2"),
            ({**recording, "inertial": np.full((9, 3), np.nan)}, "nan in channel"),
        ):
            with pytest.raises(ValueError, match=message):
                student.log_posterior([given])


def test_one_of_skeletons_alone_is_written_as_earlier_releases_read_it(student, tmp_path):
    student.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "student" / "config.json").read_text())
    assert written["format_version"] == 1 and "senses" not in written


def test_it_needs_no_transformers(student, tmp_path):
    """In a process of its own that cannot import them."""
    student.save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules.update(transformers=None, peft=None, datasets=None, huggingface_hub=None);"
        "import types; package = types.ModuleType('m'); package.__path__ = [sys.argv[1]]; sys.modules['m'] = package;"
        "from m.student import ActionStudent; print(ActionStudent.from_pretrained(sys.argv[2]).config.labels[0])"
    )
    folder = Path(module.__file__).parent
    done = subprocess.run([sys.executable, "-c", code, folder, tmp_path], capture_output=True, text=True)
    assert done.stdout.strip() == "drink", done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "student" / "config.json").unlink(), "llm-action distill"),
        (lambda folder: (folder / "student" / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "student" / "model.safetensors").write_bytes(b"x"), "cannot be read"),
        (lambda folder: (folder / "student" / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: _edit(folder, hidden_size=16), "cannot be read"),
        (lambda folder: _edit(folder, colour="red"), "cannot be read"),
        (lambda folder: _edit(folder, format_version=9), "update the package"),
        (lambda folder: _edit(folder, geometry=9), "update the package"),
    ],
)
def test_a_damaged_student_is_refused(student, tmp_path, change, message):
    student.save_pretrained(tmp_path)
    change(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ActionStudent.from_pretrained(tmp_path).normalizer()


def _edit(folder, **fields) -> None:
    path = folder / "student" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_default_costs_at_most_40_million_operations_a_person():
    student = ActionStudent(StudentConfig([f"class {number}" for number in range(60)], max_persons=1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # in training, whose attention is not fused
        student.train()(torch.randn(1, 1, 64, 20, 3), torch.ones(1, 1, dtype=torch.bool))
    assert counter.get_total_flops() <= 40e6
