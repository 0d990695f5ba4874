"""Every option counts or is refused by name; an adapter is whole or refused; what is saved can be loaded."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoProcessor, BitsAndBytesConfig, pipeline

import llm_action  # noqa: F401  registers the classes
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture
def copied(tiny_export, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_export, tmp_path / "copied"))


@pytest.fixture
def model(tiny_export) -> LlmArForActionRecognition:
    return LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", is_trainable=True).eval()


@pytest.fixture
def prompts(tiny_export, recordings):
    return LlmArProcessor.from_pretrained(tiny_export)(sorted(recordings.iterdir())[:3], return_tensors="pt")


def scores(model, prompts) -> torch.Tensor:
    with torch.no_grad():
        return model.score(**prompts)


class TestOptions:
    @pytest.mark.parametrize("load", (LlmArForActionRecognition.from_pretrained, AutoModel.from_pretrained))
    def test_of_the_model(self, tiny_export, prompts, load):
        assert load(tiny_export, torch_dtype=torch.bfloat16).causal_lm.dtype == torch.bfloat16
        eager, sdpa = (load(tiny_export, dtype="float32", attn_implementation=name) for name in ("eager", "sdpa"))
        assert eager.causal_lm.config._attn_implementation == eager.config._attn_implementation == "eager"
        assert sdpa.causal_lm.config._attn_implementation == sdpa.config._attn_implementation == "sdpa"
        torch.testing.assert_close(scores(eager, prompts), scores(sdpa, prompts), rtol=1e-4, atol=1e-4)
        model, info = load(tiny_export, output_loading_info=True)
        assert isinstance(model, LlmArForActionRecognition) and not any(info.values())
        with pytest.raises(TypeError, match="attn_implementatoin"):
            load(tiny_export, attn_implementatoin="eager")
        with pytest.raises(TypeError, match="subfolder"):
            LlmArForActionRecognition.from_pretrained(tiny_export, subfolder="model")
        with pytest.raises(ValueError, match="got both"):
            LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", torch_dtype="bfloat16")

    def test_quantization_reaches_the_base(self, tiny_export, monkeypatch):
        from llm_action.modeling import modeling_llm_ar

        seen = []

        def load(*args, **kwargs):
            seen.append(kwargs)
            raise OSError("enough seen")

        monkeypatch.setattr(modeling_llm_ar.AutoModelForCausalLM, "from_pretrained", load)
        wanted = BitsAndBytesConfig(load_in_4bit=True)
        with pytest.raises(OSError, match="enough seen"):
            LlmArForActionRecognition.from_pretrained(tiny_export, quantization_config=wanted, dtype="bfloat16")
        assert seen[0]["quantization_config"] is wanted and seen[0]["dtype"] == torch.bfloat16
        with pytest.raises(ValueError, match="no merge"):
            LlmArForActionRecognition.from_pretrained(tiny_export, quantization_config=wanted, merge=True)

    @pytest.mark.parametrize("load", (LlmArProcessor.from_pretrained, AutoProcessor.from_pretrained))
    def test_of_the_processor(self, tiny_export, load):
        assert load(tiny_export, prompt="Now {motion} is").prompt == "Now {motion} is"
        for option in ({"max_length": 5}, {"pad_to_multiple_of": 8}, {"promt": "{motion}"}):
            with pytest.raises(TypeError, match=f"Unknown option {next(iter(option))}"):
                load(tiny_export, **option)

    @pytest.mark.parametrize("option", ("max_length", "pad_to_multiple_of", "paddding"))
    def test_of_a_call(self, tiny_export, recordings, option):
        processor = LlmArProcessor.from_pretrained(tiny_export)
        with pytest.raises(TypeError, match=option):
            processor(sorted(recordings.iterdir())[0], **{option: 8})
        with pytest.raises(TypeError, match=option):
            processor.decode([1], **{option: 8})

    def test_a_tuple_is_given_where_one_is_asked_for(self, model, tiny_export, prompts):
        with torch.no_grad():
            expected, (logits,) = model(**prompts), model(**prompts, return_dict=False)
            vqvae = ActionVQVAE.from_pretrained(tiny_export, subfolder="vqvae")
            skeletons = torch.randn(2, vqvae.config.num_frames, 20, 3)
            named, plain = vqvae(skeletons), vqvae(skeletons, return_dict=False)
        assert torch.equal(logits, expected.logits)
        assert len(plain) == 4 and all(torch.equal(plain[number], named[number]) for number in (0, 1, 3))

    def test_of_the_action_tokenizer(self, tiny_export):
        assert ActionVQVAE.from_pretrained(tiny_export, subfolder="vqvae", dtype=torch.bfloat16).dtype == torch.bfloat16
        with pytest.raises(TypeError, match="typo"):
            ActionVQVAE.from_pretrained(tiny_export, subfolder="vqvae", typo=1)

    def test_of_the_pipeline(self, tiny_export):
        task = "skeleton-action-recognition"
        eager = pipeline(task, model=str(tiny_export), model_kwargs={"attn_implementation": "eager"})
        assert eager.model.causal_lm.config._attn_implementation == "eager"
        with pytest.raises(TypeError, match="topk"):
            pipeline(task, model=str(tiny_export), topk=3)
        with pytest.raises((TypeError, ValueError), match="attn_implementatoin"):
            pipeline(task, model=str(tiny_export), model_kwargs={"attn_implementatoin": "eager"})


class TestDamaged:
    @pytest.mark.parametrize("damage", ("half", "renamed", "more"))
    def test_an_adapter_of_other_tensors_is_refused(self, copied, model, damage):
        weights = load_file(copied / ADAPTER)
        names = sorted(weights)
        if damage == "half":
            weights = {name: weights[name] for name in names[::2]}
        elif damage == "renamed":
            weights = {name.replace("layers.0", "layers.7"): weight for name, weight in weights.items()}
        else:
            weights["base_model.model.more.weight"] = torch.ones(2)
        save_file(weights, copied / ADAPTER)
        message = f"{copied}/adapter.*expected the {len(names)} tensors.*got {len(weights)}: .*missing.*unexpected"
        for load in (LlmArForActionRecognition.from_pretrained, model.load_trained):
            with pytest.raises(ValueError, match=message), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(copied)

    @pytest.mark.parametrize("damage", ("missing", "unexpected"))
    def test_an_action_tokenizer_of_other_tensors_is_refused(self, copied, damage):
        weights = load_file(copied / "vqvae/model.safetensors")
        if damage == "missing":
            del weights[min(weights)]
        else:
            weights["more"] = torch.ones(2)
        save_file(weights, copied / "vqvae/model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=f"{damage} keys, such as"):
            ActionVQVAE.from_pretrained(copied / "vqvae")

    def test_unknown_tensors_beside_the_embeddings_are_refused(self, copied):
        weights = load_file(copied / "model.safetensors")
        save_file({**weights, "more": torch.ones(2)}, copied / "model.safetensors")
        with pytest.raises(ValueError, match=r"unknown tensors \['more'\]"):
            LlmArForActionRecognition.from_pretrained(copied)

    @pytest.mark.parametrize("way", ("merge_and_unload", "unload"))
    def test_a_model_whose_adapter_was_removed_is_not_saved(self, model, tmp_path, way):
        getattr(model.language_model, way)()
        with pytest.raises(ValueError, match=r"one without \(merge_and_unload, unload\).*merge\(\) is the way"):
            model.save_pretrained(tmp_path / "saved")

    def test_a_config_alone_makes_no_model(self, tiny_export):
        with pytest.raises(ValueError, match="from_base for a new model, from_pretrained"):
            AutoModel.from_config(AutoConfig.from_pretrained(tiny_export))


class TestAdapters:
    @pytest.fixture
    def two(self, model) -> LlmArForActionRecognition:
        torch.manual_seed(0)
        model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False), "elderly")
        return model

    def test_they_are_switched_as_in_transformers(self, two, prompts):
        first = scores(two, prompts)
        assert two.active_adapters() == ["default"]
        two.set_adapter("elderly")
        second = scores(two, prompts)
        assert two.active_adapters() == ["elderly"] and (first - second).abs().max() > 0.01
        two.disable_adapters()
        with two.language_model.disable_adapter():
            base = scores(two, prompts)
        assert torch.equal(scores(two, prompts), base)
        two.enable_adapters()
        assert torch.equal(scores(two, prompts), second)
        two.set_adapter("default")
        assert torch.equal(scores(two, prompts), first)
        with pytest.raises(ValueError, match=r"Expected adapters of \['default', 'elderly'\], got \['other'\]"):
            two.set_adapter("other")

    @pytest.mark.parametrize("active", ("default", "elderly", ["default", "elderly"]), ids=str)
    def test_all_are_saved_and_come_back(self, two, prompts, tmp_path, active):
        two.set_adapter(active)
        expected = scores(two, prompts)
        two.save_pretrained(tmp_path)
        loaded = LlmArForActionRecognition.from_pretrained(tmp_path, dtype="float32")
        assert loaded.active_adapters() == ([active] if isinstance(active, str) else active)
        torch.testing.assert_close(scores(loaded, prompts), expected)
        for name in ("default", "elderly"):
            weights, saved = loaded.get_adapter_state_dict(name), two.get_adapter_state_dict(name)
            assert weights.keys() == saved.keys() and weights
            assert all(torch.equal(weight, saved[key]) for key, weight in weights.items())

    def test_one_is_loaded_from_a_folder(self, two, model, prompts, tmp_path, tiny_export):
        two.save_pretrained(tmp_path)
        two.set_adapter("elderly")
        other = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32")
        other.load_adapter(tmp_path / "adapter" / "elderly", "elderly")
        other.set_adapter("elderly")
        torch.testing.assert_close(scores(other, prompts), scores(two, prompts))
        other.merge()
        with pytest.raises(ValueError, match="merged into its base"):
            other.set_adapter("default")

    def test_without_the_default_one_nothing_is_saved(self, two, tmp_path):
        two.set_adapter("elderly")
        two.delete_adapter("default")
        with pytest.raises(ValueError, match=r"adapter 'default', got the adapters \['elderly'\]"):
            two.save_pretrained(tmp_path / "saved")


class TestPipeline:
    @pytest.fixture
    def recognize(self, tiny_export):
        return pipeline("skeleton-action-recognition", model=str(tiny_export))

    @pytest.fixture
    def file(self, recordings) -> str:
        return str(sorted(recordings.iterdir())[0])

    def test_what_it_saves_it_loads(self, recognize, file, tmp_path):
        recognize.save_pretrained(tmp_path)
        assert (tmp_path / "processor_config.json").is_file() and (tmp_path / "vqvae" / "model.safetensors").is_file()
        assert pipeline("skeleton-action-recognition", model=str(tmp_path))(file) == recognize(file)

    def test_renamed_classes_are_answered_by_their_new_names(self, recognize, file, tmp_path):
        before = recognize(file, top_k=None)
        config = recognize.model.config
        config.id2label = {number: f"action {number}" for number in range(len(config.label_names))}
        old = {name: f"action {number}" for number, name in enumerate(config.label_names)}
        renamed = [{"label": old[entry["label"]], "score": entry["score"]} for entry in before]
        renamed = [{**before[0], **entry} for entry in renamed]  # and what is said of the recording
        assert recognize(file, top_k=None) == renamed
        assert recognize([file], top_k=None) == [renamed]
        recognize.save_pretrained(tmp_path)
        again = pipeline("skeleton-action-recognition", model=str(tmp_path))
        assert again(file, top_k=None) == renamed

    def test_numbers_and_generators_of_any_kind(self, recognize, file, tiny_export):
        assert recognize(file, top_k=np.int64(2)) == recognize(file, top_k=2)
        names = ["wave", "clap"]
        assert recognize(file, candidate_labels=(name for name in names)) == recognize(file, candidate_labels=names)
        kept = pipeline("skeleton-action-recognition", model=str(tiny_export), candidate_labels=iter(names))
        assert kept(file) == kept(file) == recognize(file, candidate_labels=names)
        for top_k in (0, 1.5, True, "2"):
            with pytest.raises(ValueError, match="Expected top_k of at least 1"):
                recognize(file, top_k=top_k)
        assert recognize([]) == []

    def test_the_users_tokenizer_stays_as_it_is(self, tiny_export, model):
        processor = LlmArProcessor.from_pretrained(tiny_export)
        processor.tokenizer.padding_side = "right"
        pipeline("skeleton-action-recognition", model=model, processor=processor)
        assert processor.tokenizer.padding_side == "right"


def test_inference_mode_and_then_training(tiny_export, prompts):
    model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", is_trainable=True)
    with torch.inference_mode():
        expected = model.score(**prompts)
        model.rank(**prompts, k=2)
    loss = model(**prompts, labels=torch.tensor([0, 1, 2])).loss
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(expected, torch.tensor([0, 1, 2])))


def test_renamed_classes_of_calibrated_answers_and_streams(tiny_export, recordings):
    recognize = pipeline("skeleton-action-recognition", model=str(tiny_export), top_k=None)
    config = recognize.model.config
    config.id2label = {2: "Winken"}  # wave; the others keep their names
    expected = {"Winken", *config.label_names} - {"wave"}
    recording = sorted(recordings.iterdir())[0]
    assert {entry["label"] for entry in recognize(str(recording), calibrate=True)} == expected
    frames = recognize.processor.read(recording).joints[0]
    [*results] = recognize.stream(frames, window=16, hop=16, layout="kinect20_utd")
    assert results and all({entry["label"] for entry in result.ranking} == expected for result in results)
