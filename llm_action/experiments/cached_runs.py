"""Runs that tables need: each trained once, in a folder named after its settings, whoever asks for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.reading import read_json
from llm_action.config.sections import RecognizerStage
from llm_action.datasets.split import Split
from llm_action.experiments.controls import fitted_recognizer
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_geometry import GEOMETRY_VERSION
from llm_action.modeling.student import ActionStudent
from llm_action.training.distill import distill
from llm_action.training.train_senses import train_senses
from llm_action.training.train_vqvae import train_vqvae


@dataclass
class Recognizer:
    """A trained recognizer, what it was trained on, the wall-clock seconds of both its stages, and its run folder."""

    model: LlmArForActionRecognition
    processor: LlmArProcessor
    split: Split
    seconds: float
    folder: Path


def settings(experiment: Experiment, data_dir: str | None, *without: str) -> dict[str, Any]:
    """What decides a run beside its seed: the experiment, but for the fields `without`, and its data."""
    fields = dataclasses.asdict(experiment)
    for name in ("seed", "hub_model_id", "report_to", *without):
        del fields[name]
    return {**fields, "geometry": GEOMETRY_VERSION, "data": str(Path(data_dir).resolve()) if data_dir else None}


def trained_tokenizer(experiment: Experiment, data_dir: str | None, work: Path) -> Path:
    """The run folder of stage 1 below `work`, with `processor` and `seconds.json`; trained unless it is there.

    Runs that differ in further senses share the skeletons' tokenizer.
    """
    run = _folder(work / "vqvae", experiment, data_dir, "recognizer")
    record = run / "seconds.json"
    if record.is_file():
        return run
    seconds: dict[str, float] = {}
    train = train_vqvae
    if experiment.senses:
        of_skeletons = dataclasses.replace(experiment, senses={}, recognizer=RecognizerStage())
        skeletons = trained_tokenizer(of_skeletons, data_dir, work)
        _copy_processor(skeletons, run)
        seconds, train = read_json(skeletons / "seconds.json"), train_senses
    started = time.perf_counter()
    train(dataclasses.replace(experiment, hub_model_id=None), data_dir, run)
    write_json({**seconds, train.__name__: round(time.perf_counter() - started, 1)}, record)
    return run


def trained_recognizer(experiment: Experiment, data_dir: str | None, work: Path) -> Recognizer:
    """Both stages in a folder below `work`; trained unless they are there, but a control always anew.

    Runs that differ in stage 2 alone share their stage 1.
    """
    run = _folder(work / "recognizer", experiment, data_dir)
    if not (run / "processor").is_dir():
        tokenizer = trained_tokenizer(experiment, data_dir, work)
        shutil.copy(tokenizer / "seconds.json", run)
        _copy_processor(tokenizer, run)
    started = time.perf_counter()
    parts = fitted_recognizer(dataclasses.replace(experiment, hub_model_id=None), data_dir, run)
    unrecorded = time.perf_counter() - started if experiment.recognizer.is_control else 0
    return Recognizer(*parts, training_seconds(run) + unrecorded, run)


def trained_student(experiment: Experiment, data_dir: str | None, work: Path) -> tuple[ActionStudent, float]:
    """The student of a recognizer below `work`, made unless it is there, and the seconds of that alone."""
    recognizer = trained_recognizer(experiment, data_dir, work)
    folder, record = recognizer.folder / "model", recognizer.folder / "student_seconds.json"
    if not record.is_file():
        started = time.perf_counter()
        distill(folder, data_dir, experiment=experiment)
        write_json({"distill": round(time.perf_counter() - started, 1)}, record)
    return ActionStudent.from_pretrained(folder), json.loads(record.read_text(encoding="utf-8"))["distill"]


def training_seconds(run: Path) -> float:
    """Wall-clock seconds of a run's stages."""
    return sum(read_json(run / "seconds.json").values())


def _copy_processor(of: Path, run: Path) -> None:
    if not (run / "processor").is_dir():
        copy = run / "processor.tmp"
        shutil.copytree(of / "processor", copy, dirs_exist_ok=True)
        os.replace(copy, run / "processor")


def _folder(parent: Path, experiment: Experiment, data_dir: str | None, *without: str) -> Path:
    decides = json.dumps(settings(experiment, data_dir, *without), sort_keys=True)
    folder = parent / f"{hashlib.sha256(decides.encode()).hexdigest()[:10]}-seed{experiment.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
