"""A second sense from its files to an answer: tables, both stages, the model folder, and what is lacking in use."""

import json
import shutil

import numpy as np
import pytest
import scipy.io
import torch

from llm_action import LlmArProcessor, SignalSequence
from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets import load_benchmark, open_dataset, row_to_signal
from llm_action.datasets.augmentation import augment, augment_signal
from llm_action.datasets.split import load_split
from llm_action.datasets.utd_mhad import LABELS
from llm_action.evaluation.evaluate import recognizer_scorer, table_scores
from llm_action.experiments.senses import late_fusion, with_lost_joints
from llm_action.hub.cards import model_card
from llm_action.hub.model_folder import check_model, describe
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.hub_repository import repository_files
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.training.calibrate import calibrate, fitted_weights
from llm_action.training.train import train
from llm_action.training.train_recognizer import train_recognizer

BOTH = ("skeleton", "inertial")


@pytest.fixture(scope="module")
def recognize(sense_run):
    parts = (LlmArForActionRecognition, LlmArProcessor)
    model, processor = (part.from_pretrained(sense_run / "model") for part in parts)
    return SkeletonActionRecognitionPipeline(model=model, processor=processor)


def test_the_table_has_a_column_a_sense(both_senses):
    table = load_benchmark("utd_mhad", both_senses).with_format("numpy")
    row = next(row for row in table if row["name"] == "a4_s3_t1")
    written = scipy.io.loadmat(both_senses / "inertial" / "a4_s3_t1_inertial.mat")["d_iner"]
    np.testing.assert_allclose(row_to_signal(row, "inertial"), written, rtol=1e-6)
    assert row_to_signal(next(row for row in table if row["name"] == "a3_s8_t1"), "inertial") is None
    with pytest.raises(ValueError, match="expected a column 'emg'"):
        row_to_signal(row, "emg")


def test_prepare_takes_the_sensor_along(both_senses, tmp_path):
    out = tmp_path / "prepared"
    assert main(["prepare", "utd-mhad", "--source", str(both_senses), "--out", str(out), "--workers", "1"]) == 0
    benchmark, table = open_dataset("utd_mhad", out)
    plain = load_benchmark("utd_mhad", both_senses)
    assert list(benchmark.senses) == ["inertial"] and len(benchmark.senses["inertial"].channels) == 6
    for one, other in zip(table.with_format("numpy"), plain.with_format("numpy"), strict=True):
        first, second = (row_to_signal(row, "inertial") for row in (one, other))
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            np.testing.assert_array_equal(first, second)


