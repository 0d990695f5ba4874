"""A student of a trained model: it learns the teacher's posterior, answers fast, alone or beside the teacher."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline

from llm_action import read_skeleton
from llm_action.cli import main
from llm_action.commands.answering import load_answering
from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.evaluation.evaluate import recognizer_scorer, sequences_of, student_scorer
from llm_action.evaluation.recordings import Recordings
from llm_action.hub.model_folder import copy_model, describe
from llm_action.modeling.student import ActionStudent
from llm_action.skeleton_io import write_npz
from llm_action.training import distill as module
from llm_action.training.distill import Distillation, distill, teacher_posteriors
from llm_action.training.sense_examples import SenseExamples

TASK = "skeleton-action-recognition"


def scores(ranking: list[dict]) -> list[dict]:
    """Without what the pipeline adds about the recording."""
    return [{"label": entry["label"], "score": entry["score"]} for entry in ranking]


@pytest.fixture(scope="module")
def taught(tiny_export, recordings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "model"
    shutil.copytree(tiny_export, folder)
    distill(folder, str(recordings), Distillation(steps=120, versions=1))
    return folder


@pytest.fixture(scope="module")
def files(recordings) -> list[str]:
    return sorted(str(file) for file in recordings.glob("*_s[24]_*"))  # the test part


def test_the_student_has_learned(taught, files):
    student = ActionStudent.from_pretrained(taught)
    rankings = student.recognize([read_skeleton(file) for file in files], top_k=None)
    model = pipeline(TASK, model=str(taught))
    alike = [one[0]["label"] == other[0]["label"] for one, other in zip(rankings, model(files), strict=True)]
    assert np.mean(alike) >= 0.8
    assert all(sum(entry["score"] for entry in ranking) == pytest.approx(1, abs=1e-5) for ranking in rankings)
    assert not list((taught / "student").glob("teacher-*"))


def test_the_posteriors_are_the_teachers(tiny_export, recordings):
    """Of the plain recordings: what the pipeline says of each file of the training part."""
    experiment = load_experiment(tiny_export / "training" / "experiment.yaml")
    split = load_split(experiment, str(recordings))
    recognize = pipeline(TASK, model=str(tiny_export))
    read = Recordings(experiment, split, recognize.processor.feature_extractor)
    senses = SenseExamples(experiment, recognize.processor, split)
    given = teacher_posteriors(recognize, read, senses, versions=0)
    expected = np.exp(recognizer_scorer(recognize, split.labels)(sequences_of(split.train)))
    np.testing.assert_allclose(given.numpy(), expected, atol=1e-4)


def test_data_of_one_s_own_are_said_and_checked(tiny_export, tmp_path, capsys):
    """The record of a model has no folders; what is given in their place has to have the model's classes."""
    for label, action in (("wave", "waving a hand"), ("clap", "clapping hands")):
        for subject in range(5):
            file = tmp_path / "raw" / label / f"{subject}.npz"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_npz(generate_sequence(action, subject + 1, camera=2, repetition=1), file)
    data, model = str(tmp_path / "mine"), tmp_path / "model"
    assert main(["prepare", "folder", "--source", str(tmp_path / "raw"), "--out", data, "--workers", "1"]) == 0
    shutil.copytree(tiny_export, model)
    recipe = model / "training" / "experiment.yaml"
    recipe.write_text(recipe.read_text().replace("dataset: utd_mhad", "dataset: mine"))
    capsys.readouterr()
    assert main(["distill", str(model), "--data", data]) == 2
    assert "expected the data that the model learned from" in capsys.readouterr().err


def test_a_caller_s_experiment_stands_in_for_the_record(tiny_export, recordings, tmp_path):
    """A record names further data sets without their folders; who trained on them knows where they lie."""
    folder, settings = tmp_path / "model", Distillation(steps=2, versions=0)
    shutil.copytree(tiny_export, folder)
    recipe = folder / "training" / "experiment.yaml"
    experiment = load_experiment(recipe)
    recipe.write_text(recipe.read_text().replace("extra_datasets: []", "extra_datasets: [{dataset: elsewhere}]"))
    with pytest.raises((ValueError, FileNotFoundError), match="elsewhere"):
        distill(folder, str(recordings), settings)
    assert distill(folder, str(recordings), settings, experiment).config.labels


