"""The processor as a tokenizer of skeletons: every kind of input, ids and texts, padding, saving and loading."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer

from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.hub_repository import FORMAT_VERSION
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE, ActionVQVAEConfig
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_skeleton, write_npz

STEPS = 8
CODES = 32


def make_vqvae(seed: int = 0, **settings) -> ActionVQVAE:
    torch.manual_seed(seed)
    small = {
        "num_frames": 2 * STEPS,
        "downsample": 2,
        "trunk_widths": [8, 16],
        "codebook_size": CODES,
        "code_dim": 6,
        "embedding_dim": 64,
    }
    return ActionVQVAE(ActionVQVAEConfig(**small, hidden_size=16, num_layers=1, num_heads=2, **settings))


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def processor(tokenizer) -> LlmArProcessor:
    return LlmArProcessor(SkeletonFeatureExtractor(num_frames=2 * STEPS), tokenizer, make_vqvae())


@pytest.fixture(scope="module")
def sequence() -> SkeletonSequence:
    from llm_action.datasets.synthetic.sequences import generate_sequence

    return generate_sequence("waving a hand", subject=1, camera=2, repetition=1)


@pytest.fixture(scope="module")
def pair() -> SkeletonSequence:
    from llm_action.datasets.synthetic.sequences import generate_sequence

    return generate_sequence("shaking hands", subject=1, camera=2, repetition=1)


class TestInputs:
    """Every accepted form of the same recording gives the same ids."""

    @pytest.fixture(scope="class")
    def ids(self, processor, sequence) -> list[int]:
        return processor(sequence)["input_ids"][0]

    def test_array_tensor_and_nested_lists_with_a_layout(self, processor, sequence, ids):
        for array in (sequence.joints, sequence.joints[0], torch.tensor(sequence.joints), sequence.joints[0].tolist()):
            assert processor(array, layout="ntu25")["input_ids"] == [ids]

    def test_mappings(self, processor, sequence, ids):
        flat = {"joints": sequence.joints.ravel().tolist(), "shape": list(sequence.joints.shape), "layout": "ntu25"}
        nested = {"joints": sequence.joints.tolist(), "layout": "ntu25", "fps": float("nan")}
        assert processor(flat)["input_ids"] == [ids]
        assert processor(nested)["input_ids"] == [ids]
        assert processor({"joints": sequence.joints}, layout="ntu25")["input_ids"] == [ids]

    def test_a_row_of_a_table(self, processor, sequence, ids):
        from datasets import Dataset

        from llm_action.datasets.table import sequence_to_row, table_features

        features = table_features(["wave"], ["cross_subject"])
        row = sequence_to_row(sequence, "one", 0, 1, 1, {"cross_subject": "train"})
        table = Dataset.from_list([row], features=features)
        assert processor(table[0])["input_ids"] == [ids]
        assert processor(table.with_format("numpy")[0])["input_ids"] == [ids]
        assert processor(table.with_format("torch")[0])["input_ids"] == [ids]

    def test_files(self, processor, sequence, ids, tmp_path):
        write_npz(sequence, tmp_path / "wave.npz")
        np.save(tmp_path / "wave.npy", sequence.joints)
        assert processor(tmp_path / "wave.npz")["input_ids"] == [ids]
        assert processor(str(tmp_path / "wave.npy"), layout="ntu25")["input_ids"] == [ids]

    def test_several(self, processor, sequence, ids):
        array = sequence.joints
        for several in ([sequence, array], (sequence, array), (one for one in (sequence, array))):
            assert processor(several, layout="ntu25")["input_ids"] == [ids, ids]
        assert processor([])["input_ids"] == []

    def test_no_file_of_this_package_is_needed_for_npy(self, processor, sequence, ids, tmp_path, monkeypatch):
        monkeypatch.setattr(LlmArProcessor, "file_reader", None)
        np.save(tmp_path / "wave.npy", sequence.joints)
        assert processor(tmp_path / "wave.npy", layout="ntu25")["input_ids"] == [ids]
        (tmp_path / "wave.skeleton").touch()
        with pytest.raises(ValueError, match="pip install llm-action"):
            processor(tmp_path / "wave.skeleton")
        with pytest.raises(FileNotFoundError, match="nowhere.npy"):
            processor(tmp_path / "nowhere.npy", layout="ntu25")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, "Expected a path"),
            ([[[1.0, 2.0], [3.0]]], "Expected a path"),
            (np.random.default_rng(0).normal(size=(4, 20, 3)), "layout="),
            ({"keypoints": np.zeros((4, 20, 3))}, "key joints"),
            ({"joints": [1.0, 2.0], "shape": [1, 4, 20, 3], "layout": "kinect20", "name": "a.b"}, "a.b: expected 240"),
            ({"joints": np.full((4, 20, 3), np.nan), "layout": "kinect20"}, "NaN"),
            ({"joints": np.zeros((0, 20, 3)), "layout": "kinect20"}, "at least one person and one frame"),
            ({"joints": np.zeros((4, 17, 3)), "layout": "kinect20"}, "expected 20 joints.*coco17"),
            ({"joints": np.zeros((4, 20, 3)), "layout": "octopus8"}, "octopus8.*kinect20"),
        ],
        ids=str,
    )
    def test_bad_input_says_what_was_expected(self, processor, given, message):
        with pytest.raises(ValueError, match=message):
            processor(given)


class TestSentences:
    def test_ids_begin_where_the_words_end(self, processor, sequence, tokenizer):
        ids = processor.encode(sequence)
        assert len(ids) == STEPS
        assert all(len(tokenizer) <= i < len(tokenizer) + CODES for i in ids)

    def test_a_larger_embedding_table_moves_the_ids(self, processor, sequence, tokenizer):
        padded = LlmArProcessor(
            processor.feature_extractor, tokenizer, processor.vqvae, first_action_id=len(tokenizer) + 23
        )
        assert padded.encode(sequence) == [i + 23 for i in processor.encode(sequence)]
        assert padded.tokenize(sequence) == processor.tokenize(sequence)
        with pytest.raises(ValueError, match="first_action_id"):
            LlmArProcessor(processor.feature_extractor, tokenizer, processor.vqvae, first_action_id=3)

    def test_tokenize_names_the_codes(self, processor, sequence):
        features = processor.feature_extractor([sequence], return_tensors="pt")["skeletons"][0, :1]
        codes = processor.vqvae.encode(features)[0, :, 0].tolist()
        assert processor.tokenize(sequence) == [f"<a{code}>" for code in codes]

    def test_levels_stand_next_to_each_other(self, tokenizer, sequence):
        vqvae = make_vqvae(num_levels=2)
        processor = LlmArProcessor(SkeletonFeatureExtractor(num_frames=2 * STEPS), tokenizer, vqvae)
        tokens = processor.tokenize(sequence)
        assert len(tokens) == 2 * STEPS
        assert [token[1] for token in tokens] == ["a", "b"] * STEPS
        decoded = processor.decode(processor.encode(sequence))
        assert decoded.joints.shape == (1, 2 * STEPS, 20, 3)
        with pytest.raises(ValueError, match="order of their levels"):
            processor.decode(processor.encode(sequence)[::-1])

    def test_two_persons_are_parted_by_a_word(self, processor, pair, tokenizer):
        ids = processor.encode(pair)
        word = tokenizer(" with", add_special_tokens=False)["input_ids"]
        assert len(ids) == 2 * STEPS + len(word)
        assert ids[STEPS : STEPS + len(word)] == word
        decoded = processor.decode(ids)
        assert decoded.num_persons == 2
        features = processor.feature_extractor([pair], return_tensors="pt")["skeletons"][0]
        expected = processor.vqvae.decode(processor.vqvae.encode(features))
        np.testing.assert_allclose(decoded.joints, expected, atol=1e-5)

    def test_the_prompt_is_around_the_sentence(self, processor, sequence, tokenizer):
        ids = processor(sequence)["input_ids"][0]
        sentence = processor.encode(sequence)
        start = next(place for place, i in enumerate(ids) if i >= len(tokenizer))
        assert ids[start : start + STEPS] == sentence
        assert tokenizer.decode(ids[:start]) == "Human motion:"
        assert tokenizer.decode(ids[start + STEPS :]) == "\nThe action is:"
        assert "".join(processor.convert_ids_to_tokens(ids[start : start + 2])) == "".join(
            processor.tokenize(sequence)[:2]
        )

    def test_batches_are_padded_on_the_left(self, processor, sequence, pair, tokenizer):
        batch = processor([sequence, pair], return_tensors="pt")
        short, mask = batch["input_ids"][0], batch["attention_mask"][0]
        padding = int((mask == 0).sum())
        assert padding == STEPS + 1 or padding > 0
        assert mask.tolist() == [0] * padding + [1] * (len(mask) - padding)
        assert short[padding:].tolist() == processor(sequence)["input_ids"][0]
        assert batch["attention_mask"][1].all()
        assert processor([sequence, pair], padding=False)["input_ids"][0] == short[padding:].tolist()
        assert isinstance(processor(sequence, return_tensors="np")["input_ids"], np.ndarray)

    def test_decode_skips_words(self, processor, sequence, pair):
        batch = processor([sequence, pair], return_tensors="pt")
        first, second = processor.batch_decode(batch["input_ids"])
        np.testing.assert_array_equal(first.joints, processor.decode(processor.encode(sequence)).joints)
        assert (first.num_persons, second.num_persons) == (1, 2)
        assert first.layout == "kinect20" and first.num_frames == 2 * STEPS

    def test_half_a_sentence_is_refused(self, processor, sequence):
        with pytest.raises(ValueError, match=f"multiple of {STEPS} action tokens, got 3"):
            processor.decode(processor.encode(sequence)[:3])

    def test_many_sequences_are_encoded_as_one_by_one(self, processor, sequence, pair):
        many = [sequence, pair] * 40
        assert processor.encode_batch(many) == [processor.encode(one) for one in (sequence, pair)] * 40

    def test_one_frame(self, processor, sequence):
        one = SkeletonSequence(sequence.joints[:, :1], "ntu25")
        assert len(processor.encode(one)) == STEPS


class TestSaving:
    @pytest.fixture(scope="class")
    def folder(self, processor, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("processor")
        processor.save_pretrained(folder)
        return folder

    @pytest.fixture
    def broken(self, folder, tmp_path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "broken"))

    def test_loaded_it_says_the_same(self, folder, processor, sequence):
        loaded = LlmArProcessor.from_pretrained(folder)
        assert loaded(sequence)["input_ids"] == processor(sequence)["input_ids"]
        assert loaded.vqvae_fingerprint == processor.vqvae_fingerprint
        assert loaded.prompt == processor.prompt

    def test_other_prompts_are_kept(self, processor, tokenizer, tmp_path):
        other = LlmArProcessor(processor.feature_extractor, tokenizer, processor.vqvae, prompt="See {motion}. It is:")
        other.save_pretrained(tmp_path)
        assert LlmArProcessor.from_pretrained(tmp_path).prompt == "See {motion}. It is:"
        with pytest.raises(ValueError, match="exactly one"):
            LlmArProcessor(processor.feature_extractor, tokenizer, processor.vqvae, prompt="nothing")

    def test_only_safe_files_are_written(self, folder):
        suffixes = {file.suffix for file in folder.rglob("*") if file.is_file()}
        assert suffixes <= {".json", ".safetensors", ".py", ".jinja"}
        assert json.loads((folder / "processor_config.json").read_text())["processor_class"] == "LlmArProcessor"

    def test_repr_and_json_leave_the_vqvae_alone(self, processor):
        vqvae = processor.vqvae
        assert "prompt" in repr(processor) and "codebook" not in processor.to_json_string()
        assert len(repr(processor)) < 10_000
        assert processor.vqvae is vqvae

    def test_a_copy_works_on_its_own(self, processor, sequence):
        other = copy.deepcopy(processor)
        assert other.encode(sequence) == processor.encode(sequence)
        with torch.no_grad():
            other.vqvae.codebook.codes.zero_()
        assert processor.vqvae.codebook.codes.abs().sum() > 0

    def test_the_vqvae_of_another_run_is_refused(self, broken):
        make_vqvae(seed=1).save_pretrained(broken / "vqvae")
        with pytest.raises(ValueError, match=f"{broken}.*fingerprint.*Restore the vqvae folder"):
            LlmArProcessor.from_pretrained(broken)

    def test_a_vqvae_of_another_shape_is_refused(self, processor, tokenizer):
        with pytest.raises(ValueError, match=r"\('kinect20', 16, 3\).*\('ntu25', 16, 3\)"):
            LlmArProcessor(SkeletonFeatureExtractor("ntu25", num_frames=16), tokenizer, processor.vqvae)
        with pytest.raises(ValueError, match="Expected a vqvae"):
            LlmArProcessor(processor.feature_extractor, tokenizer)

    @pytest.mark.parametrize("part", ("processor_config.json", "vqvae/config.json", "vqvae/model.safetensors"))
    def test_a_missing_part_is_named(self, broken, part):
        (broken / part).unlink()
        with pytest.raises(OSError, match=f"{broken}.*{part} is missing; export or download"):
            LlmArProcessor.from_pretrained(broken)

    def test_a_damaged_part_is_named(self, broken):
        weights = broken / "vqvae/model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ValueError, match=f"{broken}/vqvae: damaged.*export or download"):
            LlmArProcessor.from_pretrained(broken)

    @pytest.mark.parametrize("part", ("processor_config.json", "vqvae/config.json"))
    def test_a_newer_format_asks_for_an_update(self, broken, part):
        config = json.loads((broken / part).read_text())
        (broken / part).write_text(json.dumps({**config, "format_version": FORMAT_VERSION + 1}))
        with pytest.raises(ValueError, match=f"{broken}.*format {FORMAT_VERSION + 1}.*pip install -U llm-action"):
            LlmArProcessor.from_pretrained(broken)


def test_auto_processor_finds_the_class(tiny_export):
    import llm_action  # noqa: F401  registers the classes

    assert isinstance(AutoProcessor.from_pretrained(tiny_export), LlmArProcessor)


def test_recordings_are_read(tiny_export, recordings):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    file = next(recordings.iterdir())
    assert processor.encode(file) == processor.encode(read_skeleton(file))
