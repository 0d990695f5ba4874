"""`pipeline("skeleton-action-recognition")`: every kind of input, the options, and what bad input says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

import llm_action
from llm_action.datasets import load_benchmark
from llm_action.modeling import skeleton_normalization
from llm_action.modeling.action_attributes import ATTRIBUTES, attribute_values
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_recording import RecordingWarning

LAYOUT = "kinect20_utd"


def shown_by(recognize: SkeletonActionRecognitionPipeline, file: str) -> dict[str, str]:
    """The value of each attribute that a recording's joints show."""
    extractor = recognize.processor.feature_extractor
    batch = extractor([llm_action.read_skeleton(file)])
    return attribute_values(batch["skeletons"][0][batch["person_mask"][0]], extractor.layout)


@pytest.fixture(scope="module")
def recognize(tiny_export) -> SkeletonActionRecognitionPipeline:
    return pipeline("skeleton-action-recognition", model=str(tiny_export))


@pytest.fixture(scope="module")
def files(recordings) -> list[str]:
    return sorted(str(file) for file in recordings.glob("*_s[12]_*"))


@pytest.fixture(scope="module")
def arrays(files) -> list[np.ndarray]:
    return [llm_action.read_skeleton(file).joints[0] for file in files]


@pytest.fixture(scope="module")
def expected(recognize, files) -> list[list[dict]]:
    """What the pipeline says of every file, one by one."""
    return [recognize(file) for file in files]


@pytest.fixture(scope="module")
def same(expected):
    """Whether rankings are those of the files, to rounding."""

    def compare(rankings, several=None):
        rankings, several = list(rankings), several or len(expected)
        assert len(rankings) == several
        for given, wanted in zip(rankings, expected[:several], strict=True):
            assert [entry["label"] for entry in given] == [entry["label"] for entry in wanted]
            scores = [[entry["score"] for entry in ranking] for ranking in (given, wanted)]
            np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-6)

    return compare


class TestViews:
    def test_the_mean_posterior_of_the_views(self, recognize, files):
        from llm_action.modeling.skeleton_normalization import VIEWS, resample

        extractor, processor = recognize.processor.feature_extractor, recognize.processor
        sequence = llm_action.read_skeleton(files[0])
        wanted: dict[str, float] = {}
        for yaw, start, end in VIEWS[:3]:
            turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
            seen = resample(extractor.normalize(sequence), extractor.num_frames, start, end) @ turn.T
            skeletons = torch.from_numpy(seen[None].astype(np.float32))
            sentence = processor.encode_features(skeletons, torch.ones(1, 1, dtype=torch.bool))
            prompt = processor.build_prompts(sentence, return_tensors="pt")
            posterior = recognize.model.score(**prompt).softmax(-1)[0]
            for label, share in zip(recognize.model.trained_labels.labels, posterior.tolist(), strict=True):
                wanted[label] = wanted.get(label, 0) + share / 3
        ranking = recognize(files[0], views=3, top_k=None)
        assert sum(entry["score"] for entry in ranking) == pytest.approx(1, abs=1e-4)
        assert [entry["score"] for entry in ranking] == sorted((e["score"] for e in ranking), reverse=True)
        for entry in ranking:
            assert entry["score"] == pytest.approx(wanted[entry["label"]], abs=1e-4)

    def test_one_list_and_generator_agree(self, recognize, files):
        one = [recognize(file, views=2, top_k=2) for file in files[:3]]
        for several in (recognize(files[:3], views=2, top_k=2), recognize((f for f in files[:3]), views=2, top_k=2)):
            for ranking, wanted in zip(several, one, strict=True):
                assert [entry["label"] for entry in ranking] == [entry["label"] for entry in wanted]
                assert ranking[0]["score"] == pytest.approx(wanted[0]["score"], abs=1e-4)

    @pytest.mark.parametrize("views", [0, 9])
    def test_out_of_range(self, recognize, files, views):
        with pytest.raises(ValueError, match="Expected 1 to 8 views"):
            recognize(files[0], views=views)