def test_an_interrupted_distillation_asks_nothing_again(tiny_export, recordings, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(tiny_export, folder)
    settings = Distillation(steps=2, versions=0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "fit_averaged", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            distill(folder, str(recordings), settings)
    monkeypatch.setattr(module, "teacher_posteriors", lambda *_: pytest.fail("the language model was asked again"))
    distill(folder, str(recordings), settings)
    assert ActionStudent.from_pretrained(folder).config.labels


def test_the_pipeline_asks_the_student_for_trained_labels_alone(taught, files):
    student = ActionStudent.from_pretrained(taught)
    fast, plain = pipeline(TASK, model=str(taught), fast=True), pipeline(TASK, model=str(taught))
    sequences = [read_skeleton(file) for file in files]
    assert list(map(scores, fast(files, top_k=2))) == student.recognize(sequences, top_k=2)
    assert scores(fast(files[0])) == student.recognize(sequences[:1])[0]
    lists = sequences[0].joints.tolist()
    assert scores(fast(lists, layout=sequences[0].layout)) == student.recognize(sequences[:1])[0], "nested lists"
    of_views = zip(fast(iter(files), views=4), student.recognize(sequences, views=4), strict=True)
    for one, other in of_views:  # one by one and in a batch: alike to rounding
        assert [entry["label"] for entry in one[:2]] == [entry["label"] for entry in other[:2]]
        assert [entry["score"] for entry in one] == pytest.approx([entry["score"] for entry in other], abs=1e-5)
    few = list(reversed(student.config.labels[:2]))
    (ranking,) = fast([files[0]], candidate_labels=few)
    posterior = {entry["label"]: entry["score"] for entry in student.recognize(sequences[:1], None)[0]}
    assert {entry["label"]: entry["score"] for entry in ranking} == pytest.approx(
        {label: posterior[label] / sum(map(posterior.get, few)) for label in few}, rel=1e-4
    )
    new = ["juggling", *few]
    assert fast(files[0], candidate_labels=new, calibrate=False) == plain(
        files[0], candidate_labels=new, calibrate=False
    )


def test_a_stream_asks_the_student_too(taught, files, tmp_path):
    sequence = read_skeleton(files[0])
    student, fast = ActionStudent.from_pretrained(taught), pipeline(TASK, model=str(taught), fast=True)
    conventions = {"layout": sequence.layout, "up": "y", "mirrored": False, "fps": 30}
    frames, few = list(sequence.joints.swapaxes(0, 1)), student.config.labels[:2]
    for labels in (None, few):
        window = {"window": len(frames), "top_k": 2, "views": 2, "candidate_labels": labels}
        (found,) = fast.stream(iter(frames), **window, **conventions)
        (expected,) = student.recognize([sequence], 2, 2, labels)
        assert [one["label"] for one in found.ranking] == [one["label"] for one in expected]
        assert [one["score"] for one in found.ranking] == pytest.approx([one["score"] for one in expected], abs=1e-4)
    written = tmp_path / "windows.jsonl"
    command = ["stream", str(taught), files[0], "--window", str(len(frames)), "--fast", "--json", str(written)]
    assert main(command) == 0
    assert json.loads(written.read_text())["label"] == student.recognize([sequence])[0][0]["label"]
    assert main([*command, "--labels", "juggling", "dancing"]) == 0
    assert json.loads(written.read_text())["label"] in ("juggling", "dancing")


def test_evaluate_measures_the_student(taught, recordings, files, tmp_path, capsys):
    student = ActionStudent.from_pretrained(taught)
    sequences, names = [read_skeleton(file) for file in files], list(reversed(student.config.labels))
    given = student_scorer(student, [name.upper() for name in names], views=2)(sequences)
    torch.testing.assert_close(torch.from_numpy(given), student.log_posterior(sequences, 2).flip(1))
    with pytest.raises(ValueError, match="labels that the student was trained on, got juggling"):
        student_scorer(student, ["juggling", *names])
    command = ["evaluate", str(taught), "--dataset", "utd_mhad", "--data", str(recordings), "--fast"]
    assert main([*command, "--record"]) == 2
    assert "--fast: expected no --record" in capsys.readouterr().err
    assert main([*command, "--json", str(tmp_path / "metrics.json")]) == 0
    split = load_split(load_experiment(taught / "training" / "experiment.yaml"), str(recordings))
    said = [ranking[0]["label"] for ranking in student.recognize(sequences_of(split.test))]
    truth = [split.labels[label] for label in split.test["label"]]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["top1"] == np.mean([a.lower() == b.lower() for a, b in zip(said, truth, strict=True)])
    assert metrics["arithmetic"] == "student in float32 on cpu"


def test_both_together_are_their_mean(taught, files):
    student = ActionStudent.from_pretrained(taught)
    both, plain = pipeline(TASK, model=str(taught), hybrid=True), pipeline(TASK, model=str(taught))
    sequences = [read_skeleton(file) for file in files]
    of_both = both(files, top_k=None), student.recognize(sequences, top_k=None), plain(files, top_k=None)
    for ranking, one, other in zip(*of_both, strict=True):
        of_student, of_model = ({entry["label"]: entry["score"] for entry in each} for each in (one, other))
        assert ranking == sorted(ranking, key=lambda entry: -entry["score"])
        for entry in ranking:
            mean = (of_student[entry["label"]] + of_model[entry["label"]]) / 2
            assert entry["score"] == pytest.approx(mean, abs=1e-5)


def test_classes_that_training_left_out_are_no_labels_of_the_student(tiny_export, recordings, tmp_path):
    experiment = load_experiment(tiny_export / "training" / "experiment.yaml", ["unseen=[squat]"])
    split = load_split(experiment, str(recordings))
    recognize = pipeline(TASK, model=str(tiny_export))
    own = recognize.model.config
    kept = [number for number, name in enumerate(own.label_names) if name != "squat"]
    own.label_token_ids = [own.label_token_ids[number] for number in kept]
    own.label_names = [own.label_names[number] for number in kept]
    own.id2label = {number: name.title() for number, name in enumerate(own.label_names)}
    student = module.distill_recognizer(experiment, str(recordings), recognize, Distillation(steps=1, versions=0))
    assert student.config.labels == [name.title() for name in split.trained_labels]


def test_without_a_student_it_says_how_to_get_one(tiny_export):
    with pytest.raises(FileNotFoundError, match="llm-action distill"):
        pipeline(TASK, model=str(tiny_export), fast=True)


def test_the_command_answers_without_transformers(taught, files, tmp_path):
    """And without a base model: only the student's folder is there."""
    folder = tmp_path / "alone"
    shutil.copytree(taught / "student", folder / "student")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['transformers', 'peft', 'datasets', 'accelerate']));"
        "sys.argv[0] = 'llm-action'; from llm_action.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["recognize", "--fast", str(folder), files[0]]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    best = ActionStudent.from_pretrained(taught).recognize([read_skeleton(files[0])])[0][0]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{files[0]}: {best['label']} {best['score']:.3f}")


