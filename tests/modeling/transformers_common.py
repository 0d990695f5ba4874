"""Our classes under transformers' common tests; `test_transformers_common.py` runs them and says where they come from.

A test that asks for what our classes do not have is named in a table with the reason, and skipped with it.
"""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from typing import ClassVar

import torch
from transformers import AutoTokenizer
from transformers_common_tests.test_configuration_common import ConfigTester
from transformers_common_tests.test_feature_extraction_common import FeatureExtractionSavingTestMixin
from transformers_common_tests.test_modeling_common import ModelTesterMixin
from transformers_common_tests.test_processing_common import ProcessorTesterMixin

import llm_action  # noqa: F401  registers the classes
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig, LlmArConfig
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor

TINY_EXPORT = Path(os.environ["TINY_EXPORT"])
SMALL = {
    **{"num_frames": 8, "codebook_size": 16, "code_dim": 8, "embedding_dim": 12, "hidden_size": 16},
    **{"num_layers": 1, "num_heads": 2},
}
SHAPES = {
    "Plain": {},
    "Parts": {"body_parts": True, "downsample": 4},
    "Levels": {"num_levels": 2},
    "Flat": {"geometry": "euclidean"},
    "Trunk": {"encoder": "trunk", "trunk_widths": [8, 8]},
}


def without(reasons: dict[str, str]):
    """A class decorator: the named tests are skipped, each with its reason."""

    def skip(tests: type) -> type:
        for name, reason in reasons.items():
            found = [test for test in dir(tests) if test == name or test.startswith(f"{name}_")]
            assert found, f"{name} is no test of this version"
            for test in found:
                setattr(tests, test, unittest.skip(reason)(lambda self: None))
        return tests

    return skip


NO_WORDS = "it has no word embeddings: it reads skeletons"
NO_ATTENTION_OUTPUTS = "it gives no attentions or hidden states: nobody reads them"
OF_THE_BASE = "attention is torch's TransformerEncoder; that of the base LLaMA is tested by transformers"
NO_MODALITY = "it reads skeletons: no image, video, audio or text of a user's"
NOT_IN_MODEL = {
    "test_model_get_set_embeddings": NO_WORDS,
    "test_inputs_embeds": NO_WORDS,
    "test_hidden_states_output": NO_ATTENTION_OUTPUTS,
    "test_attention_outputs": NO_ATTENTION_OUTPUTS,
    "test_retain_grad_hidden_states_attentions": NO_ATTENTION_OUTPUTS,
    "test_model_outputs_equivalence": f"{NO_ATTENTION_OUTPUTS}; tuples are tested in test_options_and_adapters.py",
    "test_feed_forward_chunking": "its layers are not cut into chunks",
    "test_training": "the losses are the training's (llm_action.training), not the model's",
    "test_model_weights_reload_no_missing_tied_weights": "weights that are missing are an error, not a report",
}
MOTION_IS_NO_AUDIO = "the test takes any feature extractor for one of audio and gives no recording"
NOT_IN_PROCESSOR = {
    "test_model_input_names": NO_MODALITY,
    "test_subprocessor_defaults": NO_MODALITY,
    "test_tokenizer_decode_defaults": "decode gives skeletons; words are the tokenizer's, processor.tokenizer.decode",
    "test_save_load_pretrained_additional_features": "from_pretrained knows its options; special tokens are the base's",
    "test_call_arguments_default_none": "its arguments are not those of any sub-processor: layout, fps, views",
    "test_processor_from_pretrained_vs_from_components": "a component of it, the VQ-VAE, is a model",
    "test_kwargs_overrides_default_subprocessor_kwargs": "a component of it, the VQ-VAE, is a model",
    "test_init_arguments_not_in_class_attributes": "vqvae, senses and familiarity are properties, not defaults",
    "test_call_arguments_not_in_processor_kwargs": "fps, padding and return_tensors are arguments of a call",
    "test_replacement_offsets": NO_MODALITY,
    "test_processor_with_multiple_inputs": MOTION_IS_NO_AUDIO,
    "test_flat_kwarg_applied_when_modality_dict_lacks_it": MOTION_IS_NO_AUDIO,
    "test_structured_kwargs_nested_from_dict": MOTION_IS_NO_AUDIO,
    "test_unstructured_kwargs": MOTION_IS_NO_AUDIO,
}


class SkeletonModelTester:
    batch_size, num_hidden_layers = 3, 1

    def __init__(self, parent, shape: str):
        self.parent, self.shape = parent, shape

    def get_config(self) -> ActionVQVAEConfig:
        return ActionVQVAEConfig(**{**SMALL, **SHAPES[self.shape]})

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        return config, {"skeletons": torch.randn(self.batch_size, config.num_frames, 20, 3)}


class OfActionVQVAE(ModelTesterMixin):
    all_model_classes = (ActionVQVAE,)
    test_resize_embeddings = False
    has_attentions = False
    shape = "Plain"

    def setUp(self):
        self.model_tester = SkeletonModelTester(self, self.shape)


for shape in SHAPES:
    name = f"Test{shape}ActionVQVAE"
    globals()[name] = without(NOT_IN_MODEL)(type(name, (OfActionVQVAE, unittest.TestCase), {"shape": shape}))


class TestActionVQVAEConfig(unittest.TestCase):
    def test_common(self):
        properties = ["hidden_size", "num_layers", "num_heads"]
        tester = ConfigTester(self, ActionVQVAEConfig, has_text_modality=False, common_properties=properties, **SMALL)
        tester.run_common_tests()


class TestLlmArConfig(unittest.TestCase):
    def test_common(self):
        given = {"base_vocab_size": 99, "num_action_tokens": 16, "hidden_size": 12}
        tester = ConfigTester(self, LlmArConfig, has_text_modality=False, common_properties=["hidden_size"], **given)
        tester.run_common_tests()


class TestSkeletonFeatureExtractor(FeatureExtractionSavingTestMixin, unittest.TestCase):
    feature_extraction_class = SkeletonFeatureExtractor
    feat_extract_dict: ClassVar = {
        "layout": "coco17",
        "num_frames": 16,
        "max_persons": 1,
        "align_facing": False,
        "geometry": 2,
    }


@without(NOT_IN_PROCESSOR)
class TestLlmArProcessor(ProcessorTesterMixin, unittest.TestCase):
    processor_class = LlmArProcessor

    @classmethod
    def _setup_from_components(cls):
        return LlmArProcessor.from_pretrained(TINY_EXPORT)

    @classmethod
    def _setup_tokenizer(cls):
        return AutoTokenizer.from_pretrained(TINY_EXPORT)
