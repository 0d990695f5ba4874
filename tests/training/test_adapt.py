"""New classes from a few examples: learned, with the same codec and without forgetting."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline
from llm_action.cli import main
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.class_prototypes import ClassPrototypes
from llm_action.modeling.hub_repository import repository_files
from llm_action.modeling.label_tree import LabelTree
from llm_action.skeleton_io import write_npz
from llm_action.training.adapt import Adaptation, adapt
from llm_action.training.rehearsal import FEATURES_FILE, REHEARSAL_FILE, read_rehearsal

OLD = {"wave": "waving a hand", "clap": "clapping hands", "squat": "squatting"}
NEW = {"bow": "bowing"}  # one token: the tiny base cannot spell


def write_examples(folder: Path, actions: dict[str, str], subjects) -> Path:
    for label, action in actions.items():
        of_label = folder / label.replace(" ", "_")
        of_label.mkdir(parents=True)
        for subject in subjects:
            write_npz(generate_sequence(action, subject, camera=2, repetition=1), of_label / f"{subject}.npz")
    return folder


def accuracy(model: Path, actions: dict[str, str], subjects) -> float:
    recognize = SkeletonActionRecognitionPipeline(
        model=LlmArForActionRecognition.from_pretrained(model), processor=LlmArProcessor.from_pretrained(model)
    )
    right = []
    for label, action in actions.items():
        shown = [generate_sequence(action, subject, camera=2, repetition=1) for subject in subjects]
        right += [answer[0]["label"] == label for answer in recognize(shown, top_k=1)]
    return sum(right) / len(right)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    return write_examples(tmp_path_factory.mktemp("examples"), NEW, (1, 2, 3, 4, 5))


@pytest.fixture(scope="module")
def adapted(tiny_export, examples, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "model"
    assert main(["adapt", str(tiny_export), "--examples", str(examples), "--out", str(out)]) == 0
    return out


SUBJECTS = (6, 7, 9, 10, 11, 12)  # people it never saw


def test_learns_the_new_and_keeps_the_old(tiny_export, adapted):
    """Among 28 names, with a codec that knows three movements."""
    assert accuracy(adapted, NEW, SUBJECTS) >= 0.8
    assert accuracy(adapted, OLD, SUBJECTS) >= accuracy(tiny_export, OLD, SUBJECTS) - 0.06


def test_where_there_are_enough_examples_the_language_model_learns_too(tiny_export, examples, tmp_path):
    learning = Adaptation(enough=5, learning_rate=1e-2)  # the tiny base learns at another pace
    adapt(tiny_export, examples, tmp_path / "out", adaptation=learning)
    before, after = weights(tiny_export), weights(tmp_path / "out")
    assert not any(torch.equal(after[name], before[name]) for name in before if "lora_B" in name)
    learned = LlmArForActionRecognition.from_pretrained(tmp_path / "out")
    assert learned.taught_labels == learned.config.label_names
    assert accuracy(tmp_path / "out", NEW, SUBJECTS) >= 0.8
    assert accuracy(tmp_path / "out", OLD, SUBJECTS) >= accuracy(tiny_export, OLD, SUBJECTS) - 0.15


def test_one_example_is_enough_and_the_language_model_stays(tiny_export, tmp_path):
    """In seconds: nothing is trained."""
    before = weights(tiny_export)
    adapt(tiny_export, write_examples(tmp_path / "one", NEW, (1,)), tmp_path / "out")
    after = weights(tmp_path / "out")
    assert all(torch.equal(after[name], before[name]) for name in before)
    known = LlmArForActionRecognition.from_pretrained(tiny_export).config.label_names
    assert LlmArForActionRecognition.from_pretrained(tmp_path / "out").taught_labels == known  # beside unknown names
    assert accuracy(tmp_path / "out", NEW, SUBJECTS) >= 0.8
    assert accuracy(tmp_path / "out", OLD, SUBJECTS) >= accuracy(tiny_export, OLD, SUBJECTS) - 0.06


def test_classes_come_one_after_the_other(tiny_export, tmp_path):
    """A class that was learned from one example stays one when another is learned."""
    kick = {"kick": "kicking"}
    adapt(tiny_export, write_examples(tmp_path / "one", NEW, (1,)), tmp_path / "first")
    adapt(tmp_path / "first", write_examples(tmp_path / "two", kick, (1, 2)), tmp_path / "second")
    assert accuracy(tmp_path / "second", NEW | kick, (6, 7, 9)) >= 0.8


def test_more_examples_of_a_known_class_leave_the_rest_as_it_was(tiny_export, tmp_path):
    adapt(tiny_export, write_examples(tmp_path / "more", {"wave": OLD["wave"]} | NEW, (1,)), tmp_path / "out")
    assert accuracy(tmp_path / "out", OLD, (6, 7, 9)) >= accuracy(tiny_export, OLD, (6, 7, 9)) - 0.12


def test_a_rehearsal_file_of_earlier_versions_is_read(tiny_export, tmp_path):
    """Its features are the first of today's."""
    model = shutil.copytree(tiny_export, tmp_path / "model")
    features = load_file(model / FEATURES_FILE)
    width = 20 * 3 * 20 * LlmArProcessor.from_pretrained(model).feature_extractor.max_persons
    save_file({name: rows[..., :width].contiguous() for name, rows in features.items()}, model / FEATURES_FILE)
    adapt(model, write_examples(tmp_path / "one", NEW, (1,)), tmp_path / "out")
    assert accuracy(tmp_path / "out", NEW, (6, 7, 9)) >= 0.6