@pytest.fixture(scope="module")
def baseless(taught, without_base) -> Path:
    """A model with a student, whose base model is not there."""
    return without_base(taught)


@pytest.mark.parametrize(
    "command",
    [
        ["recognize", "MODEL", "FILE"],
        ["segment", "MODEL", "FILE"],
        ["stream", "MODEL", "FILE", "--window", "16"],
        ["explain", "MODEL", "FILE", "--out", "why.html"],
        ["evaluate", "MODEL", "--dataset", "utd_mhad", "--data", "DATA", "--mistakes", "mistakes.png"],
    ],
    ids=lambda command: command[0],
)
def test_no_base_model_is_needed(baseless, files, recordings, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    given = {"MODEL": str(baseless), "FILE": files[0], "DATA": str(recordings)}
    command = [given.get(part, part) for part in command]
    assert main(command) == 2
    assert "the base model" in capsys.readouterr().err
    assert main([*command, "--fast"]) == 0
    assert capsys.readouterr().out


def test_a_fresh_process_explains_by_the_student(baseless, files, tmp_path):
    """The repository's own code is not run, nor asked about."""
    command = ["explain", str(baseless), files[0], "--fast", "--out", str(tmp_path / "why.html")]
    code = "import sys; from llm_action.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "custom code" not in done.stderr and (tmp_path / "why.html").is_file()


def test_the_language_model_is_asked_for_new_names_alone(baseless, taught, files, capsys):
    sequence, student = read_skeleton(files[0]), ActionStudent.from_pretrained(taught)
    recognize = load_answering(str(baseless), fast=True)
    assert scores(recognize([sequence])[0]) == student.recognize([sequence])[0]
    assert recognize.segment(sequence, candidate_labels=student.config.labels[:2]) is not None
    for ask in (recognize.segment, recognize.explain, lambda one, **names: recognize([one], **names)):
        with pytest.raises(OSError, match="the base model"):
            ask(sequence, candidate_labels=["juggling", "dancing"])
    assert "new to the student" in capsys.readouterr().err
    (found,) = load_answering(str(taught), fast=True)([sequence], candidate_labels=["juggling", "dancing"])
    assert {entry["label"] for entry in found} == {"juggling", "dancing"}


def test_the_command_doubts_what_is_too_long_for_one_label(taught, files, tmp_path, capsys):
    sequence = read_skeleton(files[0])
    write_npz(replace(sequence, joints=np.tile(sequence.joints, (1, 60, 1, 1)), fps=30.0), tmp_path / "long.npz")
    assert main(["recognize", "--fast", str(taught), str(tmp_path / "long.npz")]) == 0
    assert "for one label" in capsys.readouterr().err
    still = [np.repeat(sequence.joints[:, [frame]], 300, axis=1) for frame in (0, -1)]
    standing = np.concatenate([still[0], sequence.joints, still[1]], axis=1)
    write_npz(replace(sequence, joints=standing, fps=30.0), tmp_path / "standing.npz")
    assert main(["recognize", "--fast", "--top-k", "1", str(taught), files[0], str(tmp_path / "standing.npz")]) == 0
    said = capsys.readouterr()
    one, other = (line.split(":")[1].split()[0] for line in said.out.splitlines() if ".npz" in line or ".mat" in line)
    assert one == other and "for one label" not in said.err, "standing before and after is left out"


def test_a_student_travels_with_its_model(taught, tmp_path):
    copy = copy_model(taught, tmp_path / "copy")
    one, other = (ActionStudent.from_pretrained(folder).state_dict() for folder in (taught, copy))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert describe(copy)["student"] is True


@pytest.mark.parametrize("settings", [{"steps": 0}, {"versions": -1}, {"share": 1.5}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="Expected steps"):
        Distillation(**settings)


def test_many_recordings_are_asked_about_less_often(tiny_export, recordings, tmp_path, monkeypatch):
    """Each is asked about once, whatever its number, and as often as wished only while there are few."""
    asked = []
    monkeypatch.setattr(module, "fit_averaged", lambda student, *_, **__: student)
    monkeypatch.setattr(module, "teacher_posteriors", lambda *given: asked.append(given[-1]) or torch.ones(1, 1))
    experiment = load_experiment(tiny_export / "training" / "experiment.yaml")
    recognize = pipeline(TASK, model=str(tiny_export))
    count = len(load_split(experiment, str(recordings)).train)
    for most in (6000, 3 * count, count // 2):
        monkeypatch.setattr(module, "_MOST_SENTENCES", most)
        module.distill_recognizer(experiment, str(recordings), recognize)
    assert asked == [3, 2, 0]
