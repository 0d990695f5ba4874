"""The recognizer: what is trained and what stays, its loss and its scores, saving and loading."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama import LlamaForCausalLM

from llm_action.base_models import tiny_llama
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

ACTIONS = 12


def hashed(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def own_weights(model: LlmArForActionRecognition) -> dict[str, torch.Tensor]:
    """The base's weights inside a recognizer, under the base's names."""
    weights = model.causal_lm.state_dict()
    return {
        name.replace(".base_layer.", "."): weight.clone() for name, weight in weights.items() if "lora_" not in name
    }


def new_model(base: Path, **config) -> LlmArForActionRecognition:
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    return LlmArForActionRecognition.from_base(base, torch.randn(ACTIONS, 64), lora, dtype=torch.float32, **config)


@pytest.fixture
def prompts(tiny_export, recordings):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    return processor(sorted(recordings.iterdir())[:3], return_tensors="pt")


@pytest.fixture(scope="module")
def trained(tiny_export) -> LlmArForActionRecognition:
    return LlmArForActionRecognition.from_pretrained(tiny_export)


class TestTraining:
    def test_only_adapter_and_action_embeddings_learn(self, tiny_base):
        model = new_model(tiny_base)
        learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
        assert learning and all("lora_" in name or name == "action_embeddings.weight" for name in learning)

    def test_the_base_stays_bit_for_bit(self, tiny_base, tmp_path):
        from transformers import Trainer, TrainingArguments

        files, model = hashed(tiny_base), new_model(tiny_base)
        before = own_weights(model)
        adapter = {name: weight.clone() for name, weight in model.named_parameters() if weight.requires_grad}
        vocabulary = model.config.base_vocab_size
        ids = torch.tensor([[5, vocabulary + 3, vocabulary + 11, 7, 9, 2]])
        example = {"input_ids": ids[0], "labels": torch.tensor([-100, -100, -100, -100, 9, 2])}
        arguments = TrainingArguments(tmp_path, max_steps=3, learning_rate=0.1, report_to="none", save_strategy="no")
        Trainer(model, arguments, train_dataset=[example] * 8).train()
        after = own_weights(model)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        pristine = LlamaForCausalLM.from_pretrained(tiny_base).state_dict()
        assert all(torch.equal(pristine[name], after[name]) for name in pristine)
        assert hashed(tiny_base) == files
        changed = [
            name
            for name, weight in model.named_parameters()
            if name in adapter and not torch.equal(weight, adapter[name])
        ]
        assert set(changed) == set(adapter)

    def test_both_stages_left_the_base_alone(self, tiny_run, tiny_base, trained):
        pristine = LlamaForCausalLM.from_pretrained(tiny_base).state_dict()
        inside = own_weights(trained)
        assert all(torch.equal(pristine[name], inside[name]) for name in pristine)

    def test_the_loss_is_the_cross_entropy_of_the_answer(self, tiny_base):
        model = new_model(tiny_base).eval()
        vocabulary = model.config.base_vocab_size
        ids = torch.tensor([[5, vocabulary + 3, 7, 9, 2, 0], [8, vocabulary, vocabulary + 11, 4, 6, 2]])
        mask = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
        labels = torch.tensor([[-100, -100, -100, 9, 2, -100], [-100, -100, -100, -100, 6, 2]])
        loss = model(ids, mask, labels).loss

        # a plain LLaMA with the adapter merged in, every embedding put in by hand, logits of all positions
        plain = LlamaForCausalLM.from_pretrained(tiny_base)
        plain.load_state_dict(
            {
                name: weight
                for name, weight in model.language_model.merge_and_unload().state_dict().items()
                if name in plain.state_dict()
            }
        )
        table = torch.cat([plain.get_input_embeddings().weight, model.action_embeddings.weight])
        logits = plain(inputs_embeds=table[ids], attention_mask=mask).logits
        log_probabilities = logits.log_softmax(-1)
        answers = [(0, 3), (0, 4), (1, 4), (1, 5)]
        expected = -sum(log_probabilities[row, at - 1, labels[row, at]] for row, at in answers) / len(answers)
        torch.testing.assert_close(loss, expected)

    def test_action_embeddings_start_as_the_codebook_in_the_words_statistics(self, tiny_base):
        torch.manual_seed(0)
        table = torch.randn(ACTIONS, 64)
        embeddings = new_model(tiny_base).action_embeddings.weight
        words = LlamaForCausalLM.from_pretrained(tiny_base).get_input_embeddings().weight
        assert embeddings.std().item() == pytest.approx(words.std().item(), rel=0.1)
        given, expected = torch.pdist(embeddings), torch.pdist(table)
        torch.testing.assert_close(given / given.mean(), expected / expected.mean())

    def test_a_codebook_of_another_width_is_refused(self, tiny_base):
        with pytest.raises(ValueError, match="width 64, got 32.*embedding_dim"):
            LlmArForActionRecognition.from_base(tiny_base, torch.randn(ACTIONS, 32), LoraConfig())

    def test_ids_below_the_vocabulary_are_words(self, tiny_base):
        model = new_model(tiny_base)
        vocabulary, words = model.config.base_vocab_size, model.causal_lm.get_input_embeddings().weight
        embedded = model.embed(torch.tensor([[0, vocabulary - 1, vocabulary, vocabulary + ACTIONS - 1]]))[0]
        assert torch.equal(embedded[:2], words[[0, vocabulary - 1]])
        assert torch.equal(embedded[2:], model.action_embeddings.weight[[0, ACTIONS - 1]])
        assert model.causal_lm.config.vocab_size == vocabulary  # not resized


class TestScores:
    def test_every_class_as_label_by_label(self, trained, prompts, tiny_export):
        """Brute force: each label appended to each prompt, its tokens' log-probabilities summed."""
        config = trained.config
        scores = trained.score(prompts["input_ids"], prompts["attention_mask"])
        assert scores.shape == (3, 27)
        with torch.no_grad():
            for row, (ids, mask) in enumerate(zip(prompts["input_ids"], prompts["attention_mask"], strict=True)):
                prompt = ids[mask.bool()]
                for index in range(0, 27, 5):
                    answer = torch.tensor([*config.label_token_ids[index], config.end_token_id])
                    embedded = trained.embed(torch.cat([prompt, answer])[None])
                    logits = trained.causal_lm(inputs_embeds=embedded).logits[0].log_softmax(-1)
                    expected = logits[len(prompt) - 1 : -1].gather(1, answer[:, None]).sum()
                    torch.testing.assert_close(scores[row, index], expected, rtol=1e-4, atol=1e-4)

    def test_forward_without_labels_scores_the_classes(self, trained, prompts):
        torch.testing.assert_close(trained(**prompts).logits, trained.score(**prompts))

    def test_padding_does_not_matter(self, trained, prompts):
        longer = {name: torch.nn.functional.pad(values, (7, 0)) for name, values in prompts.items()}
        torch.testing.assert_close(trained.score(**longer), trained.score(**prompts), rtol=1e-4, atol=1e-4)

    def test_other_labels(self, trained, prompts, tiny_export):
        tree = LabelTree.from_labels(["fly", "wave", "wave twice"], AutoTokenizer.from_pretrained(tiny_export))
        scores = trained.score(**prompts, tree=tree)
        wave = trained.config.label_names.index("wave")
        torch.testing.assert_close(scores[:, 1], trained.score(**prompts)[:, wave], rtol=1e-4, atol=1e-4)

    def test_a_model_without_classes_asks_for_a_tree(self, tiny_base):
        with pytest.raises(ValueError, match="LabelTree.from_labels"):
            new_model(tiny_base)(torch.tensor([[1, 2]]))