def test_a_model_adapted_by_earlier_versions_answers_as_before(adapted, tmp_path):
    """Its prototypes were likelihoods of distances, added to the words."""
    model = LlmArForActionRecognition.from_pretrained(adapted)
    now = model.prototypes
    model.prototypes = ClassPrototypes(now.centre, now.projection, now.means, now.counts)
    LlmArProcessor.from_pretrained(adapted).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    model = LlmArForActionRecognition.from_pretrained(tmp_path)
    prompts = LlmArProcessor.from_pretrained(tmp_path)(generate_sequence("bowing", 12, 2, 1), return_tensors="pt")
    words = model.score(prompts["input_ids"], prompts["attention_mask"])
    places = (prompts["motion_features"][:, : len(now.centre)] - now.centre) @ now.projection
    distances = (places[:, None] - now.means).square().sum(2) / (1 + 1 / now.counts)
    expected = (words - 0.075 * distances).masked_fill(now.counts == 0, -torch.inf)
    assert torch.allclose(model.score(**prompts), expected, rtol=1e-3, atol=1e-3)


def test_the_codec_is_the_same_and_a_new_name_is_added(tiny_export, adapted):
    for file in ("config.json", "model.safetensors"):
        assert (adapted / "vqvae" / file).read_bytes() == (tiny_export / "vqvae" / file).read_bytes()
    config = json.loads((adapted / "config.json").read_text())
    known = json.loads((tiny_export / "config.json").read_text())["label_names"]
    assert config["label_names"] == [*known, "bow"]
    assert config["id2label"][str(len(known))] == "bow"


def test_a_model_keeps_a_little_of_every_class_to_itself(tiny_export, adapted):
    assert set(read_rehearsal(tiny_export).sentences) >= set(read_rehearsal(tiny_export).features) == set(OLD)
    rehearsal = read_rehearsal(adapted)
    assert {label: rows.shape[1] for label, rows in rehearsal.features.items()} == dict.fromkeys(OLD, 1) | {"bow": 4}
    for kept in (rehearsal.sentences, rehearsal.features):
        assert set(kept) >= {*OLD, *NEW} and all(0 < len(kept[label]) <= 20 for label in (*OLD, *NEW))
    processor = LlmArProcessor.from_pretrained(adapted)
    assert processor.decode(rehearsal.sentences["bow"][0]).joints.shape[2] == 20
    assert not {REHEARSAL_FILE, FEATURES_FILE} & set(repository_files(adapted))


