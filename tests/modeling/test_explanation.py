"""Explanations: each part agrees with what the model itself says when asked another way."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import pipeline

from llm_action.modeling.action_attributes import ATTRIBUTES, attribute_values
from llm_action.modeling.motion_attribution import StudentScorer, log_odds
from llm_action.modeling.student import ActionStudent, StudentConfig


@pytest.fixture(scope="module")
def recognize(tiny_export):
    return pipeline("skeleton-action-recognition", model=str(tiny_export))


@pytest.fixture(scope="module")
def file(recordings):
    return sorted(recordings.glob("*_s1_*.mat"))[0]


@pytest.fixture(scope="module")
def explanation(recognize, file):
    return recognize.explain(file)


def test_the_ranking_is_the_pipeline_s(explanation, recognize, file):
    ranking = recognize(file, top_k=None)
    assert [one["label"] for one in explanation.ranking] == [one["label"] for one in ranking]
    assert explanation.label == ranking[0]["label"]
    np.testing.assert_allclose([one["score"] for one in explanation.ranking], [one["score"] for one in ranking])


def test_the_last_beginning_is_the_whole_recording(explanation):
    scores = {one["label"]: one["score"] for one in explanation.ranking}
    assert explanation.prefixes.ends[-1] == 1
    np.testing.assert_allclose(
        explanation.prefixes.shares[-1], [scores[name] for name in explanation.labels], atol=1e-4
    )
    np.testing.assert_allclose(np.sum(explanation.prefixes.shares, 1), 1, atol=1e-4)


def test_windows_reach_from_the_beginning_to_the_end(explanation):
    windows = explanation.windows
    assert windows.starts[0] == 0 and windows.ends[-1] == 1
    np.testing.assert_allclose(np.sum(windows.shares, 1), 1, atol=1e-4)


def test_a_window_is_what_the_model_says_of_that_part_alone(recognize, recordings):
    extractor = recognize.processor.feature_extractor
    read = {file: extractor.normalize(recognize.processor.read(file)) for file in sorted(recordings.glob("*.mat"))}
    # half of an even number of frames would end between two of them
    file, normalized = next((file, one) for file, one in read.items() if one.shape[1] % 2)
    half = normalized[:, : (normalized.shape[1] - 1) // 2 + 1]
    codes = extractor.views_of(half, 1)[0, : len(half)]
    shares = recognize.explain(file).windows.shares[0]
    sentence = recognize.processor.encode_features(*map(_tensor, (codes[None], np.ones((1, len(half)), bool))))
    prompts = recognize.processor.build_prompts(sentence, return_tensors="pt")
    expected = recognize.model(**prompts).logits.softmax(-1)[0]
    np.testing.assert_allclose(shares, expected.detach().numpy(), atol=1e-3)


def _tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def test_tokens_are_the_sentence(explanation, recognize, file):
    said = [name for token in explanation.tokens for name in token.names]
    assert said == recognize.processor.tokenize(file)
    assert all(token.pose.shape == explanation.skeletons.shape[2:] for token in explanation.tokens)


def test_a_recording_trained_on_is_its_own_nearest(recognize, recordings, tiny_export):
    rehearsed = json.loads((tiny_export / "rehearsal.json").read_text())["sentences"]
    plain = {file: recognize.processor.encode(file) for file in recordings.glob("*.mat")}
    known = [file for file, ids in plain.items() if any(ids in of_label for of_label in rehearsed.values())]
    assert known, "the plain sentence of some training recording is rehearsed"
    nearest = recognize.explain(known[0]).nearest
    assert nearest[0].distance == pytest.approx(0, abs=1e-3)
    assert [one.distance for one in nearest] == sorted(one.distance for one in nearest)
    assert nearest[0].joints.shape[1:] == recognize.explain(known[0]).skeletons.shape[1:]


def test_moments_of_tokens_are_named_with_a_class_and_a_time(explanation, recognize):
    labels = set(recognize.model.config.class_names)
    moments = [moment for token in explanation.tokens for moment in token.moments]
    assert moments and {moment.label for moment in moments} <= labels
    assert all(0 <= moment.time <= 1 and moment.distance >= 0 for moment in moments)


def test_attributes_are_those_the_joints_show(explanation):
    values = attribute_values(explanation.skeletons, explanation.layout)
    assert {one.name: one.seen for one in explanation.attributes} == values
    assert [one.name for one in explanation.attributes] == list(ATTRIBUTES)
    for one in explanation.attributes:
        assert one.fits is (None if not one.expected else one.seen in one.expected)


def test_candidates_of_one_s_own_are_explained_too(recognize, file):
    names = {"wave": {"attributes": {"arms": "right arm"}}, "moonwalk": {"attributes": {"feet": "keep stepping"}}}
    found = recognize.explain(file, candidate_labels=names)
    assert set(found.labels) == set(names)
    arms = next(one for one in found.attributes if one.name == ("arms" if found.label == "wave" else "feet"))
    assert arms.expected == (["right arm"] if found.label == "wave" else ["keep stepping"])


def test_a_model_that_carries_nothing_of_its_training_is_explained_without(tiny_export, file, tmp_path):
    bare = tmp_path / "model"
    shutil.copytree(tiny_export, bare)
    for kept in bare.glob("rehearsal.*"):
        kept.unlink()
    found = pipeline("skeleton-action-recognition", model=str(bare)).explain(file)
    assert found.nearest == [] and all(not token.moments for token in found.tokens)
    assert all(one.usual is None for one in found.attributes)


def test_it_is_written_as_json_and_read_again(explanation):
    content = json.loads(json.dumps(explanation.to_dict()))
    assert content["labels"] == explanation.labels and content["attribution"]["method"] == "motion"
    assert len(content["attribution"]["frames"]) == len(explanation.attribution.frames)
    assert "skeletons" not in content


def test_an_unknown_method_and_an_unknown_option_are_refused(recognize, file):
    with pytest.raises(ValueError, match="motion, tokens, gradients"):
        recognize.explain(file, method="magic")
    with pytest.raises(TypeError):
        recognize.explain(file, colour="red")


class TestOfTheStudent:
    """The student's posterior is explained where it answers."""

    @pytest.fixture(scope="class")
    def with_student(self, tiny_export, tmp_path_factory):
        folder = tmp_path_factory.mktemp("with_student") / "model"
        shutil.copytree(tiny_export, folder)
        plain = pipeline("skeleton-action-recognition", model=str(tiny_export))
        extractor = plain.processor.feature_extractor
        torch.manual_seed(0)
        config = StudentConfig(
            [*reversed(plain.model.config.class_names)],  # an order of its own
            layout=extractor.layout,
            num_frames=extractor.num_frames,
            max_persons=1,
            temperature=0.5,
        )
        ActionStudent(config).save_pretrained(folder)
        return pipeline("skeleton-action-recognition", model=str(folder), fast=True)

    @pytest.fixture(scope="class")
    def found(self, with_student, file):
        return with_student.explain(file)

    def test_ranking_and_last_beginning_are_the_student_s(self, found, with_student, file):
        expected = {one["label"]: one["score"] for one in with_student(file, top_k=None)}
        assert found.answered_by == "student" and found.to_dict()["answered_by"] == "student"
        assert found.ranking == with_student(file, top_k=None)
        np.testing.assert_allclose(found.prefixes.shares[-1], [expected[name] for name in found.labels], atol=1e-5)

    def test_a_window_is_what_the_student_says_of_that_part_alone(self, with_student, recordings):
        for file in sorted(recordings.glob("*.mat")):
            sequence = with_student.processor.read(file)
            if sequence.num_frames % 2:  # half of an even number of frames would end between two of them
                break
        normalized = with_student.student.normalizer().normalize(sequence)
        half = normalized[:, : (normalized.shape[1] - 1) // 2 + 1]
        seen = with_student.student.normalizer().views_of(half, 1)[:, :1]
        with torch.no_grad():
            shares = (with_student.student(_tensor(seen), torch.ones(1, 1, dtype=torch.bool)) / 0.5).softmax(-1)[0]
        found = with_student.explain(file)
        expected = dict(zip(with_student.student.config.labels, shares.tolist(), strict=True))
        np.testing.assert_allclose(found.windows.shares[0], [expected[name] for name in found.labels], atol=1e-4)

    def test_gradients_are_what_small_changes_of_the_joints_do(self, found, with_student):
        label = found.labels.index(found.label)
        config, folder = with_student.model.config, with_student.model.name_or_path
        scorer = StudentScorer(with_student.student, with_student.processor, config, folder, found.labels)
        gradient = scorer.gradient(found.skeletons, label)
        way = 0.01 * gradient / np.linalg.norm(gradient)
        ahead, behind = log_odds(scorer.posteriors_of(np.stack([found.skeletons + way, found.skeletons - way])), label)
        assert (ahead - behind) / 2 == pytest.approx(float((gradient * way).sum()), rel=0.05)

    def test_names_it_does_not_know_are_the_language_model_s(self, with_student, file):
        found = with_student.explain(file, candidate_labels=["wave", "moonwalk"])
        assert found.answered_by == "language model"

    def test_it_reads_no_tokens(self, with_student, file):
        with pytest.raises(ValueError, match="Expected motion or gradients"):
            with_student.explain(file, method="tokens")
