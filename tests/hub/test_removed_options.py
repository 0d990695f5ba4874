"""What was saved when there were other options: read where they were off, refused where one was on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from transformers import pipeline

from llm_action.config.experiment import load_experiment
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.student import ActionStudent, StudentConfig

OLD = Path(__file__).with_name("format_1_model")
OFF = {"normalize_bones": False, "joint_dropout": 0.0, "curvature_learnable": False}


def edited(file: Path, section: str | None, **fields: object) -> None:
    read = json.loads(file.read_text(encoding="utf-8"))
    (read if section is None else read[section]).update(fields)
    file.write_text(json.dumps(read), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "section", "option"),
    [
        ("processor_config.json", "feature_extractor", "normalize_bones"),
        ("vqvae/config.json", None, "curvature_learnable"),
    ],
)
def test_a_model_that_has_one_on_is_refused(tmp_path, file, section, option):
    folder = tmp_path / "model"
    shutil.copytree(OLD, folder)
    assert option in (folder / file).read_text(encoding="utf-8"), "off, and read by test_format_1"
    edited(folder / file, section, **{option: True})
    with pytest.raises(ValueError, match=f"{option}=True: this option was removed.* train without it"):
        pipeline("skeleton-action-recognition", model=str(folder))


def test_a_student(tmp_path):
    ActionStudent(StudentConfig(["clap", "wave"], num_frames=16)).save_pretrained(tmp_path)
    config = tmp_path / "student" / "config.json"
    assert not OFF.keys() & json.loads(config.read_text(encoding="utf-8")).keys()
    edited(config, None, normalize_bones=False)
    assert ActionStudent.from_pretrained(tmp_path).config.labels == ["clap", "wave"]
    edited(config, None, normalize_bones=True)
    with pytest.raises(ValueError, match="normalize_bones=True: this option was removed"):
        ActionStudent.from_pretrained(tmp_path)


def test_a_feature_extractor_keeps_none(tmp_path):
    assert "normalize_bones" not in SkeletonFeatureExtractor(normalize_bones=False).to_dict()
    with pytest.raises(ValueError, match="normalize_bones=True: this option was removed"):
        SkeletonFeatureExtractor(normalize_bones=True)


def test_the_record_of_a_training(tiny_config, tmp_path):
    fields = yaml.safe_load(tiny_config.read_text(encoding="utf-8"))
    record = tmp_path / "experiment.yaml"
    off = {**OFF, "codebook_update": "ema", "codebook_weight": 1.0, "token_noise": 0.0, "loss": "answer"}
    stage = {**fields["recognizer"], "sense_dropout": 0.3}
    record.write_text(yaml.safe_dump({**fields, "recognizer": stage, "on_trial": off}), encoding="utf-8")
    assert load_experiment(record) == load_experiment(tiny_config)
    record.write_text(yaml.safe_dump({**fields, "on_trial": {**off, "token_noise": 0.1}}), encoding="utf-8")
    with pytest.raises(ValueError, match="on_trial: token_noise=0.1: this option was removed"):
        load_experiment(record)
    record.write_text(yaml.safe_dump({**fields, "on_trial": {**OFF, "joint_dropout": 0.2}}), encoding="utf-8")
    with pytest.raises(ValueError, match="on_trial: joint_dropout=0.2: this option was removed"):
        load_experiment(record)