def test_prepare_folder_takes_a_column_a_sense_on_its_own_clock(both_senses, tmp_path, capsys):
    """Time stamps bring the signal onto the skeleton's clock: one that shows the time itself says so."""
    lines = ["path,label,subject,split,worn"]
    for number, file in enumerate(sorted((both_senses / "skeleton").glob("*_s[12]_*.mat"))):
        seconds = np.arange(-20, 1200) / 100
        rows = "".join(f"{second:.4f},{second:.4f}\n" for second in seconds)
        (tmp_path / f"{number}.csv").write_text("time,seconds passed\n" + rows)
        label = LABELS[int(file.name.split("_")[0][1:]) - 1]
        part = "train" if "_s1_" in file.name else "test"
        lines.append(f"{file},{label},1,{part},{'' if number == 1 else tmp_path / f'{number}.csv'}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    arguments = ["prepare", "folder", "--source", str(tmp_path), "--csv", str(tmp_path / "list.csv"), "--workers", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    benchmark, table = open_dataset(tmp_path / "out")
    assert benchmark.senses["worn"].channels == ("seconds passed",)
    signals = [row_to_signal(row, "worn") for row in table.with_format("numpy")]
    assert [signal is None for signal in signals] == [number == 1 for number in range(len(signals))]
    for row, signal in zip(table, signals, strict=True):
        if signal is not None:
            assert signal[0, 0] == pytest.approx(0, abs=1e-3)
            assert signal[-1, 0] == pytest.approx((row["shape"][1] - 1) / row["fps"], abs=1e-3)
    (tmp_path / "list.csv").write_text("path,label,heart rate\nx,y,z.csv\n")
    capsys.readouterr()
    assert main([*arguments, "--out", str(tmp_path / "other")]) == 2
    assert "a further column is a sense" in capsys.readouterr().err


def test_both_senses_of_a_recording_are_cut_alike():
    ranges = load_experiment("utd_mhad").augmentation
    for name in ("yaw", "pitch", "roll", "scale", "stretch", "noise", "limb_scale"):
        setattr(ranges, name, 0.0)
    way = np.linspace(0, 1, 90, dtype=np.float32)
    persons = np.broadcast_to(way[None, :, None, None], (1, 90, 20, 3))
    own = load_experiment("utd_mhad_inertial").senses["inertial"].augmentation
    own.rotation = own.scale = own.noise = 0.0
    own.shortest_crop, own.speed = ranges.shortest_crop, ranges.speed
    for seed in range(5):
        seen = augment(persons, ranges, 64, np.random.default_rng(seed))[0, :, 0, 0]
        heard = augment_signal(way[:, None], own, 64, np.random.default_rng(seed), np.ones(1))[:, 0]
        np.testing.assert_allclose(seen, heard, atol=1e-5)


def test_each_sense_alone_and_both_tell_the_classes_apart(recognize, both_senses, sense_config):
    split = load_split(load_experiment(sense_config), str(both_senses))
    score, labels = recognizer_scorer(recognize, split.labels), np.array(split.test["label"])
    has_sensor = np.array([bool(len(row["shape"])) for row in split.test["inertial"]])
    for given in (BOTH, ("skeleton",)):
        assert np.mean(table_scores(score, split.test, senses=given).argmax(1) == labels) > 0.6, given
    of_sensor = split.test.select(np.flatnonzero(has_sensor))
    right = table_scores(score, of_sensor, senses=("inertial",)).argmax(1) == np.array(of_sensor["label"])
    assert right.mean() > 0.8


def test_several_senses_are_read_alone_and_weighed(recognize, both_senses):
    files = {
        sense: str(both_senses / sense / f"a{action}_s2_t1_{sense}.mat")
        for sense, action in (("skeleton", 3), ("inertial", 4))
    }

    def logs(given, **options):
        return {entry["label"]: np.log(entry["score"]) for entry in recognize(given, top_k=None, **options)}

    config = recognize.model.config
    try:
        for weight, views in ((None, 1), (0.2, 1), (3.0, 2)):
            config.sense_weights = None if weight is None else {"inertial": 1.0}
            skeleton, signal = (logs({sense: file}, views=views) for sense, file in files.items())
            config.sense_weights = None if weight is None else {"inertial": weight}
            both, weight = logs(files, views=views), 1.0 if weight is None else weight  # alone it has its weight, too
            expected = {label: skeleton[label] + weight * signal[label] for label in skeleton}
            total = np.logaddexp.reduce(list(expected.values()))
            assert both == pytest.approx({label: value - total for label, value in expected.items()}, abs=1e-3)
        answers = recognize([files, {"inertial": files["inertial"]}, files["skeleton"]], top_k=None)
        for alone, given in zip(answers, (files, {"inertial": files["inertial"]}, files["skeleton"]), strict=True):
            assert {one["label"]: np.log(one["score"]) for one in alone} == pytest.approx(logs(given), abs=1e-3)
        named = recognize(files, candidate_labels=["wave", "clap", "jump"])
        assert sum(entry["score"] for entry in named) == pytest.approx(1, abs=1e-4)
    finally:
        config.sense_weights = None


def test_weights_are_those_of_the_least_loss():
    """A sense that says half of what it knows is believed twice, and noise hardly at all."""
    rng = np.random.default_rng(0)
    logits, noise = rng.normal(size=(2, 400, 5)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.array([rng.choice(5, p=row) for row in shares])
    skeleton = np.zeros((400, 5)) + rng.normal(size=(400, 5)) * 0.01
    weights = fitted_weights(skeleton + logits / 2, {"good": logits / 4, "noise": noise}, targets)
    assert weights["noise"] < 0.15 < weights["good"]


@pytest.mark.slow
def test_weights_are_fitted_on_what_a_run_left_out_and_used(sense_config, both_senses, sense_run, tmp_path):
    experiment = load_experiment(sense_config, ["holdout_subjects=[1]"])
    train(experiment, str(both_senses), tmp_path / "held")
    shutil.copytree(sense_run / "model", tmp_path / "model")
    found = calibrate(tmp_path / "model", tmp_path / "held", str(both_senses))
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    assert saved["sense_weights"] == found.sense_weights and found.sense_weights["inertial"] > 0
    assert LlmArForActionRecognition.from_pretrained(tmp_path / "model").config.sense_weights == found.sense_weights


@pytest.mark.parametrize("downsample", (1, 2, 8, 16))
def test_a_tokenizer_s_steps_stand_for_as_many_samples_as_asked(downsample):
    vqvae = ActionVQVAE(
        ActionVQVAEConfig(num_frames=32, downsample=downsample, channels=["x"], hidden_size=16, num_heads=2)
    ).eval()
    signals = torch.randn(3, 32, 1)
    assert vqvae.encode(signals).shape == (3, 32 // downsample, 1)
    assert vqvae(signals).reconstruction.shape == (3, 32, 1)


def test_prompts_name_the_senses_there_are(sense_run, both_senses):
    processor = LlmArProcessor.from_pretrained(sense_run / "model")
    skeleton = both_senses / "skeleton" / "a3_s2_t1_skeleton.mat"
    signal = both_senses / "inertial" / "a3_s2_t1_inertial.mat"

    def read(**given):
        """The words of each prompt, and the kinds of its action tokens."""
        for ids in processor(**given)["input_ids"]:
            words = [index for index in ids if index < processor.first_action_id]
            tokens = [token for token in processor.convert_ids_to_tokens(ids) if token[0] == "<"]
            said = processor.tokenizer.decode(words).replace(processor.tokenizer.pad_token, "")
            yield said, [token[1] for token in tokens if token[1:2] in "as" and token[2:3].isdigit()]

    motion = "Human motion:\nThe action is:", ["a"] * processor.vqvae.config.num_places
    sensor = "Wrist sensor:\nThe action is:", ["s"] * 8
    assert list(read(skeletons=skeleton)) == [motion]
    assert list(read(signals={"inertial": signal})) == [sensor]
    assert list(read(skeletons=skeleton, signals={"inertial": signal})) == [motion, sensor]
    several = read(skeletons=[skeleton, skeleton], signals={"inertial": [signal, None]})
    assert list(several) == [motion, sensor, motion]
    ids = processor(skeleton, signals={"inertial": signal})["input_ids"]
    assert processor.decode(ids).num_frames == processor.vqvae.config.num_frames, "the sensor's tokens are skipped"
    with pytest.raises(ValueError, match="2 of skeleton, 1 of inertial"):
        processor([skeleton, skeleton], signals={"inertial": [signal]})


def test_the_rate_of_a_signal_changes_no_token(sense_run):
    processor = LlmArProcessor.from_pretrained(sense_run / "model")

    def smooth(count):
        return np.sin(np.linspace(0, 6, count)[:, None] + np.arange(6))

    once, twice = (processor.encode({"inertial": smooth(count)}) for count in (200, 399))
    assert once == twice


def test_what_a_model_cannot_take_is_said(recognize, both_senses):
    skeleton = both_senses / "skeleton" / "a3_s2_t1_skeleton.mat"
    for given, message in (
        (
            {"skeleton": skeleton, "emg": np.zeros((9, 6))},
            "Unknown sense emg: this model was trained on skeleton, iner",
        ),
        ({"skeleton": None}, "at least one of skeleton, inertial, got none"),
        ({"inertial": np.zeros((9, 5))}, "expected the channels acceleration x.*got 1, 2, 3, 4, 5"),
        ({"inertial": np.full((9, 6), np.nan)}, "nan in channel"),
        ({"inertial": np.zeros((0, 6))}, "at least one sample"),
        ({"inertial": {"values": np.zeros((9, 6)), "start": 1.0}}, "rate is missing"),
        ({"inertial": both_senses / "inertial" / "none.mat"}, "no such file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            recognize(given)


def test_a_skeletons_model_knows_no_other_sense(tiny_export):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    with pytest.raises(ValueError, match="Unknown sense inertial: this model was trained on skeleton"):
        processor(signals={"inertial": np.zeros((9, 6))})
    saved = json.loads((tiny_export / "processor_config.json").read_text())
    assert saved["format_version"] == 2 and "sense_fingerprints" not in saved, "as earlier releases read it"


def test_the_folder_holds_and_names_its_senses(sense_run, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(sense_run / "model", folder)
    assert {"senses/inertial/config.json", "senses/inertial/model.safetensors"} <= set(repository_files(folder))
    assert "6 channels (g, degrees/s): acceleration x" in describe(folder)["sense inertial"]
    card = str(model_card(folder, "me/model"))
    assert "`inertial`, may be lacking: 6 channels" in card and 'recognize({"skeleton": joints, "inertial"' in card
    for part in ("config.json", "processor_config.json", "senses/inertial/config.json"):
        assert json.loads((folder / part).read_text())["format_version"] == 3, "releases of format 2 refuse it"
    check_model(folder, to_share=False)
    vqvae = LlmArProcessor.from_pretrained(folder).senses["inertial"]
    with torch.no_grad():
        vqvae.channel_scales.mul_(2)
    vqvae.save_pretrained(folder / "senses" / "inertial")
    with pytest.raises(ValueError, match="senses/inertial/ holds"):
        check_model(folder, to_share=False)
    with pytest.raises(ValueError, match="fingerprint of inertial's VQ-VAE"):
        LlmArProcessor.from_pretrained(folder)


def test_recognize_takes_a_file_a_sense(sense_run, both_senses, tmp_path, capsys):
    skeleton = str(both_senses / "skeleton" / "a4_s2_t1_skeleton.mat")
    signal = f"inertial={both_senses / 'inertial' / 'a4_s2_t1_inertial.mat'}"
    model, answers = str(sense_run / "model"), tmp_path / "answers.json"
    for given in ([skeleton, "--signal", signal], ["--signal", signal]):
        assert main(["recognize", model, *given, "--json", str(answers)]) == 0
        assert json.loads(answers.read_text())[0]["ranking"][0]["label"] == "clap", given
    assert main(["recognize", model, skeleton, "--signal", "worn.csv"]) == 2
    assert "expected SENSE=FILE" in capsys.readouterr().err
    assert main(["recognize", model, skeleton, skeleton, "--signal", signal]) == 2
    assert "one FILE that it belongs to" in capsys.readouterr().err


def test_late_fusion_is_the_mean_of_the_posteriors():
    shares = {"skeleton": [[0.5, 0.5]], "inertial": [[0.1, 0.9]]}
    scorers = {name: lambda recordings, name=name: np.log(shares[name]) for name in shares}
    fused = np.exp(late_fusion(scorers)([{"skeleton": 0, "inertial": 0}]))
    np.testing.assert_allclose(fused, [[0.3, 0.7]])


def test_joints_are_lost_at_the_rate_asked_for(recognize, recordings):
    sequence = recognize.processor.read(recordings / "a3_s2_t1_skeleton.mat")
    lost = [with_lost_joints(_named(sequence, str(number)), 0.3).joints for number in range(200)]
    share = np.mean([np.isnan(joints).any(-1).all((0, 1)) for joints in lost])
    assert share == pytest.approx(0.3, abs=0.04)


def _named(sequence, name):
    from dataclasses import replace

    return replace(sequence, name=name)


def test_a_data_set_without_the_sense_says_so(sense_config, recordings, tmp_path):
    experiment = load_experiment(sense_config, ["vqvae.steps=1"])
    with pytest.raises(ValueError, match="no recording of the training part has the sense inertial"):
        train(experiment, str(recordings), tmp_path / "run")


def test_features_of_a_video_are_a_sense_too(sense_run):
    """Any (samples, width) goes in by the same door; that of a model is the width it was trained with."""
    processor = LlmArProcessor.from_pretrained(sense_run / "model")
    features = SignalSequence(np.random.default_rng(0).normal(size=(60, 6)), rate=30)
    assert len(processor.encode({"inertial": features})) > 8


def test_a_model_that_learns_from_skeletons_alone_knows_no_sensor(sense_run, sense_config, both_senses, tmp_path):
    shutil.copytree(sense_run / "processor", tmp_path / "processor")
    train_recognizer(load_experiment(sense_config, ["recognizer.senses=[skeleton]"]), str(both_senses), tmp_path)
    processor = LlmArProcessor.from_pretrained(tmp_path / "model")
    assert not processor.senses and check_model(tmp_path / "model", to_share=False) is None
    with pytest.raises(ValueError, match="Unknown sense inertial"):
        processor(signals={"inertial": np.zeros((9, 6))})