@pytest.mark.parametrize("candidates", (None, ["greet", "wave"], {"greet": {"attributes": {"arms": "right arm"}}}))
@pytest.mark.parametrize("views", (1, 3))
def test_a_recording_is_normalised_once(tiny_export, files, arrays, monkeypatch, candidates, views):
    """Whatever is asked for: sentences, test-time views, attributes of the joints, motion features."""
    recognize = pipeline("skeleton-action-recognition", model=str(tiny_export))
    processor, options = recognize.processor, {"views": views, "candidate_labels": candidates}
    recognize.model.config.label_lexicon = {"waving": "arms: right arm"}
    processor.motion_features = True
    cleaned = []
    fill_missing = skeleton_normalization.fill_missing
    monkeypatch.setattr(
        skeleton_normalization, "fill_missing", lambda *given: cleaned.append(1) or fill_missing(*given)
    )
    for ask, recordings in (
        (lambda: recognize(files[0], **options), 1),
        (lambda: recognize(files[:3], **options, batch_size=2), 3),
        (lambda: list(recognize((file for file in files[:3]), **options)), 3),
        (lambda: processor(files[:3], views=views), 3),
        (lambda: processor.encode_recordings(files[:3], views=views, attributes=True), 3),
        (lambda: list(recognize.stream(arrays[0], window=len(arrays[0]), layout=LAYOUT, views=views)), 1),
    ):
        cleaned.clear()
        ask()
        assert len(cleaned) == recordings


def test_the_words_before_the_sentence_are_read_once_a_call(recognize, files):
    lengths = []
    hook = recognize.model.causal_lm.get_decoder().register_forward_pre_hook(
        lambda _, args, given: lengths.append(given["inputs_embeds"].shape[1]), with_kwargs=True
    )
    before = len(recognize.processor.prompt_parts()[0])
    for _ in range(2):
        lengths.clear()
        recognize(files, batch_size=2)
        assert lengths.count(before) == 1 and lengths[0] == before and len(lengths) == 1 + len(files) // 2
    hook.remove()


def test_calls_that_share_states_guess_once(tiny_export, files):
    recognize = pipeline("skeleton-action-recognition", model=str(tiny_export))
    recognize.model.config.label_lexicon = {"waving": "arms: right arm", "bending": "body: down"}
    forwards, states = [], KeptStates()
    recognize.model.causal_lm.get_decoder().register_forward_pre_hook(lambda *given: forwards.append(1))
    counts, rankings = [], []
    for options in ({}, {"states": states}, {"states": states}):
        forwards.clear()
        rankings.append(recognize(files[0], candidate_labels=["greet", "crouch", "clap"], top_k=None, **options))
        counts.append(len(forwards))
    assert counts[0] == counts[1] > counts[2]
    assert rankings[0] == rankings[1] == rankings[2]
    forwards.clear()
    new = recognize(files[0], candidate_labels=["greet", "crouch"], top_k=None)
    assert not forwards, "joints tell classes that were not trained on, and take no language model's time"
    both = {entry["label"]: entry["score"] for entry in rankings[0]}
    assert new[0]["score"] / new[1]["score"] == pytest.approx(both[new[0]["label"]] / both[new[1]["label"]], rel=1e-4)


