"""LLM-AR: skeletons to action sentences to action names, as Hugging Face objects.

Importing the package makes `AutoConfig`, `AutoModel`, `AutoProcessor` and
`pipeline("skeleton-action-recognition")` know its classes, without `trust_remote_code`.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_action.version import __version__

# How long torch's threads turn in circles before they sleep is decided when torch loads. The 300,000 turns of libgomp
# hold the core that a busy machine needs for the very thread they wait for.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "5000"

_WHERE = {
    "ActionStudent": "modeling.student",
    "ActionVQVAE": "modeling.modeling_action_vqvae",
    "ActionVQVAEConfig": "modeling.configuration_llm_ar",
    "LlmArConfig": "modeling.configuration_llm_ar",
    "LlmArForActionRecognition": "modeling.modeling_llm_ar",
    "LlmArProcessor": "modeling.processing_llm_ar",
    "SignalSequence": "modeling.signal_sequence",
    "SkeletonActionRecognitionPipeline": "modeling.pipeline_skeleton_action_recognition",
    "SkeletonFeatureExtractor": "modeling.feature_extraction_skeleton",
    "SkeletonSequence": "modeling.skeleton_sequence",
    "read_signal": "skeleton_io.signals",
    "read_skeleton": "skeleton_io",
}
__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig as ActionVQVAEConfig
    from llm_action.modeling.configuration_llm_ar import LlmArConfig as LlmArConfig
    from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor as SkeletonFeatureExtractor
    from llm_action.modeling.modeling_action_vqvae import ActionVQVAE as ActionVQVAE
    from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition as LlmArForActionRecognition
    from llm_action.modeling.pipeline_skeleton_action_recognition import (
        SkeletonActionRecognitionPipeline as SkeletonActionRecognitionPipeline,
    )
    from llm_action.modeling.processing_llm_ar import LlmArProcessor as LlmArProcessor
    from llm_action.modeling.signal_sequence import SignalSequence as SignalSequence
    from llm_action.modeling.skeleton_sequence import SkeletonSequence as SkeletonSequence
    from llm_action.modeling.student import ActionStudent as ActionStudent
    from llm_action.skeleton_io import read_skeleton as read_skeleton
    from llm_action.skeleton_io.signals import read_signal as read_signal


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


# The command says so itself when it needs transformers: --help and errors in arguments do not wait for them.
if not sys.argv or Path(sys.argv[0]).stem != "llm-action":
    import_module(f"{__name__}.registration")
