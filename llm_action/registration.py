"""Makes transformers know the package's classes, and the classes know what only the package has."""

from __future__ import annotations

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig, LlmArConfig
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.hub_repository import TASK
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.skeleton_io import read_skeleton
from llm_action.skeleton_io.signals import read_signal

AutoConfig.register("action_vqvae", ActionVQVAEConfig)
AutoConfig.register("llm_ar", LlmArConfig)
AutoModel.register(ActionVQVAEConfig, ActionVQVAE)
AutoModel.register(LlmArConfig, LlmArForActionRecognition)
AutoFeatureExtractor.register(ActionVQVAEConfig, SkeletonFeatureExtractor)
AutoProcessor.register(LlmArConfig, LlmArProcessor)


class _NoDefaultModel:
    """Stands where transformers unpacks the id and revision of a task's default model."""

    def __iter__(self):
        raise ValueError(
            f'Expected pipeline("{TASK}", model=FOLDER_OR_HUB_ID): the task has no default model. `llm-action demo` '
            "trains one in some minutes, into runs/demo/model."
        )


PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=SkeletonActionRecognitionPipeline,
    pt_model=AutoModel,
    default={"model": _NoDefaultModel()},
    type="multimodal",
)


def _write_card(folder, name):
    from llm_action.hub.cards import write_card

    return write_card(folder, name)


LlmArProcessor.file_reader = staticmethod(read_skeleton)
LlmArProcessor.signal_reader = staticmethod(read_signal)
for _part in (LlmArProcessor, LlmArForActionRecognition, SkeletonActionRecognitionPipeline):
    _part.card_writer = staticmethod(_write_card)
LlmArForActionRecognition.base_resolver = staticmethod(resolve_base_model)
