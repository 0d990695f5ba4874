"""ONNX files beside a model: what onnxruntime makes of recordings is what the package makes of them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from llm_action import read_skeleton
from llm_action.hub.model_folder import copy_model
from llm_action.hub.onnx_export import export_onnx, write_student
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.signal_sequence import stretched
from llm_action.modeling.student import ActionStudent, SenseInput, StudentConfig

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'llm-action[onnx]'")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install 'llm-action[onnx]'")

# As the README has it: numpy and onnxruntime alone. The model folder carries the code that reads recordings.
SNIPPET = """
import importlib, json, sys
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path({folder!r})
sys.path.insert(0, str(folder.parent))
code = lambda module: importlib.import_module(f"{{folder.name}}.{{module}}")
config = json.loads((folder / "student/config.json").read_text())
names = "layout num_frames max_persons align_facing own_layout geometry".split()
normalizer = code("skeleton_normalization").SkeletonNormalizer(**{{name: config[name] for name in names}})
recording = code("skeleton_sequence").SkeletonSequence(np.load({file!r}), config["layout"])

skeletons, person_mask = normalizer.arrays([recording])
student = onnxruntime.InferenceSession(folder / "onnx/student.onnx")
(log_posterior,) = student.run(None, {{"skeletons": skeletons, "person_mask": person_mask}})
print(config["labels"][log_posterior[0].argmax()], np.exp(log_posterior[0].max()))
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def exported(tiny_export, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "model"
    shutil.copytree(tiny_export, folder)
    vqvae = ActionVQVAE.from_pretrained(folder / "vqvae").config
    torch.manual_seed(0)
    config = StudentConfig(["clap", "squat", "wave"], layout=vqvae.layout, num_frames=vqvae.num_frames, temperature=1.5)
    ActionStudent(config).save_pretrained(folder)
    export_onnx(folder)
    return folder


def test_tokens_and_scores_are_torchs_at_any_batch_size(exported, recordings):
    vqvae, student = ActionVQVAE.from_pretrained(exported / "vqvae").eval(), ActionStudent.from_pretrained(exported)
    sequences = [read_skeleton(file) for file in sorted(recordings.glob("*_s[12]_*"))]
    skeletons, person_mask = student.normalizer().arrays(sequences)
    of_student = onnxruntime.InferenceSession(exported / "onnx" / "student.onnx")
    tokenizer = onnxruntime.InferenceSession(exported / "onnx" / "action_tokenizer.onnx")
    for count in (1, 2, len(sequences)):
        inputs = {"skeletons": skeletons[:count], "person_mask": person_mask[:count]}
        scores = of_student.run(None, inputs)[0]
        np.testing.assert_allclose(scores, student.log_posterior(sequences[:count]).numpy(), atol=1e-4)
        codes = tokenizer.run(None, {"skeletons": skeletons[:count, 0]})[0]
        assert np.array_equal(codes, vqvae.encode(torch.from_numpy(skeletons[:count, 0])).numpy())


def test_numpy_and_onnxruntime_are_enough(exported, recordings, tmp_path):
    file = sorted(recordings.glob("*_s1_*"))[0]
    student = ActionStudent.from_pretrained(exported)
    sequence = read_skeleton(file).to_layout(student.config.layout)
    np.save(tmp_path / "recording.npy", sequence.joints)
    code = SNIPPET.format(folder=str(exported), file=str(tmp_path / "recording.npy"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    best = student.recognize([sequence])[0][0]
    assert answer.rpartition(" ")[0] == best["label"] and loaded == "[]"
    assert float(answer.rpartition(" ")[2]) == pytest.approx(best["score"], abs=1e-4)


def test_a_student_of_several_senses_takes_them_all(recordings, tmp_path):
    torch.manual_seed(0)
    student = ActionStudent(
        StudentConfig(["clap", "wave"], num_frames=16, senses={"inertial": SenseInput(["x", "y", "z"], 32)})
    )
    with torch.no_grad():
        student.signal_trunks[0].means.fill_(1.0)
        student.signal_trunks[0].scales.fill_(3.0)
    session = onnxruntime.InferenceSession(write_student(student.eval(), tmp_path / "student.onnx"))
    skeleton = read_skeleton(sorted(recordings.glob("*_s1_*"))[0])
    signal = np.random.default_rng(0).normal(size=(99, 3))
    skeletons, person_mask = student.normalizer().arrays([skeleton, skeleton, None])
    of_signal = stretched(signal.astype(np.float32), 32)
    inputs = {"inertial": np.stack([of_signal, np.full_like(of_signal, np.nan), of_signal])}
    (given,) = session.run(None, {"skeletons": skeletons, "person_mask": person_mask, **inputs})
    expected = student.log_posterior([{"skeleton": skeleton, "inertial": signal}, skeleton, {"inertial": signal}])
    np.testing.assert_allclose(given, expected.numpy(), atol=1e-4)


def test_they_travel_with_the_model(exported, tmp_path):
    copy = copy_model(exported, tmp_path / "copy")
    assert sorted(file.name for file in (copy / "onnx").iterdir()) == ["action_tokenizer.onnx", "student.onnx"]