class TestInputs:
    def test_the_tiny_model_has_learned_its_actions(self, expected, files):
        names = {"a3": "wave", "a4": "clap", "a27": "squat"}
        right = [ranking[0]["label"] == names[Path(file).name.split("_")[0]] for file, ranking in zip(files, expected)]
        assert np.mean(right) >= 0.6  # of 27 classes
        assert len({ranking[0]["score"] for ranking in expected}) > 1

    def test_one(self, recognize, files, arrays, same):
        sequence = llm_action.read_skeleton(files[0])
        row = {"joints": arrays[0].ravel(), "shape": [1, *arrays[0].shape], "layout": LAYOUT}
        for one in (files[0], Path(files[0]), sequence, sequence.joints, row):
            options = {"layout": LAYOUT} if isinstance(one, np.ndarray) else {}
            same([recognize(one, **options)], several=1)
        for one in (arrays[0], torch.tensor(arrays[0]), arrays[0].tolist(), sequence.joints.tolist()):
            same([recognize(one, layout=LAYOUT)], several=1)

    def test_longer_than_what_it_learned_from(self, recognize, recordings, files, recwarn):
        longest = recognize.processor.familiarity.longest
        learned_from = map(llm_action.read_skeleton, recordings.glob("*_s[13579]_*"))
        assert longest == pytest.approx(max(one.num_frames / one.fps for one in learned_from), rel=0.05)
        recognize(files)
        assert not [one for one in recwarn if "it lasts" in str(one.message)]
        sequence = llm_action.read_skeleton(files[0])
        often = np.concatenate([sequence.joints[0]] * (1 + int(1.5 * longest * 30 / sequence.num_frames)))
        with pytest.warns(RecordingWarning, match=f"learned from recordings of up to {longest:.1f} s.*segment"):
            recognize(often, layout=LAYOUT, fps=30)
        recwarn.clear()
        frames = sequence.joints[0]
        still = [np.repeat(frame[None], int(30 * longest), axis=0) for frame in (frames[0], frames[-1])]
        standing = recognize(np.concatenate([still[0], frames, still[1]]), layout=LAYOUT, fps=30)
        assert standing[0]["label"] == recognize(files[0])[0]["label"]
        assert not [one for one in recwarn if "it lasts" in str(one.message)]

    def test_lists(self, recognize, files, arrays, same):
        same(recognize(files))
        same(recognize(tuple(files)))
        same(recognize(arrays, layout=LAYOUT))
        same(recognize([llm_action.read_skeleton(file) for file in files]))
        mixed = [files[0], llm_action.read_skeleton(files[1]), arrays[2]]
        same(recognize(mixed, layout=LAYOUT), several=3)
        assert recognize([]) == []

    def test_generators_are_read_as_results_are_asked_for(self, recognize, files, same):
        asked = []
        rankings = recognize(asked.append(file) or file for file in files)
        next(iter(rankings))
        assert 1 <= len(asked) < len(files)
        same(recognize(file for file in files))
        same(recognize(map(Path, files)))
        assert list(recognize(file for file in [])) == []

    def test_dataset_columns(self, recognize, files, arrays, same):
        from datasets import Dataset

        short = [array[:40] for array in arrays[:2]]
        alone = [recognize(array, layout=LAYOUT)[0]["label"] for array in short]
        table = Dataset.from_dict({"file": files[:2], "joints": [array.tolist() for array in short]})
        same(recognize(table["file"]), several=2)
        same(recognize(KeyDataset(table, "file")), several=2)
        for column in (table["joints"], table.with_format("numpy")["joints"], KeyDataset(table, "joints")):
            assert [ranking[0]["label"] for ranking in recognize(column, layout=LAYOUT)] == alone
        keys = ("joints", "shape", "layout")
        rows = [llm_action.read_skeleton(file) for file in files[:2]]
        rows = [dict(zip(keys, (row.joints.ravel(), row.joints.shape, row.layout))) for row in rows]
        same(recognize(Dataset.from_list([{"row": row} for row in rows])["row"]), several=2)

    def test_a_whole_table(self, recognize, recordings, same):
        table = load_benchmark("utd_mhad", str(recordings))
        table = table.sort("name").filter(lambda row: row["subject"] < 3)
        same(recognize(table))
        same(recognize(table.with_format("numpy")))
        same(recognize([table[0], table[1]]), several=2)

    @pytest.mark.parametrize("batch_size", (2, 4, 6))
    def test_batches_say_what_one_by_one_says(self, recognize, files, same, batch_size):
        same(recognize(files, batch_size=batch_size))
        same(recognize((file for file in files), batch_size=batch_size))

    def test_a_batch_holds_prompts_of_one_length(self, recognize, files, monkeypatch):
        from llm_action.datasets.synthetic.sequences import generate_sequence

        pairs = [generate_sequence("shaking hands", subject, 2, 1) for subject in (1, 2)]
        mixed = [files[0], pairs[0], files[1], pairs[1]]
        paddings = []
        rank = recognize.model.rank

        def counting(**prompts):
            paddings.append(int((prompts["attention_mask"] == 0).sum()))
            return rank(**prompts)

        monkeypatch.setattr(recognize.model, "rank", counting)
        together = recognize(mixed, batch_size=2)
        assert paddings == [0, 0]
        for given, alone in zip(together, [recognize(one) for one in mixed], strict=True):
            assert [entry["label"] for entry in given] == [entry["label"] for entry in alone]
            np.testing.assert_allclose([e["score"] for e in given], [e["score"] for e in alone], rtol=1e-3, atol=1e-6)

    def test_one_frame_and_one_person_are_valid(self, recognize, arrays):
        assert len(recognize(arrays[0][:1], layout=LAYOUT)) == 5

    def test_two_persons(self, recognize):
        from llm_action.datasets.synthetic.sequences import generate_sequence

        assert len(recognize(generate_sequence("shaking hands", 1, 2, 1))) == 5

    def test_flat_recordings(self, recognize, arrays):
        assert len(recognize(100 * arrays[0][..., :2] + 300, layout=LAYOUT)) == 5


