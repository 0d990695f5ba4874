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

from llm_action.hub.base_models import tiny_llama
from llm_action.modeling import base_model
from llm_action.modeling.base_model import Int8Linear, fast_dtype
from llm_action.modeling.hub_repository import FORMAT_VERSION
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates

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

    def test_a_batch_without_its_stars_is_pointed_out(self, trained, prompts):
        for way in (trained, trained.score, trained.rank):
            with pytest.raises(TypeError, match=r"model\.score\(\*\*batch\)"):
                way(prompts)

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

    def test_the_best_labels_are_the_sorted_scores(self, trained, prompts):
        with torch.no_grad():
            scores = trained.score(**prompts)
        for k in (1, 5, None):
            ranked = trained.rank(**prompts, k=k)
            best = scores.topk(k or 27)
            torch.testing.assert_close(ranked.log_likelihoods, best.values, rtol=1e-4, atol=1e-4)
            assert ranked.indices.tolist() == best.indices.tolist()
        other = LabelTree.from_token_ids([[5, 6], [7], [8, 9]], trained.config.end_token_id)
        assert trained.rank(**prompts, tree=other, k=2).indices.shape == (3, 2)


class TestPromptPrefix:
    """Calls that share states read the words before the action tokens once; others, and gradients, every time."""

    @pytest.fixture
    def model(self, tiny_export) -> LlmArForActionRecognition:
        return LlmArForActionRecognition.from_pretrained(tiny_export)

    @pytest.fixture
    def lengths(self, model):
        """Tokens of a row in each forward of the decoder."""
        lengths = []
        model.causal_lm.get_decoder().register_forward_pre_hook(
            lambda _, args, kwargs: lengths.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
        )
        return lengths

    @pytest.mark.parametrize("padding", ((0, 0), (5, 0), (0, 5)), ids=("none", "left", "right"))
    def test_it_is_read_once_and_changes_no_score(self, model, prompts, lengths, padding):
        words = (prompts["input_ids"][0] < model.config.base_vocab_size).int().argmin().item()
        assert words > 1
        prompts = {name: torch.nn.functional.pad(values, padding) for name, values in prompts.items()}
        expected = model.score(**prompts)
        whole, padded = lengths[0], prompts["input_ids"].shape[1]
        assert whole >= padded  # the labels' tokens are read along with the prompt
        lengths.clear()
        states = KeptStates()
        with torch.no_grad():
            for _ in range(2):
                torch.testing.assert_close(model.score(**prompts, states=states), expected, rtol=1e-4, atol=1e-4)
        assert lengths.count(words) == 1 and lengths.count(whole) == 0 and lengths.count(whole - words) == 2
        lengths.clear()
        model.score(**prompts, states=states)
        with torch.no_grad():
            model.score(**prompts)
        assert lengths == [whole] * 2

    def test_prompts_of_several_lengths_share_it(self, model, prompts):
        mask = prompts["attention_mask"].clone()
        ids = prompts["input_ids"].clone()
        words = (ids[0] < model.config.base_vocab_size).int().argmin().item()
        ids[1] = torch.cat([ids[1, -4:].new_zeros(4), ids[1, :words], ids[1, words + 4 :]])
        mask[1, :4] = 0
        expected = model.score(ids, mask)
        with torch.no_grad():
            scores = model.score(ids, mask, states=KeptStates())
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)

    def test_prompts_that_begin_differently_are_read_whole(self, model, prompts):
        ids = prompts["input_ids"].clone()
        ids[1, 0] += 1
        expected = model.score(ids)
        with torch.no_grad():
            torch.testing.assert_close(model.score(ids, states=KeptStates()), expected, rtol=1e-4, atol=1e-4)
            assert model.score(torch.tensor([[5, 6, 7]]), states=KeptStates()).shape == (1, 27)  # no action token


