"""A model of two senses in use: its student, its explanations, and what it says of signals that it cannot take."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline

import llm_action  # noqa: F401  the package's classes work, not the folder's
from llm_action import read_signal, read_skeleton
from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets import row_to_senses
from llm_action.datasets.augmentation import AugmentedSignals
from llm_action.datasets.split import load_split
from llm_action.evaluation.calibration import fitted_temperature
from llm_action.evaluation.evaluate import recognizer_scorer, sequences_of, student_scorer, table_scores
from llm_action.evaluation.recordings import Recordings
from llm_action.modeling.motion_attribution import log_odds
from llm_action.modeling.open_vocabulary import LabelWarning
from llm_action.modeling.student import ActionStudent, StudentConfig
from llm_action.skeleton_io import write_npz
from llm_action.training.calibrate import calibrate
from llm_action.training.distill import Distillation, distill, distill_recognizer, teacher_posteriors
from llm_action.training.sense_examples import SenseExamples
from llm_action.visualization.explanation_page import write_explanations

TASK = "skeleton-action-recognition"
BOTH = ("skeleton", "inertial")


@pytest.fixture(scope="module")
def taught(sense_run, both_senses, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "model"
    shutil.copytree(sense_run / "model", folder)
    distill(folder, str(both_senses), Distillation(steps=150, versions=1))
    return folder


@pytest.fixture(scope="module")
def split(sense_config, both_senses):
    return load_split(load_experiment(sense_config), str(both_senses))


@pytest.fixture(scope="module")
def fast(taught):
    return pipeline(TASK, model=str(taught), fast=True)


@pytest.fixture(scope="module")
def plain(taught):
    return pipeline(TASK, model=str(taught))


@pytest.fixture(scope="module")
def files(both_senses) -> dict[str, str]:
    """A test recording of both senses, which name different actions: somebody waves, and the sensor claps."""
    names = {"skeleton": "a3_s2_t1_skeleton.mat", "inertial": "a4_s2_t1_inertial.mat"}
    return {sense: str(both_senses / sense / name) for sense, name in names.items()}


def scores(ranking) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in ranking}


class TestStudent:
    def test_it_reads_each_sense_alone_and_both(self, taught, split):
        score = student_scorer(ActionStudent.from_pretrained(taught), split.labels)
        labels = np.array(split.test["label"])
        for given in (BOTH, ("skeleton",)):
            right = table_scores(score, split.test, senses=given).argmax(1) == labels
            assert right.mean() > 0.6, given
        worn = split.test.select([number for number, row in enumerate(split.test["inertial"]) if len(row["shape"])])
        right = table_scores(score, worn, senses=("inertial",)).argmax(1) == np.array(worn["label"])
        assert right.mean() > 0.8

    def test_it_is_taught_what_the_model_says_of_all_senses(self, plain, split, sense_config):
        experiment = load_experiment(sense_config)
        read = Recordings(experiment, split, plain.processor.feature_extractor)
        senses = SenseExamples(experiment, plain.processor, split)
        given = teacher_posteriors(plain, read, senses, versions=0)
        recordings = sequences_of(split.train, senses=BOTH)
        assert all(set(one) == set(BOTH) for one in recordings)
        np.testing.assert_allclose(given, np.exp(recognizer_scorer(plain, split.labels)(recordings)), atol=1e-4)

    def test_both_senses_of_an_example_are_cut_alike(self, plain, split, sense_config):
        """As two streams of one seed are, see tests/training/test_senses.py."""
        experiment = load_experiment(sense_config)
        senses = SenseExamples(experiment, plain.processor, split)
        given = [number for number, signal in enumerate(senses.signals["inertial"]) if signal is not None]
        assert len(given) == len(split.train), "all that are trained on wear it"
        own = experiment.senses["inertial"].augmentation
        sources = (senses.signals["inertial"], split.train["label"], own)
        stream = AugmentedSignals(*sources, plain.processor.senses["inertial"], 100, experiment.seed)
        skeletons = Recordings(experiment, split, plain.processor.feature_extractor).augmented_rows(8, 5)
        for number, (_, _, rows) in enumerate(skeletons):
            signals = senses.augmented(rows.tolist(), 8 * number)["inertial"]
            expected = np.concatenate([stream[item]["skeletons"] for item in range(8 * number, 8 * number + 8)])
            np.testing.assert_allclose(signals, expected, atol=1e-5)

    def test_a_share_of_its_examples_lacks_a_sense(self, plain, split, sense_config):
        experiment = load_experiment(sense_config)
        senses = SenseExamples(experiment, plain.processor, split)
        rows = [number % len(split.train) for number in range(2000)]
        signals = {"inertial": torch.zeros(2000, 4, 6)}
        mask, dropped = senses.dropped(torch.ones(2000, 2, dtype=torch.bool), signals, rows, 0)
        absent = dropped["inertial"].isnan().all(2).all(1)
        unseen = ~mask.any(1)
        assert not (absent & unseen).any() and not dropped["inertial"][~absent].isnan().any()
        share = 0.3
        assert absent.float().mean() == pytest.approx(share / 2, abs=0.03)
        assert unseen.float().mean() == pytest.approx(share / 2, abs=0.03)

    def test_a_model_is_trained_on_the_senses_asked_for(self, plain, split, sense_config):
        indices, mask = range(len(split.train)), torch.ones(len(split.train), 2, dtype=torch.bool)
        for asked, seen, heard in (("inertial", False, True), ("skeleton", True, False)):
            experiment = load_experiment(sense_config, [f"recognizer.senses=[{asked}]"])
            senses = SenseExamples(experiment, plain.processor, split)
            found, signals = senses.of_sentences(np.zeros(len(indices), int), indices, mask)
            assert found.any() == seen and bool((~signals["inertial"].isnan()).any()) == heard
            assert senses.heard == (["inertial"] if heard else [])

    def test_a_model_that_never_saw_skeletons_has_none(self, plain, sense_config, both_senses):
        experiment = load_experiment(sense_config, ["recognizer.senses=[inertial]"])
        with pytest.raises(ValueError, match="learned from inertial alone"):
            distill_recognizer(experiment, str(both_senses), plain, Distillation(steps=1, versions=0))

    def test_a_skeleton_beside_a_signal_keeps_its_still_ends(self, taught, plain, files, tmp_path, recwarn):
        sequence = read_skeleton(files["skeleton"])
        still = [np.repeat(sequence.joints[:, [frame]], 400, axis=1) for frame in (0, -1)]
        joints = np.concatenate([still[0], sequence.joints, still[1]], axis=1)
        write_npz(replace(sequence, joints=joints, fps=30.0), tmp_path / "standing.npz")
        beside = ["--signal", f"inertial={files['inertial']}", "--json", str(tmp_path / "said.json")]
        assert main(["recognize", str(taught), str(tmp_path / "standing.npz"), "--top-k", "3", *beside]) == 0
        (said,) = json.loads((tmp_path / "said.json").read_text())
        whole = {"skeleton": read_skeleton(tmp_path / "standing.npz"), "inertial": files["inertial"]}
        expected = plain(whole, top_k=3)
        assert [one["label"] for one in said["ranking"]] == [one["label"] for one in expected]
        assert [one["score"] for one in said["ranking"]] == pytest.approx([one["score"] for one in expected], abs=1e-4)

    def test_a_sensor_alone_says_nothing_of_new_names(self, plain, files, recwarn):
        names = ["greet", "bow"]
        assert plain(files, candidate_labels=names) and plain({"skeleton": files["skeleton"]}, candidate_labels=names)
        assert not [one for one in recwarn if one.category is LabelWarning]
        with pytest.warns(LabelWarning, match="a recording without a skeleton has none"):
            plain({"inertial": files["inertial"]}, candidate_labels=names)

    def test_the_pipeline_gives_it_what_there_is(self, taught, fast, files):
        student = ActionStudent.from_pretrained(taught)
        skeleton, signal = read_skeleton(files["skeleton"]), read_signal(files["inertial"])
        given = [
            (files, {"skeleton": skeleton, "inertial": signal}),
            ({"inertial": files["inertial"]}, {"inertial": signal}),
            ({"skeleton": files["skeleton"], "inertial": None}, skeleton),
            (files["skeleton"], skeleton),
        ]
        for (recording, read), together in zip(given, fast([one for one, _ in given], top_k=None), strict=True):
            (expected,) = student.recognize([read], None)
            assert scores(fast(recording, top_k=None)) == pytest.approx(scores(expected), abs=1e-5)
            assert scores(together) == pytest.approx(scores(expected), abs=1e-5)
        of_signal = fast({"inertial": files["inertial"]})[0]
        assert of_signal["label"] == "clap" and "familiarity" not in of_signal
        (averaged,) = student.recognize([given[0][1]], None, views=4)
        assert scores(fast(files, top_k=None, views=4)) == pytest.approx(scores(averaged), abs=1e-5)

    def test_a_row_of_a_table_is_all_its_senses(self, fast, split):
        row = split.test.with_format("numpy")[0]
        expected = scores(fast(row_to_senses(row, BOTH), top_k=None))
        assert scores(fast(split.test[0], top_k=None)) == pytest.approx(expected, abs=1e-5)

    def test_both_together_are_the_mean_of_what_they_say_of_all_senses(self, taught, fast, plain, files):
        together = scores(pipeline(TASK, model=str(taught), hybrid=True)(files, top_k=None))
        of_student, of_model = scores(fast(files, top_k=None)), scores(plain(files, top_k=None))
        assert together == pytest.approx({name: (of_student[name] + of_model[name]) / 2 for name in together}, abs=1e-5)

    def test_one_of_skeletons_alone_says_that_it_does_not_read_the_sensor(
        self, sense_run, plain, files, tmp_path, capsys
    ):
        folder = tmp_path / "model"
        shutil.copytree(sense_run / "model", folder)
        extractor = plain.processor.feature_extractor
        labels = list(plain.model.config.class_names)
        ActionStudent(StudentConfig(labels, extractor.layout, extractor.num_frames)).save_pretrained(folder)
        recognize = pipeline(TASK, model=str(folder), fast=True)
        assert recognize(files["skeleton"])
        with pytest.raises(ValueError, match="student reads skeleton, got inertial; leave that out, let the language"):
            recognize(files)
        command = ["recognize", str(folder), files["skeleton"], "--fast"]
        assert main(command) == 0
        capsys.readouterr()
        assert main([*command, "--signal", f"inertial={files['inertial']}"]) == 2
        assert "The student reads skeleton, got inertial" in capsys.readouterr().err

    def test_the_command_answers_without_transformers(self, taught, files, tmp_path):
        folder = tmp_path / "alone"
        shutil.copytree(taught / "student", folder / "student")
        code = (
            "import sys; sys.modules.update(dict.fromkeys(['transformers', 'peft', 'datasets', 'accelerate']));"
            "sys.argv[0] = 'llm-action'; from llm_action.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        student = ActionStudent.from_pretrained(taught)
        signal = read_signal(files["inertial"])
        for words, recording in (
            ([files["skeleton"]], {"skeleton": read_skeleton(files["skeleton"]), "inertial": signal}),
            ([], {"inertial": signal}),
        ):
            command = ["recognize", "--fast", str(folder), *words, "--signal", f"inertial={files['inertial']}"]
            done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            best = student.recognize([recording])[0][0]
            assert f": {best['label']} {best['score']:.3f}" in done.stdout.splitlines()[0]

    def test_evaluate_measures_it_with_the_senses_asked_for(self, taught, split, both_senses, tmp_path):
        score = student_scorer(ActionStudent.from_pretrained(taught), split.labels)
        truth = np.array(split.test["label"])
        worn = np.flatnonzero([len(row["shape"]) for row in split.test["inertial"]])
        found = {}
        for senses in ((), ("skeleton",), ("inertial",)):
            command = ["evaluate", str(taught), "--dataset", "utd_mhad", "--data", str(both_senses), "--fast"]
            asked = ["--senses", *senses] if senses else []
            assert main([*command, *asked, "--json", str(tmp_path / "metrics.json")]) == 0
            found[senses] = json.loads((tmp_path / "metrics.json").read_text())
            there = worn if senses == ("inertial",) else np.arange(len(truth))
            expected = table_scores(score, split.test.select(there), senses=senses or BOTH)
            assert found[senses]["top1"] == np.mean(expected.argmax(1) == truth[there])
            assert found[senses]["n"] == len(there), "those that have the sense"
        assert found[()]["negative_log_likelihood"] != found["skeleton",]["negative_log_likelihood"]

    def test_calibrate_fits_what_is_said_of_all_senses(self, taught, both_senses, tmp_path):
        run, folder = tmp_path / "run", tmp_path / "calibrated"
        shutil.copytree(taught, run / "model")
        shutil.copytree(taught, folder)
        recipe = (taught / "training" / "experiment.yaml").read_text()
        (run / "experiment.yaml").write_text(recipe.replace("holdout_subjects: []", "holdout_subjects: [1]"))
        found = calibrate(folder, run, str(both_senses))
        held = load_split(load_experiment(run / "experiment.yaml"), str(both_senses))
        student = ActionStudent.from_pretrained(taught)
        truth = np.array(held.test["label"])
        said = table_scores(student_scorer(student, held.labels), held.test, senses=BOTH)
        assert found.student_temperature == pytest.approx(fitted_temperature(said, truth), rel=1e-3)


class TestExplanation:
    @pytest.fixture(scope="class", params=["language model", "student"])
    def recognize(self, request):
        return request.getfixturevalue({"language model": "plain", "student": "fast"}[request.param])

    def test_it_says_which_sense_spoke_for_the_label(self, recognize, files):
        found = recognize.explain(files)
        rankings = {
            "whole": recognize(files, top_k=None),
            **{name: recognize({name: file}, top_k=None) for name, file in files.items()},
        }
        label = rankings["whole"][0]["label"]
        assert found.label == label and [one.name for one in found.senses] == list(BOTH)

        def odds(name):
            shares = [scores(rankings[name])[one] for one in found.labels]
            return log_odds(np.array([shares]), found.labels.index(label))[0]

        for one, other in zip(found.senses, reversed(BOTH), strict=True):
            assert one.weight == pytest.approx(odds("whole") - odds(other), abs=2e-3), "without it the other is left"
            best = rankings[one.name][0]
            assert one.label == best["label"] and one.score == pytest.approx(best["score"], abs=1e-3)
            assert one.share == pytest.approx(scores(rankings[one.name])[label], abs=1e-3)
        spoke = max(found.senses, key=lambda one: one.weight)
        assert spoke.share == max(one.share for one in found.senses)

    def test_a_recording_of_one_sense_has_no_such_part(self, recognize, files, tmp_path):
        found = recognize.explain(files["skeleton"])
        assert found.senses == []
        assert "Which sense" not in write_explanations([found], tmp_path / "why.html").read_text()
        with pytest.raises(ValueError, match="a recording with a skeleton"):
            recognize.explain({"inertial": files["inertial"]})

    @pytest.mark.parametrize("options", [[], ["--fast"]])
    def test_the_command_writes_it_on_the_page_and_as_json(self, taught, files, options, tmp_path, capsys):
        out = tmp_path / "why.html"
        signal = f"inertial={files['inertial']}"
        command = ["explain", str(taught), files["skeleton"], "--signal", signal, "--out", str(out), *options]
        assert main(command) == 0
        (content,) = json.loads(out.with_suffix(".json").read_text())
        assert [one["name"] for one in content["senses"]] == list(BOTH)
        said, page = capsys.readouterr().out, out.read_text()
        assert "Which sense" in page and f"“{content['ranking'][0]['label']}” alone" in page
        for one in content["senses"]:
            assert f"{one['name']}: {one['weight']:+.2f} log-odds" in said
            assert f">{one['weight']:+.2f}<" in page
        assert main(["explain", str(taught), *[files["skeleton"]] * 2, "--signal", signal, "--out", str(out)]) == 2
        assert "one FILE that it belongs to" in capsys.readouterr().err


def written(folder: Path, name: str, rows: np.ndarray, **fields) -> str:
    file = folder / name
    if file.suffix == ".npz":
        np.savez(file, values=rows, **fields)
    else:
        header = ",".join(f"channel {number}" for number in range(rows.shape[1]))
        np.savetxt(file, rows, delimiter=",", header=header, comments="")
    return str(file)


BAD = {
    "unknown sense": ("emg", "worn.npz", np.zeros((9, 6)), {}, ["emg", "reads skeleton, inertial|trained on skeleton"]),
    "wrong channels": ("inertial", "few.csv", np.zeros((9, 5)), {}, ["expected the channels acc", "got channel 0"]),
    "gap": ("inertial", "gap.npz", np.full((9, 6), np.nan), {}, ["gap: .*nan in channel", "fill the gap"]),
    "empty": ("inertial", "empty.npz", np.zeros((0, 6)), {}, ["empty: .*at least one sample", "leave this signal out"]),
    "no samples": ("inertial", "none.csv", np.zeros((0, 6)), {}, ["none.csv: .*names alone", "check the file"]),
    "rate missing": ("inertial", "start.npz", np.zeros((9, 6)), {"start": 1.0}, ["start: the rate is missing"]),
    "wrong rate": ("inertial", "rate.npz", np.zeros((9, 6)), {"rate": 0.0}, ["rate: expected a rate above 0"]),
    "another time": (
        *("inertial", "late.npz", np.zeros((9, 6)), {"times": 1.7e9 + np.arange(9)}),
        ["late: .*1700000000.*the skeleton is seen from|frames per second are missing"],
    ),
    "no such file": ("inertial", "nowhere.mat", None, {}, ["nowhere.mat: no such file"]),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("way", ["language model", "student"])
def test_what_it_cannot_take_is_said_by_pipeline_and_command(name, way, plain, fast, taught, files, tmp_path, capsys):
    sense, file, rows, fields, messages = BAD[name]
    path = str(tmp_path / file) if rows is None else written(tmp_path, file, rows, **fields)
    recognize = fast if way == "student" else plain
    for message in messages:
        with pytest.raises((ValueError, OSError), match=message):
            recognize({"skeleton": files["skeleton"], sense: path})
    options = ["--fast"] if way == "student" else []
    assert main(["recognize", str(taught), files["skeleton"], "--signal", f"{sense}={path}", *options]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    for message in messages:
        assert re.search(message, line), line


def test_a_signal_with_a_gap_is_read_with_a_doubt(taught, files, tmp_path, capsys):
    signal = read_signal(files["inertial"])
    skeleton = read_skeleton(files["skeleton"])
    seconds = skeleton.num_frames / (skeleton.fps or 30)
    times = np.linspace(0, seconds, signal.num_samples)
    kept = (times < 0.2 * seconds) | (times > 0.6 * seconds)
    np.savez(tmp_path / "torn.npz", values=signal.values[kept], channels=list(signal.channels), times=times[kept])
    for options in ([], ["--fast"]):
        command = ["recognize", str(taught), files["skeleton"], "--signal", f"inertial={tmp_path / 'torn.npz'}"]
        assert main([*command, *options]) == 0
        assert "warning: torn: no sample was taken from" in capsys.readouterr().err


def test_who_wears_it_is_not_known(plain, taught, files, capsys):
    with pytest.raises(ValueError, match="skeleton alone with each_person"):
        plain(files, each_person=True)
    with pytest.raises(ValueError, match=r"skeleton alone with each_person and in segment\(\)"):
        plain.segment(files)
    command = ["recognize", str(taught), files["skeleton"], "--signal", f"inertial={files['inertial']}"]
    assert main([*command, "--each-person"]) == 2
    assert "expected no --signal" in capsys.readouterr().err
