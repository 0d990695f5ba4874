"""Controls of stage 2: trained and scored, the base's files untouched, nothing exported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import evaluate, recognizer_scorer
from llm_action.evaluation.ledger import Origin
from llm_action.experiments.controls import FeatureProcessor, Features, fitted_recognizer, random_base
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.train_recognizer import new_recognizer, train_recognizer

SHORT = ["recognizer.steps=4", "recognizer.save_steps=2"]


@pytest.fixture
def out(tiny_run, tmp_path) -> Path:
    """A run folder whose stage 1 is done."""
    shutil.copytree(tiny_run / "processor", tmp_path / "processor")
    return tmp_path


def control(tiny_config: Path, *overrides: str) -> Experiment:
    return load_experiment(tiny_config, [*SHORT, *(f"recognizer.{override}" for override in overrides)])


def base_of(model) -> dict[str, torch.Tensor]:
    weights = model.causal_lm.state_dict()
    return {name.replace(".base_layer.", "."): weight for name, weight in weights.items() if "lora_" not in name}


def test_full_fine_tuning_trains_every_weight_but_not_the_folder(tiny_config, tiny_base, recordings, out):
    files = {file: file.read_bytes() for file in tiny_base.iterdir()}
    model, _, _ = fitted_recognizer(control(tiny_config, "train=full"), str(recordings), out)
    pristine = LlamaForCausalLM.from_pretrained(tiny_base).state_dict()
    assert base_of(model).keys() == pristine.keys()
    assert all(not torch.equal(weight, pristine[name]) for name, weight in base_of(model).items())
    assert not any("lora_" in name for name, _ in model.named_parameters())
    assert {file: file.read_bytes() for file in tiny_base.iterdir()} == files


def test_random_weights_stay_as_the_seed_has_them(tiny_config, tiny_base, recordings, out, tmp_path):
    experiment = replace(control(tiny_config, "base_weights=random"), seed=1)  # with seed 0 it would be the tiny base
    model, _, _ = fitted_recognizer(experiment, str(recordings), out)
    expected = LlamaForCausalLM.from_pretrained(random_base(tiny_base, tmp_path / "random", 1)).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in base_of(model).items())
    pristine = LlamaForCausalLM.from_pretrained(tiny_base).state_dict()
    assert not torch.equal(expected["model.embed_tokens.weight"], pristine["model.embed_tokens.weight"])
    assert any(weight.any() for name, weight in model.named_parameters() if "lora_B" in name), "the adapter learned"


def test_a_control_can_be_scored_but_leaves_no_model(tiny_config, recordings, out):
    experiment = load_experiment(tiny_config, [*SHORT, "recognizer.inputs=features", "recognizer.label_names=neutral"])
    model, processor, split = fitted_recognizer(experiment, str(recordings), out)
    recognize = SkeletonActionRecognitionPipeline(model=model, processor=processor)
    metrics = evaluate(recognizer_scorer(recognize, split.labels), split, Origin("control", "", ""))
    assert metrics["n"] == 12 and metrics["labels"][0] == "class 1"
    assert not (out / "model").exists()


class TestFeatures:
    @pytest.fixture(scope="class")
    def parts(self, tiny_config, tiny_base, tiny_run, recordings):
        experiment = load_experiment(tiny_config)
        processor = LlmArProcessor.from_pretrained(tiny_run / "processor")
        labels = load_split(experiment, str(recordings)).labels
        model = new_recognizer(experiment, processor, labels, tiny_base)
        features = Features(model, processor)
        return model, processor, FeatureProcessor.beside(processor, features), features

    def test_a_code_looks_as_its_token_does(self, parts):
        model, processor, _, features = parts
        ids = list(features.add(processor.vqvae.codebook.codes.flatten(0, 1)))
        torch.testing.assert_close(features(torch.tensor(ids)), model.action_embeddings.weight, rtol=1e-4, atol=1e-5)

    def test_sentences_name_the_latent_vectors_in_order(self, parts):
        _, processor, reads_features, features = parts
        torch.manual_seed(0)
        skeletons, mask = torch.randn(2, 2, 16, 20, 3), torch.tensor([[True, False], [True, True]])
        given = reads_features.encode_features(skeletons, mask)
        expected = processor.encode_features(skeletons, mask)
        assert [len(sentence) for sentence in given] == [len(sentence) for sentence in expected]
        first = processor.first_action_id
        for ours, theirs in zip(given, expected, strict=True):
            actions = [index for index, token in enumerate(theirs) if token >= first]
            assert [token for token in ours if token < first] == [token for token in theirs if token < first]
            latents = features.latents[torch.tensor([ours[index] - first for index in actions])]
            codes = processor.vqvae.codebook(latents).codes.flatten()
            assert (codes + first).tolist() == [theirs[index] for index in actions]


def test_controls_are_no_models(tiny_config, recordings, out):
    for override in ("train=full", "base_weights=random", "inputs=features"):
        with pytest.raises(ValueError, match="llm-action benchmark ablate"):
            train_recognizer(control(tiny_config, override), str(recordings), out)
    assert not (out / "recognizer").exists()


def test_stage_one_is_trained_where_there_is_none(tiny_config, recordings, tmp_path):
    experiment = control(tiny_config, "train=full")
    experiment = replace(experiment, vqvae=replace(experiment.vqvae, steps=2))
    fitted_recognizer(experiment, str(recordings), tmp_path)
    assert (tmp_path / "processor" / "metrics.json").is_file()