class TestSaving:
    @pytest.fixture
    def copied(self, tiny_export, tmp_path) -> Path:
        return Path(shutil.copytree(tiny_export, tmp_path / "model"))

    def test_what_is_written(self, tiny_export):
        weights = load_file(tiny_export / "model.safetensors")
        assert list(weights) == ["action_embeddings.weight"]
        adapter = load_file(tiny_export / "adapter" / "adapter_model.safetensors")
        assert adapter and all("lora_" in name for name in adapter)
        pickles = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
        assert not [file for file in tiny_export.rglob("*") if file.suffix in pickles]

    def test_saved_and_loaded_bit_for_bit(self, trained, tmp_path, prompts):
        trained.save_pretrained(tmp_path)
        loaded = LlmArForActionRecognition.from_pretrained(tmp_path)
        assert not loaded.training
        weights = trained.state_dict()
        assert weights.keys() == loaded.state_dict().keys()
        assert all(torch.equal(weight, weights[name]) for name, weight in loaded.state_dict().items())
        assert torch.equal(loaded.score(**prompts), trained.score(**prompts))

    def test_the_auto_classes_know_it(self, tiny_export):
        import llm_action  # noqa: F401  registers the classes

        assert AutoConfig.from_pretrained(tiny_export).label_names[2] == "wave"
        assert isinstance(AutoModel.from_pretrained(tiny_export), LlmArForActionRecognition)

    def test_the_adapter_is_a_plain_one(self, trained, tiny_export, tiny_base, prompts):
        base = AutoModelForCausalLM.from_pretrained(tiny_base)
        plain = PeftModel.from_pretrained(base, str(tiny_export / "adapter")).eval()
        words = prompts["input_ids"].clamp(max=trained.config.base_vocab_size - 1)
        with torch.no_grad():
            given = plain(words, prompts["attention_mask"], output_hidden_states=True)
            expected = trained.causal_lm(words, prompts["attention_mask"], output_hidden_states=True)
        assert torch.equal(given.hidden_states[-1], expected.hidden_states[-1])
        assert not torch.equal(given.logits, AutoModelForCausalLM.from_pretrained(tiny_base)(words).logits)

    def test_another_place_of_the_base(self, copied, tiny_base, monkeypatch, tmp_path, prompts):
        config = json.loads((copied / "config.json").read_text())
        (copied / "config.json").write_text(json.dumps({**config, "base_model": str(tmp_path / "moved")}))
        with pytest.raises(OSError, match=r"moved.*LLM_ACTION_BASE_MODEL"):
            LlmArForActionRecognition.from_pretrained(copied)
        named = LlmArForActionRecognition.from_pretrained(copied, base_model=tiny_base)
        monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
        found = LlmArForActionRecognition.from_pretrained(copied)
        assert torch.equal(named.score(**prompts), found.score(**prompts))
        assert found.config.base_model == str(tmp_path / "moved")  # what a later save says

    def test_the_same_base_gives_no_warning(self, tiny_export):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            LlmArForActionRecognition.from_pretrained(tiny_export)

    def test_a_base_of_other_weights_gives_a_warning(self, tiny_export, tmp_path):
        other = tiny_llama(tmp_path / "other", seed=1)
        with pytest.warns(UserWarning, match=f"{other} differ from those this model was trained on"):
            LlmArForActionRecognition.from_pretrained(tiny_export, base_model=other)

    def test_a_base_of_another_size_is_refused(self, copied, tiny_base):
        config = json.loads((copied / "config.json").read_text())
        (copied / "config.json").write_text(json.dumps({**config, "base_vocab_size": 1000}))
        with pytest.raises(ValueError, match=r"expected a base with word embeddings \(1000, 64\)"):
            LlmArForActionRecognition.from_pretrained(copied)

    @pytest.mark.parametrize(
        "part",
        ("config.json", "model.safetensors", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    )
    def test_a_missing_part_is_named(self, copied, part):
        (copied / part).unlink()
        with pytest.raises(OSError, match=f"{copied}.*{part} is missing; export or download"):
            LlmArForActionRecognition.from_pretrained(copied)

    @pytest.mark.parametrize("part", ("model.safetensors", "adapter/adapter_model.safetensors"))
    def test_a_truncated_part_is_named(self, copied, part):
        (copied / part).write_bytes((copied / part).read_bytes()[:200])
        with pytest.raises(ValueError, match=f"{copied}/{part.split('/')[0]}: damaged.*export or download"):
            LlmArForActionRecognition.from_pretrained(copied)

    def test_embeddings_of_another_model_are_refused(self, copied, tiny_base):
        new_model(tiny_base).save_pretrained(copied.parent / "other")
        shutil.copy(copied.parent / "other" / "model.safetensors", copied)
        with pytest.raises(ValueError, match=r"expected action embeddings \(32, 64\).*got \(12, 64\)"):
            LlmArForActionRecognition.from_pretrained(copied)

    def test_a_newer_format_asks_for_an_update(self, copied):
        config = json.loads((copied / "config.json").read_text())
        (copied / "config.json").write_text(json.dumps({**config, "format_version": 2}))
        with pytest.raises(ValueError, match=f"{copied}/config.json.*format 2.*pip install -U llm-action"):
            LlmArForActionRecognition.from_pretrained(copied)