def test_without_sentences_old_classes_are_rehearsed_from_recordings(tiny_export, examples, tmp_path, capsys):
    model = shutil.copytree(tiny_export, tmp_path / "model")
    (model / REHEARSAL_FILE).unlink()
    arguments = ["adapt", str(model), "--examples", str(examples), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "pass --rehearse FOLDER" in capsys.readouterr().err
    rehearse = write_examples(tmp_path / "old", OLD, (1,))
    assert main([*arguments, "--rehearse", str(rehearse), "--steps", "2"]) == 0
    assert {*OLD, *NEW} <= set(read_rehearsal(tmp_path / "out").sentences)


class Death(TrainerCallback):
    """Kills its process in the middle of a training, as the system does one that takes too much memory."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


def adapt_and_die(*arguments) -> None:
    build = Trainer.__init__

    def doomed(self, *given, **named):
        build(self, *given, **named)
        self.add_callback(Death())

    Trainer.__init__ = doomed
    adapt(*arguments)


def adapt_and_count(counted: Path, *arguments) -> None:
    """Writes how many steps were trained."""
    steps, step = [], Trainer.training_step
    Trainer.training_step = lambda *given: steps.append(1) or step(*given)
    adapt(*arguments)
    counted.write_text(str(len(steps)))


def in_a_fresh_process(target, *arguments) -> int:
    """Its exit code. What other tests did to this process changes no last digit there."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def weights(model: Path) -> dict[str, torch.Tensor]:
    files = [model / "adapter" / "adapter_model.safetensors", model / "model.safetensors"]
    return {name: weight for file in files for name, weight in load_file(file).items()}


class TestKilled:
    SETTINGS = Adaptation(enough=1, steps=7, save_steps=2, sentences=3, learning_rate=1e-2)

    @pytest.fixture(scope="class")
    def undisturbed(self, tiny_export, examples, tmp_path_factory) -> Path:
        out = tmp_path_factory.mktemp("undisturbed") / "model"
        assert in_a_fresh_process(adapt, tiny_export, examples, out, None, None, self.SETTINGS) == 0
        return out

    @pytest.fixture
    def killed(self, tiny_export, examples, tmp_path) -> Path:
        """Where the model would be if its process had not been killed in step 5."""
        arguments = (tiny_export, examples, tmp_path / "model", None, None, self.SETTINGS)
        assert in_a_fresh_process(adapt_and_die, *arguments) == -signal.SIGKILL
        return tmp_path / "model"

    def test_the_same_call_goes_on_to_the_same_weights(
        self, tiny_export, examples, undisturbed, killed, tmp_path_factory
    ):
        assert not killed.exists() and (killed.parent / "model.work").is_dir()
        counted = tmp_path_factory.mktemp("counted") / "steps"
        arguments = (counted, tiny_export, examples, killed, None, None, self.SETTINGS)
        assert in_a_fresh_process(adapt_and_count, *arguments) == 0
        given, expected = weights(killed), weights(undisturbed)
        assert given.keys() == expected.keys() and all(torch.equal(given[name], expected[name]) for name in expected)
        assert counted.read_text() == "3", "steps 5 to 7, from the checkpoint of step 4 on"
        assert sorted(path.name for path in killed.parent.iterdir()) == ["model"], "nothing else is left"

    def test_checkpoints_of_other_examples_are_not_taken_up(self, tiny_export, tmp_path, killed):
        others = write_examples(tmp_path / "others", NEW, (6,))
        adapt(tiny_export, others, killed, adaptation=self.SETTINGS)
        fresh = tmp_path / "fresh"
        adapt(tiny_export, others, fresh, adaptation=self.SETTINGS)
        given, expected = weights(killed), weights(fresh)
        assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_test_folders_are_not_learned_from(tiny_export, tmp_path):
    write_examples(tmp_path / "all" / "train", NEW, (1, 2))
    write_examples(tmp_path / "all" / "test", {"squat": "squatting"}, (1,))
    adapt(tiny_export, tmp_path / "all", tmp_path / "out", adaptation=Adaptation(steps=1, sentences=1))
    before, after = (read_rehearsal(model).features for model in (tiny_export, tmp_path / "out"))
    assert len(after["bow"]) == 2 and len(after["squat"]) == len(before["squat"])
    assert not {"train", "test"} & set(after)
    shutil.rmtree(tmp_path / "all" / "train")
    with pytest.raises(FileNotFoundError, match="test and validation folders alone"):
        adapt(tiny_export, tmp_path / "all", tmp_path / "out")


def test_bad_input(tiny_export, tmp_path, capsys):
    arguments = ["adapt", str(tiny_export), "--out", str(tmp_path / "out"), "--examples"]
    assert main([*arguments, str(tmp_path / "none")]) == 2
    (tmp_path / "empty").mkdir()
    assert main([*arguments, str(tmp_path / "empty")]) == 2
    assert "in one folder a class, found none" in capsys.readouterr().err


def test_the_pipeline_the_processor_and_a_stream_see_the_prototypes(adapted):
    """A model whose words say the same of all labels names what the joints show, by every way in."""
    model, processor = LlmArForActionRecognition.from_pretrained(adapted), LlmArProcessor.from_pretrained(adapted)
    shown = [generate_sequence(action, 12, camera=2, repetition=1) for action in (*NEW.values(), *OLD.values())]
    prompts = processor(shown, return_tensors="pt")
    words = model.score(prompts["input_ids"], prompts["attention_mask"])
    joined = model.prototypes.joined(words, prompts["motion_features"], range(words.shape[1]))
    posteriors = model(**prompts).logits.softmax(1).detach()
    assert torch.allclose(posteriors, joined.softmax(1), atol=1e-5)
    assert not torch.allclose(posteriors, words.softmax(1), atol=1e-3)
    recognize = SkeletonActionRecognitionPipeline(model=model, processor=processor)
    names = model.config.label_names
    for posterior, ranking in zip(posteriors, recognize(shown, top_k=None, batch_size=2), strict=True):
        assert {entry["label"]: pytest.approx(entry["score"], abs=1e-4) for entry in ranking} == dict(
            zip(names, posterior.tolist(), strict=True)
        )
    window = next(recognize.stream(shown[0].joints.swapaxes(0, 1), window=10_000, layout=shown[0].layout, top_k=None))
    assert window.score == pytest.approx(float(posteriors[0].max()), abs=1e-3)


def test_among_names_it_does_not_know_the_words_alone_decide(adapted):
    model, processor = LlmArForActionRecognition.from_pretrained(adapted), LlmArProcessor.from_pretrained(adapted)
    prompts = processor(generate_sequence("bowing", 12, camera=2, repetition=1), return_tensors="pt")
    unknown = LabelTree.from_labels(["wave", "boxes"], processor.tokenizer)
    without = model.score(prompts["input_ids"], prompts["attention_mask"], unknown)
    assert torch.equal(model.score(**prompts, tree=unknown), without)
    known = LabelTree.from_labels(["bow", "wave"], processor.tokenizer)
    assert model.rank(**prompts, tree=known, k=1).indices.tolist() == [[0]]