class TestInference:
    """Merged adapters and other precisions of the base."""

    def test_merging_leaves_the_scores(self, trained, prompts, tiny_export):
        merged = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", merge=True)
        assert merged.is_merged
        torch.testing.assert_close(merged.score(**prompts), trained.score(**prompts), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            merged.rank(**prompts, k=3).log_likelihoods, trained.rank(**prompts, k=3).log_likelihoods, rtol=0, atol=1e-4
        )

    def test_a_merged_model_is_for_inference_only(self, tiny_export):
        merged = LlmArForActionRecognition.from_pretrained(tiny_export, merge=True)
        with pytest.raises(ValueError, match="merged into its base.*is_trainable=True"):
            merged.train()
        with pytest.raises(ValueError, match="merged into its base"):
            merged.load_trained(tiny_export)
        with pytest.raises(ValueError, match="is_trainable=False"):
            LlmArForActionRecognition.from_pretrained(tiny_export, merge=True, is_trainable=True)

    @pytest.mark.parametrize("dtype", ("float32", "bfloat16", "int8"))
    def test_a_merged_model_is_saved_as_it_was_trained(self, tiny_export, tmp_path, dtype):
        merged = LlmArForActionRecognition.from_pretrained(tiny_export, merge=True, dtype=dtype)
        merged.save_pretrained(tmp_path)
        for part in ("model.safetensors", "adapter/adapter_model.safetensors"):
            assert (tmp_path / part).read_bytes() == (tiny_export / part).read_bytes()

    @pytest.mark.parametrize("fast", (True, False))
    def test_the_device_decides_the_arithmetic(self, tiny_export, tiny_base, tmp_path, prompts, monkeypatch, fast):
        shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
        AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16).save_pretrained(tmp_path)
        monkeypatch.setattr(base_model, "_outruns_float32", lambda dtype: fast)

        def loaded(**options):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # rounded, the base is another one
                return LlmArForActionRecognition.from_pretrained(tiny_export, base_model=tmp_path, **options)

        found = loaded(device_map="cpu")
        assert found.causal_lm.dtype == (torch.bfloat16 if fast else torch.float32)
        assert found.arithmetic.startswith(f"{tmp_path} in {'bfloat16' if fast else 'float32'} on cpu")
        for asked in (torch.bfloat16, torch.float16, torch.float32):
            assert loaded(dtype=asked, device_map="cpu").causal_lm.dtype == asked
        if not fast:
            with torch.no_grad():
                exact = loaded(dtype=torch.float32).score(**prompts)
                torch.testing.assert_close(found.score(**prompts), exact, rtol=0, atol=0)

    def test_the_arithmetic_of_each_device(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
        monkeypatch.setattr(base_model, "_outruns_float32", lambda dtype: dtype == torch.float16)
        wanted = {"cuda": torch.float32, "cpu": torch.float32, "mps": torch.bfloat16}
        assert {device: fast_dtype(torch.bfloat16, device) for device in wanted} == wanted
        assert [fast_dtype(torch.float16, device) for device in wanted] == 3 * [torch.float16]
        assert fast_dtype(torch.float32, "cpu") == torch.float32 and fast_dtype(torch.float64, "cpu") == torch.float64

    def test_a_torch_built_for_a_device_that_is_not_there_computes_on_the_cpu(self, monkeypatch):
        def current(check_available: bool = False) -> torch.device | None:
            return None if check_available else torch.device("cuda")

        monkeypatch.setattr(torch.accelerator, "current_accelerator", current)
        monkeypatch.setattr(base_model, "_outruns_float32", lambda dtype: True)
        assert fast_dtype(torch.bfloat16) == torch.bfloat16

    def test_timing_the_cpu_leaves_threads_and_chance_alone(self):
        base_model._outruns_float32.cache_clear()
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        assert fast_dtype(torch.bfloat16, "cpu") in (torch.bfloat16, torch.float32)
        assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("dtype", ("float32", torch.float32, "bfloat16", "float16", torch.int8, "int8"), ids=str)
    def test_precisions(self, trained, prompts, tiny_export, dtype):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a rounded base is still the base trained on
            model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype=dtype)
        with torch.no_grad():
            exact, scores = trained.score(**prompts), model.score(**prompts)
        assert scores.dtype == torch.float32
        if str(dtype).endswith("float32"):
            torch.testing.assert_close(scores, exact, rtol=0, atol=1e-4)
        else:
            assert 0 < (scores - exact).abs().max() < 0.5
            assert model.rank(**prompts, k=1).indices.tolist() == exact.topk(1).indices.tolist()

    @pytest.mark.parametrize("bias", (True, False))
    def test_an_int8_layer_gives_every_token_a_scale_of_its_own(self, bias):
        torch.manual_seed(0)
        layer = torch.nn.Linear(64, 48, bias=bias)
        inputs = torch.randn(2, 5, 64)
        inputs[0, 0] *= 1e4  # as LLaMA's first token
        with torch.no_grad():
            exact, rounded = layer(inputs), Int8Linear(layer)(inputs)
        error = (rounded - exact).abs().amax(-1) / exact.abs().amax(-1)
        assert rounded.shape == exact.shape and error.max() < 0.03

    def test_int8_weights_are_a_quarter(self, tiny_export):
        model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="int8")
        decoder = model.causal_lm.get_decoder()
        linear = [name for name, layer in model.causal_lm.named_modules() if isinstance(layer, torch.nn.Linear)]
        assert all("lora_" in name for name in linear)
        layers = [layer for layer in decoder.modules() if isinstance(layer, Int8Linear)]
        assert len(layers) == 2 * 7 and all(layer.weight.dtype == torch.int8 for layer in layers)
        assert model.causal_lm.get_output_embeddings().weight.dtype == torch.int8
        assert model.get_input_embeddings().weight.dtype == torch.float32

    def test_the_auto_classes_pass_the_options_on(self, trained, tiny_export, prompts):
        import llm_action  # noqa: F401  registers the classes

        for options in ({"merge": True, "dtype": "float32"}, {"dtype": "int8"}):
            model = AutoModel.from_pretrained(tiny_export, **options)
            assert model.is_merged
            assert model.rank(**prompts, k=1).indices.tolist() == trained.rank(**prompts, k=1).indices.tolist()

    def test_an_unknown_dtype_is_refused(self, tiny_export):
        for dtype in ("int4", torch.int64):
            with pytest.raises(ValueError, match="Expected dtype 'auto', float32.*int8, got"):
                LlmArForActionRecognition.from_pretrained(tiny_export, dtype=dtype)


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

    def test_a_gathered_state_dict_is_what_is_saved(self, trained, tmp_path):
        """As under FSDP, where the model itself holds shards, and ZeRO-3, which gathers no frozen weight."""
        gathered = {
            name: weight + 1
            for name, weight in trained.state_dict().items()
            if "lora_" in name or name == "action_embeddings.weight"
        }
        trained.save_pretrained(tmp_path, state_dict=gathered)
        saved = LlmArForActionRecognition.from_pretrained(tmp_path).state_dict()
        own = trained.state_dict()
        assert all(torch.equal(saved[name], gathered.get(name, own[name])) for name in own)
        with pytest.raises(ValueError, match="zero3_save_16bit_model: true"):
            trained.save_pretrained(tmp_path / "none", state_dict={})

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

    def test_a_base_trained_on_in_another_precision_gives_no_warning(self, tiny_base, tmp_path):
        lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
        table = torch.randn(ACTIONS, 64)
        LlmArForActionRecognition.from_base(tiny_base, table, lora, dtype=torch.bfloat16).save_pretrained(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            for dtype in ("auto", "bfloat16", "float16"):
                LlmArForActionRecognition.from_pretrained(tmp_path, dtype=dtype)

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
        (copied / "config.json").write_text(json.dumps({**config, "format_version": FORMAT_VERSION + 1}))
        with pytest.raises(
            ValueError, match=f"{copied}/config.json.*format {FORMAT_VERSION + 1}.*pip install -U llm-action"
        ):
            LlmArForActionRecognition.from_pretrained(copied)
