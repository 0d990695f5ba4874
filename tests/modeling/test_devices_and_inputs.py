"""Weights that wait in main memory or on disk, rounded weights, words instead of scores, inputs of every kind."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload
from transformers import AutoTokenizer, BitsAndBytesConfig, pipeline

import llm_action  # noqa: F401  registers the classes
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

TASK = "skeleton-action-recognition"
BASE = "language_model.base_model.model"
ON_DISK = {"action_embeddings": "cpu", f"{BASE}.lm_head": "cpu", f"{BASE}.model": "disk"}


@pytest.fixture(scope="module")
def processor(tiny_export) -> LlmArProcessor:
    return LlmArProcessor.from_pretrained(tiny_export)


@pytest.fixture(scope="module")
def files(recordings) -> list[str]:
    return [str(file) for file in sorted(recordings.iterdir())[:4]]


@pytest.fixture(scope="module")
def prompts(processor, files):
    return processor(files, return_tensors="pt")


def load(folder, **options) -> LlmArForActionRecognition:
    return LlmArForActionRecognition.from_pretrained(folder, **({"dtype": "float32"} | options))


@pytest.fixture(scope="module")
def expected(tiny_export, prompts) -> torch.Tensor:
    return scores(load(tiny_export), prompts)


def scores(model, prompts) -> torch.Tensor:
    with torch.no_grad():
        return model.score(**prompts)


class TestOffloading:
    @pytest.mark.parametrize(
        "options",
        (
            {"device_map": "cpu"},
            {"device_map": "auto"},
            {"device_map": "balanced"},
            {"device_map": "sequential", "max_memory": {"cpu": "150KB"}},
            {"device_map": ON_DISK},
            {"device_map": {"": "disk"}},
        ),
        ids=str,
    )
    @pytest.mark.parametrize("merge", (False, True))
    def test_a_device_map_changes_no_score(self, tiny_export, prompts, expected, tmp_path, options, merge):
        model = load(tiny_export, offload_folder=tmp_path / "offloaded", merge=merge, **options)
        torch.testing.assert_close(scores(model, prompts), expected, rtol=1e-5, atol=1e-4)
        best, _ = model.rank(**prompts, k=1)[:2], model.device
        assert model.is_merged == merge and model.device == torch.device("cpu")
        assert torch.equal(model.generate(**prompts, max_new_tokens=3), load(tiny_export).generate(**prompts)[:, :3])
        assert best is not None

    def test_parts_on_disk_are_really_there(self, tiny_export, tmp_path):
        model = load(tiny_export, device_map=ON_DISK, offload_folder=tmp_path)
        waiting = {name for name, weight in model.named_parameters() if weight.is_meta}
        assert waiting and all(name.startswith(f"{BASE}.model.") for name in waiting)
        assert len(list(tmp_path.glob("*.dat"))) >= len(waiting)
        assert not model.is_mergeable
        with pytest.raises(ValueError, match="merge=True to from_pretrained"):
            model.merge()

    def test_parts_on_disk_need_a_folder(self, tiny_export):
        with pytest.raises(ValueError, match="offload_folder=FOLDER"):
            load(tiny_export, device_map=ON_DISK)

    def test_a_pipeline_answers_and_saves_with_parts_on_disk(self, tiny_export, files, tmp_path):
        options = {"max_memory": {"cpu": "150KB"}, "offload_folder": tmp_path / "offloaded"}
        offloaded = pipeline(TASK, model=str(tiny_export), device_map="auto", model_kwargs=options, dtype="float32")
        plain = pipeline(TASK, model=str(tiny_export), dtype="float32", merge=False, device="cpu")
        same(offloaded(files, top_k=3), plain(files, top_k=3))
        offloaded.save_pretrained(tmp_path / "saved")
        again = pipeline(TASK, model=str(tmp_path / "saved"), dtype="float32", merge=False, device="cpu")
        same(again(files, top_k=3), plain(files, top_k=3))

    @pytest.mark.parametrize("way", ("main memory", "disk"))
    def test_accelerates_own_functions(self, tiny_export, prompts, expected, tmp_path, way):
        model = load(tiny_export)
        if way == "disk":
            disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
        else:
            cpu_offload(model, execution_device=torch.device("cpu"))
        assert all(weight.is_meta for weight in model.parameters())
        torch.testing.assert_close(scores(model, prompts), expected)

    def test_layers_are_not_split(self, tiny_export):
        assert load(tiny_export)._no_split_modules == {"LlamaDecoderLayer"}


class TestRoundedWeights:
    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes (extra: quantize)")
    @pytest.mark.parametrize("bits", (4, 8))
    def test_a_base_is_loaded_rounded(self, tiny_export, prompts, expected, files, bits):
        config = BitsAndBytesConfig(**{f"load_in_{bits}bit": True}, llm_int8_threshold=0.0)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "The weights of")  # rounded, they are still those trained on
            model = load(tiny_export, quantization_config=config)
        rounded = [module for module in model.modules() if type(module).__module__.startswith("bitsandbytes")]
        assert len(rounded) >= 10 and not model.is_mergeable and "bitsandbytes" in model.arithmetic
        difference = (scores(model, prompts) - expected).abs().max()
        assert 0 < difference < 1  # nats, of some 20
        recognize = pipeline(TASK, model=model, processor=LlmArProcessor.from_pretrained(tiny_export))
        assert recognize(files[0]) and not recognize.model.is_merged
        with pytest.raises(ValueError, match="quantization_config"):
            model.merge()

    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
    def test_without_the_library_it_is_named(self, tiny_export):
        with pytest.raises(ImportError, match="bitsandbytes"):
            load(tiny_export, quantization_config=BitsAndBytesConfig(load_in_4bit=True))

    def test_what_is_no_option_is_named(self, tiny_export):
        with pytest.raises(TypeError, match="Unknown option load_in_4bit"):
            load(tiny_export, load_in_4bit=True)
        with pytest.raises(ValueError, match="nonsense"):
            load(tiny_export, quantization_config={"quant_method": "nonsense"})


class TestWords:
    def test_they_are_the_most_likely_ones_of_the_base_alone(self, tiny_export, prompts):
        """Greedy words against a loop over plain forwards, each row by itself and without padding."""
        model = load(tiny_export)
        said = model.generate(**prompts, max_new_tokens=6, do_sample=False)
        for ids, mask, words in zip(prompts["input_ids"], prompts["attention_mask"], said, strict=True):
            row, expected = ids[mask.bool()][None], []
            states = model.embed(row)
            while len(expected) < 6 and model.config.end_token_id not in expected:
                with torch.no_grad():
                    expected.append(model.causal_lm(inputs_embeds=states).logits[0, -1].argmax().item())
                states = torch.cat([states, model.embed(torch.tensor([[expected[-1]]]))], 1)
            assert words[: len(expected)].tolist() == expected

    @pytest.mark.parametrize("options", ({}, {"do_sample": True, "temperature": 50.0}, {"num_beams": 3}), ids=str)
    def test_no_action_token_is_ever_said(self, tiny_export, processor, prompts, options):
        torch.manual_seed(0)
        model = load(tiny_export)
        said = model.generate(**prompts, **options, max_new_tokens=40)
        assert said.shape[0] == 4 and said.max() < model.config.base_vocab_size
        assert all(isinstance(text, str) for text in processor.tokenizer.batch_decode(said))

    def test_either_side_may_be_padded(self, tiny_export, processor, files):
        model = load(tiny_export)
        short, long = (processor.encode(files[0])[:half] for half in (6, 8))
        left = processor.build_prompts([short, long], return_tensors="pt")
        right = {name: torch.stack([values[0].roll(-2), values[1]]) for name, values in left.items()}
        assert right["attention_mask"][0, -1] == 0
        assert torch.equal(model.generate(**left), model.generate(**right))

    def test_prompts_are_ids(self, tiny_export, prompts):
        with pytest.raises(TypeError, match="got inputs_embeds as well"):
            load(tiny_export).generate(**prompts, inputs_embeds=torch.zeros(4, 2, 8))


class TestInputs:
    def test_a_feature_extractor_takes_one_or_many_of_any_kind(self, processor, files):
        extract = processor.feature_extractor
        sequences = [processor.read(file) for file in files]
        expected = extract(sequences)
        known = {"layout": sequences[0].layout, "axes": "TVC", "up": "y", "unit": "m"}
        arrays = [sequence.joints[0] for sequence in sequences]
        for given in (arrays, tuple(arrays), iter(arrays), [torch.tensor(array) for array in arrays]):
            found = extract(given, **known)
            np.testing.assert_allclose(found["skeletons"], expected["skeletons"], atol=1e-4)
            assert (found["person_mask"] == expected["person_mask"]).all()
        first = expected["skeletons"][:1]
        one = {"joints": arrays[0], **known}
        for given in (sequences[0], arrays[0], torch.tensor(arrays[0]), arrays[0].tolist(), one):
            options = {} if given is one or given is sequences[0] else known
            np.testing.assert_allclose(extract(given, **options)["skeletons"], first, atol=1e-4)
        for given in (None, 3, "clip.npy", [None]):
            with pytest.raises(ValueError, match="Expected a recording"):
                extract(given)

    @pytest.mark.parametrize("kind", (None, "pt", "np"))
    def test_no_recordings_are_an_empty_batch(self, processor, kind):
        batch = processor([], return_tensors=kind)
        for name in ("input_ids", "attention_mask"):
            assert list(batch[name]) == [] if kind is None else batch[name].shape == (0, 0)
        features = processor.feature_extractor([], return_tensors=kind)
        assert len(features["skeletons"]) == len(features["person_mask"]) == 0

    def test_no_recordings_have_no_answers(self, tiny_export):
        recognize = pipeline(TASK, model=str(tiny_export))
        assert recognize([]) == recognize(()) == list(recognize(iter([]))) == []
        assert recognize([], candidate_labels=["wave"], calibrate=True, views=2) == []

    def test_a_stack_of_recordings_is_no_crowd(self, tiny_export, processor, files):
        stack = np.stack([processor.read(files[number % 4]).joints[0][:20] for number in range(16)])
        recognize = pipeline(TASK, model=str(tiny_export))
        known = {"layout": processor.read(files[0]).layout}
        for options in ({}, known):
            with pytest.raises(ValueError, match=r"16 recordings.*pass a batch as a list of arrays, list\(array\)"):
                recognize(stack, **options)
        assert len(recognize(list(stack), **known)) == 16

    def test_a_task_alone_says_what_is_missing(self):
        with pytest.raises(ValueError, match="model=FOLDER_OR_HUB_ID.*no default model.*llm-action demo"):
            pipeline(TASK)

    def test_a_folders_tokenizer_is_the_bases(self, tiny_export, tiny_base):
        ours, base = AutoTokenizer.from_pretrained(tiny_export), AutoTokenizer.from_pretrained(tiny_base)
        assert ours.get_vocab() == base.get_vocab() and len(ours) == len(base)
        for text in ("waving a hand", "  A person\tclaps. ", "<a17> <|im_end|>", "né ü 走る"):
            assert ours(text)["input_ids"] == base(text)["input_ids"]
            assert ours.decode(ours(text)["input_ids"]) == base.decode(base(text)["input_ids"])


def same(found: list, expected: list) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
        assert [entry["score"] for entry in one] == pytest.approx([e["score"] for e in other], abs=1e-4)


def test_offloaded_weights_are_not_written_beside_the_base(tiny_export, tiny_base, tmp_path):
    before = sorted(path.name for path in Path(tiny_base).iterdir())
    load(tiny_export, device_map=ON_DISK, offload_folder=tmp_path)
    assert sorted(path.name for path in Path(tiny_base).iterdir()) == before
