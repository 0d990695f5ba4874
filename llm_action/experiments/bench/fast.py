"""The student against the language model and what a user would pick instead: from a recording in memory to a label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from llm_action.evaluation.probe import Probe, joint_inputs
from llm_action.evaluation.trunk_classifier import READERS
from llm_action.experiments.bench.inputs import BenchInputs, made_up_sequences
from llm_action.experiments.bench.precision import PRECISIONS
from llm_action.experiments.bench.timing import Figure, Section, ratio, take_turns
from llm_action.hub.onnx_export import write_student
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_trunk import SIZES
from llm_action.modeling.student import ActionStudent, StudentConfig

BATCHES = (1, 16)
_KERNELS = 10_000
Answer = Callable[[list[SkeletonSequence]], Any]
_TARGETS = {("student", "minirocket"): "<= 1.5", ("student", "language model, merged"): "<= 0.01"}


def fast_section(inputs: BenchInputs, repeats: int) -> Section:
    """Every way on one thread at batch 1 and 16. Networks have random weights where there is no student: time is all
    that is measured here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            answers, notes = _answers(inputs, Path(folder))
            figures = [figure for batch in BATCHES for figure in _figures(answers, batch, 2 * repeats)]
    finally:
        torch.set_num_threads(threads)
    return Section(figures, notes)


def _figures(answers: dict[str, Answer], batch: int, repeats: int) -> list[Figure]:
    sequences = made_up_sequences(batch)
    for answer in answers.values():
        answer(sequences)
    ways = {name: lambda _, answer=answer: answer(sequences) for name, answer in answers.items()}
    seconds = take_turns(f"fast, batch {batch}", ways, repeats)
    figures = [
        Figure(f"{name}, batch {batch}", tuple(1000 * value / batch for value in seconds[name]), "ms")
        for name in seconds
    ]
    for (one, other), target in _TARGETS.items():
        if other in seconds:
            figures.append(ratio(seconds, one, other, target, name=f"{one} / {other}, batch {batch}"))
    return figures


def _answers(inputs: BenchInputs, folder: Path) -> tuple[dict[str, Answer], list[str]]:
    """What is measured, by name, and notes on what is not."""
    labels = inputs.classes()
    extractor, notes = inputs.processor.feature_extractor, list[str]()
    about: dict[str, Any] = {"layout": extractor.layout, "num_frames": extractor.num_frames, "max_persons": 1}
    try:
        student = ActionStudent.from_pretrained(inputs.folder)
    except FileNotFoundError:
        student = ActionStudent(StudentConfig(labels, **about)).eval()
        notes.append("The model has no student: one with random weights stands in.")
    trunk = ActionStudent(StudentConfig(labels, **about, **READERS["large"], widths=SIZES["large"])).eval()
    answers: dict[str, Answer] = {"student": student.recognize, "trunk": trunk.recognize}
    example = joint_inputs(*map(torch.from_numpy, student.normalizer().arrays(made_up_sequences(1))))
    probe = Probe(example.shape[2], example.shape[1], len(labels)).eval()
    answers["small transformer"] = partial(_read_joints, probe, student)
    if find_spec("aeon"):
        answers["minirocket"] = _minirocket(student)
    else:
        notes.append("MiniRocket needs aeon: pip install 'llm-action[bench]'.")
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        answers["student, ONNX"] = _onnx(student, folder / "student.onnx")
    else:
        notes.append("ONNX needs onnxruntime: pip install 'llm-action[onnx]'.")
    for name in ("bfloat16, merged", "int8"):
        model = LlmArForActionRecognition.from_pretrained(inputs.folder, **PRECISIONS[name])
        recognize = SkeletonActionRecognitionPipeline(model=model, processor=inputs.processor)
        title = "language model, merged" if name.startswith("bf") else f"language model, {name}"
        answers[title] = partial(recognize, candidate_labels=labels, top_k=5)
    return answers, notes


@torch.inference_mode()
def _read_joints(probe: Probe, student: ActionStudent, sequences: list[SkeletonSequence]) -> torch.Tensor:
    arrays = map(torch.from_numpy, student.normalizer().arrays(sequences))
    return F.softmax(probe(joint_inputs(*arrays)), -1)


def _minirocket(student: ActionStudent) -> Answer:
    from aeon.classification.convolution_based import MiniRocketClassifier

    def channels(sequences: list[SkeletonSequence]) -> np.ndarray:
        skeletons = student.normalizer().arrays(sequences)[0]
        return skeletons.transpose(0, 1, 3, 4, 2).reshape(len(skeletons), -1, skeletons.shape[2])

    few = made_up_sequences(20)
    classifier = MiniRocketClassifier(_KERNELS, random_state=0)
    classifier.fit(channels(few), np.arange(len(few)) % 5)
    return lambda sequences: classifier.predict(channels(sequences))


def _onnx(student: ActionStudent, file: Path) -> Answer:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(str(write_student(student, file)), options, providers=["CPUExecutionProvider"])

    def answer(sequences: list[SkeletonSequence]) -> Any:
        skeletons, person_mask = student.normalizer().arrays(sequences)
        return session.run(None, {"skeletons": skeletons, "person_mask": person_mask})[0]

    return answer