class TestOptions:
    def test_scores_are_sorted_and_sum_to_one(self, recognize, files):
        ranking = recognize(files[0], top_k=None)
        scores = [entry["score"] for entry in ranking]
        assert len(ranking) == 27
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert {entry["label"] for entry in ranking} == set(recognize.model.config.label_names)

    def test_scores_are_the_posterior_of_the_exact_likelihoods(self, recognize, files):
        prompts = recognize.processor(files[0], return_tensors="pt")
        with torch.no_grad():
            posterior = recognize.model(**prompts).logits[0].softmax(-1)
        given = {entry["label"]: entry["score"] for entry in recognize(files[0], top_k=None)}
        for name, share in zip(recognize.model.config.label_names, posterior.tolist(), strict=True):
            assert given[name] == pytest.approx(share, rel=1e-4)

    def test_top_k(self, recognize, files, expected):
        assert len(expected[0]) == 5
        assert recognize(files[0], top_k=1) == expected[0][:1]
        assert len(recognize(files[0], top_k=100)) == 27
        for bad in (0, -1, 1.5, "two"):
            with pytest.raises(ValueError, match="top_k of at least 1, or None"):
                recognize(files[0], top_k=bad)

    def test_unseen_names(self, recognize, files):
        names = ["swim", "wave", "wave goodbye", "ride a bicycle"]
        ranking = recognize(files[0], candidate_labels=names, top_k=None)
        assert {entry["label"] for entry in ranking} == set(names)
        assert sum(entry["score"] for entry in ranking) == pytest.approx(1, abs=1e-5)
        batch = recognize(files, candidate_labels=names, batch_size=3, top_k=1)
        assert [one[0]["label"] for one in batch] == [
            recognize(file, candidate_labels=names)[0]["label"] for file in files
        ]
        (only,) = recognize(files[0], candidate_labels=["swim"])
        assert (only["label"], only["score"]) == ("swim", 1.0)
        for other_form in (iter(names), tuple(names), np.array(names)):
            found = recognize(files[:1], candidate_labels=other_form, top_k=None)[0]
            assert found == [{**one, "score": pytest.approx(one["score"], rel=1e-4)} for one in ranking]

    def test_the_best_of_many_candidates(self, recognize, files):
        """A list that is searched rather than scored: labels and order exact, scores to the documented tolerance."""
        names = [
            f"{verb} the {thing}" for verb in ("wave", "clap", "kick", "push") for thing in map(chr, range(97, 123))
        ]
        names += recognize.model.config.label_names
        names_alone = {"candidate_labels": names, "calibrate": False}
        every = recognize(files, **names_alone, top_k=None, batch_size=4)
        for batch_size in (1, 4):
            best = recognize(files, **names_alone, top_k=3, batch_size=batch_size)
            for one, all_of_them in zip(best, every, strict=True):
                assert [entry["label"] for entry in one] == [entry["label"] for entry in all_of_them[:3]]
                for given, exact in zip(one, all_of_them):
                    assert exact["score"] - 0.01 - 1e-5 <= given["score"] <= exact["score"] + 1e-5

    def test_the_same_candidates_as_trained_give_the_same_scores(self, recognize, files, same):
        names = list(reversed(recognize.model.config.label_names))
        same([recognize(files[0], candidate_labels=names)], several=1)

    def test_phrasings_of_a_label_count_together(self, recognize, files):
        """A name counts by the mean likelihood of itself and its phrasings, so names of one's own can be explained."""
        texts = {"greeting": ["greeting", "wave"], "applause": ["applause", "clap"], "swim": ["swim"]}
        phrasings = {"greeting": "wave", "applause": ["clap"], "swim": {"phrasings": []}}
        for file in files[:3]:
            prompts = recognize.processor(file, return_tensors="pt")
            tree = LabelTree.from_labels(
                [text for of_label in texts.values() for text in of_label], recognize.tokenizer
            )
            likelihoods = recognize.model.score(**prompts, tree=tree)[0].detach().double().exp()
            found = dict(zip(tree.labels, likelihoods.tolist(), strict=True))
            means = {label: np.mean([found[text] for text in of_label]) for label, of_label in texts.items()}
            given = recognize(file, candidate_labels=phrasings, calibrate=False)
            assert [entry["label"] for entry in given] == sorted(means, key=means.get, reverse=True)
            for entry in given:
                assert entry["score"] == pytest.approx(means[entry["label"]] / sum(means.values()), rel=1e-3)

    def test_another_name_of_a_trained_class_is_that_class(self, recognize, files):
        others = {"applause": "clap", "swim": {"phrasings": []}, "squat": "crouch"}
        for file in files[:3]:
            alias, own = (
                {entry["label"]: entry["score"] for entry in recognize(file, candidate_labels={**named, **others})}
                for named in ({"greeting": "wave"}, {"wave": []})
            )
            assert alias["greeting"] / alias["applause"] == pytest.approx(own["wave"] / own["applause"], rel=1e-3)

    def test_calibration_takes_off_what_is_said_whatever_moves(self, recognize, files):
        names = recognize.model.config.label_names[:5]
        tree = LabelTree.from_labels(names, recognize.tokenizer)
        motionless = recognize.processor.build_prompts([[]], "pt")  # an empty sentence
        with torch.no_grad():
            prior = recognize.model.score(**motionless, tree=tree)[0]
            scores = recognize.model.score(**recognize.processor(files[0], return_tensors="pt"), tree=tree)[0]
        expected = dict(zip(names, (scores - prior).softmax(-1).tolist(), strict=True))
        for given in (
            recognize(files[0], candidate_labels=names, calibrate=True),
            recognize(files, candidate_labels=dict(zip(names, [[]] * 5, strict=True)), batch_size=2)[0],
        ):
            assert {entry["label"]: entry["score"] for entry in given} == pytest.approx(expected, rel=1e-3)

    def test_attributes_are_held_against_the_joints(self, recognize, files):
        """Names nobody trained on tell nothing here: what their attributes say is what the joints show, or not."""
        for file in files:
            shown = shown_by(recognize, file)
            other = {name: next(a for a in ATTRIBUTES[name].values if a != shown[name]) for name in ("arms", "body")}
            right = {"attributes": {name: shown[name] for name in other}}
            given = recognize(file, candidate_labels={"zig": {"attributes": other}, "zag": right})
            assert given[0]["label"] == "zag" and given[0]["score"] > 0.6
            views = recognize(file, candidate_labels={"zig": {"attributes": other}, "zag": right}, views=2)
            assert views[0]["label"] == "zag"

    def test_what_new_names_mean_is_guessed(self, tiny_export, files):
        """Names the language model knows nothing of and the lexicon has."""
        recognize = pipeline("skeleton-action-recognition", model=str(tiny_export))
        shown = shown_by(recognize, files[0])
        other = {name: next(a for a in ATTRIBUTES[name].values if a != shown[name]) for name in ATTRIBUTES}
        said = {"zig": other, "zag": shown}
        recognize.model.config.label_lexicon = {
            label: "; ".join(f"{name}: {answers[name]}" for name in ("arms", "body", "repeated"))
            for label, answers in said.items()
        }
        for labels in (["zig", "zag"], ["Zag", "Zig"]):
            best = recognize(files[0], candidate_labels=labels)[0]
            assert best["label"].lower() == "zag" and best["score"] > 0.6
            assert recognize(files[0], candidate_labels=labels, views=2)[0]["label"].lower() == "zag"
        alone = recognize(files[0], candidate_labels=["zig", "zag"], calibrate=False)
        tree = LabelTree.from_labels(["zig", "zag"], recognize.tokenizer)
        scores = recognize.model.score(**recognize.processor(files[0], return_tensors="pt"), tree=tree)[0]
        expected = dict(zip(tree.labels, scores.softmax(-1).tolist(), strict=True))
        assert {entry["label"]: entry["score"] for entry in alone} == pytest.approx(expected, rel=1e-3)
        with pytest.raises(ValueError, match="a stream as a list of names"):
            recognize.stream([None], candidate_labels=["zig", "zag"], calibrate=True)
        recognize.stream([None], layout=LAYOUT, candidate_labels=["zig", "zag"])

    def test_trained_classes_go_by_their_names(self, recognize, files):
        names = recognize.model.config.label_names[:4]
        plain = recognize(files, candidate_labels=names, batch_size=4)
        told = {name: {"phrasings": ["a greeting"], "attributes": {"arms": "neither arm"}} for name in names}
        for one, expected in zip(recognize(files, candidate_labels=told, batch_size=4), plain, strict=True):
            assert [entry["label"] for entry in one] == [entry["label"] for entry in expected]
            assert [e["score"] for e in one] == pytest.approx([e["score"] for e in expected], abs=1e-3)

    def test_lists_and_mappings_take_turns(self, tiny_export, files):
        recognize = pipeline(
            "skeleton-action-recognition", model=str(tiny_export), candidate_labels={"greeting": "wave", "swim": []}
        )
        assert {entry["label"] for entry in recognize(files[0])} == {"greeting", "swim"}
        assert {entry["label"] for entry in recognize(files[0], candidate_labels=["wave", "clap"])} == {"wave", "clap"}
        with pytest.raises(ValueError, match="of a stream as a list"):
            recognize.stream([None], candidate_labels={"greeting": "wave"})
        with pytest.raises(ValueError, match="list of names, got the text 'wave'"):
            recognize(files[0], candidate_labels="wave", calibrate=True)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ({"wave": {"attributes": {"tail": "yes"}}}, "candidate_labels: 'wave': unknown attribute 'tail'"),
            ({"wave": 3}, "candidate_labels: 'wave': expected phrasings"),
            ([], "at least one label"),
            ([""], "labels with text"),
            (["wave", " wave "], "distinct labels"),
            ("wave", "list of names, got the text 'wave'"),
            ([1, 2], "list of names"),
        ],
        ids=str,
    )
    def test_bad_candidates(self, recognize, files, names, message):
        with pytest.raises(ValueError, match=message):
            recognize(files[0], candidate_labels=names)

    def test_the_tokenizer_stays_as_it_is(self, tiny_export, files):
        """Batches are padded on the left without changing a tokenizer that the user may share."""
        processor = LlmArProcessor.from_pretrained(tiny_export)
        processor.tokenizer.padding_side = "right"
        model = LlmArForActionRecognition.from_pretrained(tiny_export)
        recognize = SkeletonActionRecognitionPipeline(model=model, processor=processor)
        recognize(files, batch_size=2)
        assert processor.tokenizer.padding_side == "right"

    def test_calibration_in_the_call_is_of_the_candidates_given_at_construction(self, tiny_export, files):
        names = ["wave", "clap"]
        recognize = pipeline("skeleton-action-recognition", model=str(tiny_export), candidate_labels=names)
        given = recognize(files[0], calibrate=True)
        assert given == recognize(files[0], candidate_labels=names, calibrate=True)
        assert {entry["label"] for entry in given} == set(names)

    def test_options_at_construction(self, tiny_export, arrays):
        recognize = pipeline(
            "skeleton-action-recognition",
            model=str(tiny_export),
            top_k=2,
            candidate_labels=["wave", "clap", "squat"],
            layout=LAYOUT,
        )
        assert len(recognize(arrays[0])) == 2
        assert len(recognize(arrays[0], top_k=None)) == 3

    def test_unknown_options_are_refused(self, recognize, files):
        with pytest.raises(TypeError, match="top_p.*known: top_k"):
            recognize(files[0], top_p=0.5)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("empty.skeleton", b"", "empty"),
            ("binary.skeleton", bytes(range(256)) * 9, "binary.skeleton"),
            (
                "truncated.skeleton",
                b"2\n1\n7 0 1 1 0 0 0 0.1 0.2 2\n25\n0.1 0.2 3.1 0 0 0 0\n",
                "truncated",
            ),
            ("cut.mat", b"MATLAB 5.0 MAT-file", "cut.mat"),
            ("words.json", b"{}", "words.json"),
            ("unknown.xyz", b"1", "unknown.xyz"),
        ],
    )
    def test_files(self, recognize, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as raised:
            recognize(str(tmp_path / name))
        assert str(tmp_path / name) in str(raised.value)
        with pytest.raises(FileNotFoundError, match="nowhere.skeleton"):
            recognize([str(tmp_path / "nowhere.skeleton")])

    @pytest.mark.parametrize(
        ("array", "layout", "message"),
        [
            (np.zeros((4, 17, 3)), LAYOUT, "expected 20 joints.*17.*coco17"),
            (np.full((4, 20, 3), np.nan), LAYOUT, "NaN"),
            (np.zeros((0, 20, 3)), LAYOUT, "at least one person and one frame"),
            (np.zeros((4, 21, 5)), LAYOUT, "2 or 3"),
            (np.zeros((4, 20, 3)), "octopus8", "octopus8.*kinect20"),
            (np.random.default_rng(0).normal(size=(4, 20, 3)), None, "layout="),
        ],
        ids=str,
    )
    def test_arrays(self, recognize, array, layout, message):
        with pytest.raises(ValueError, match=message):
            recognize(array, **({} if layout is None else {"layout": layout}))

    @pytest.mark.parametrize("given", (None, 3, object()))
    def test_other_things(self, recognize, given):
        with pytest.raises(ValueError, match="Expected"):
            recognize(given)


def test_the_processor_of_another_run_is_refused(tiny_export, tmp_path):
    folder = Path(shutil.copytree(tiny_export, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vqvae_fingerprint": "0123456789abcdef"}))
    with pytest.raises(ValueError, match="use the processor saved with the model"):
        pipeline("skeleton-action-recognition", model=str(folder))


class TestMerging:
    """The adapter is folded into the base where nothing is trained; what is saved stays what was trained."""

    def test_a_pipeline_that_has_answered_is_saved_and_answers_the_same(self, recognize, files, same, tmp_path):
        assert recognize.model.is_merged
        recognize.save_pretrained(tmp_path)
        recognize.processor.save_pretrained(tmp_path)
        again = pipeline("skeleton-action-recognition", model=str(tmp_path))
        same([again(file) for file in files])

    def test_unless_asked_otherwise(self, tiny_export, files, same):
        beside = pipeline("skeleton-action-recognition", model=str(tiny_export), merge=False)
        assert not beside.model.is_merged
        same([beside(file) for file in files])

    def test_a_model_that_learns_is_left_as_it_is(self, recognize, tiny_export, files, same):
        model = llm_action.LlmArForActionRecognition.from_pretrained(tiny_export, is_trainable=True)
        learning = SkeletonActionRecognitionPipeline(model=model, processor=recognize.processor)
        assert not model.is_merged
        same([learning(file) for file in files])
        model.train()
