"""The vocabulary of an action tokenizer: what each token looks like, how often it is said and for which classes."""

from __future__ import annotations

import numpy as np
import torch

from llm_action.hub.token_statistics import TokenStatistics, TokenUse
from llm_action.modeling.explanation import token_distances
from llm_action.modeling.hyperbolic_codebook import exp0
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.visualization.vocabulary_page import VocabularyEntry

_CLASSES, _NEIGHBOURS = 3, 4
_STEPS_AROUND = 2  # that a token's movement shows before and after it


def vocabulary(processor: LlmArProcessor, statistics: TokenStatistics) -> list[VocabularyEntry]:
    """Every used token, the most frequent first.

    What a token looks like is decoded between the tokens that stand most often around it; other body parts and levels
    have their most frequent token.
    """
    order = sorted(statistics.tokens, key=lambda token: -statistics.tokens[token].count)
    total = sum(use.count for use in statistics.tokens.values())
    movements, places = _movements(processor, statistics, order), disk_places(processor.vqvae)
    distances, used = token_distances(processor), np.array(order)
    names = dict(zip(order, processor.convert_ids_to_tokens([processor.first_action_id + token for token in order])))
    weights = _class_weights(statistics)
    entries = []
    for token, joints in zip(order, movements, strict=True):
        use = statistics.tokens[token]
        by_distance = used[np.argsort(distances[token, used], kind="stable")].tolist()
        near = [one for one in by_distance if one != token and np.isfinite(distances[token, one])][:_NEIGHBOURS]
        entries.append(
            VocabularyEntry(
                name=names[token],
                count=use.count,
                share=use.count / total,
                classes=_classes(use, statistics.labels, weights),
                joints=joints,
                neighbours=[(names[one], float(distances[token, one])) for one in near],
                place=(float(places[token, 0]), float(places[token, 1])),
                group=_group(use, processor, statistics.labels, weights),
            )
        )
    return entries


def _class_weights(statistics: TokenStatistics) -> np.ndarray:
    """(classes,) what one use counts, so that each class has the same weight."""
    sizes = np.zeros(len(statistics.labels))
    for use in statistics.tokens.values():
        for label, count in use.classes.items():
            sizes[label] += count
    return 1 / sizes.clip(1)


def _classes(use: TokenUse, labels: list[str], weights: np.ndarray) -> list[tuple[str, float]]:
    """The classes that a token speaks for most, with the shares they would have if all classes were as frequent."""
    rates = {label: count * weights[label] for label, count in use.classes.items()}
    total = sum(rates.values())
    best = sorted(rates, key=lambda label: -rates[label])[:_CLASSES]
    return [(labels[label], float(rates[label] / total)) for label in best]


def _group(use: TokenUse, processor: LlmArProcessor, labels: list[str], weights: np.ndarray) -> str:
    """What a token is coloured by: the body part it stands for most, else its class."""
    config = processor.vqvae.config
    if config.num_streams > 1:
        parts = list(get_layout(config.layout).body_parts)
        return parts[use.slots.most_common(1)[0][0] // config.num_levels]
    return _classes(use, labels, weights)[0][0]


def _movements(processor: LlmArProcessor, statistics: TokenStatistics, order: list[int]) -> np.ndarray:
    """(tokens, frames, joints, 3) of each token between those that stand most often around it."""
    config = processor.vqvae.config
    slots, middle, pace = config.num_streams * config.num_levels, config.num_steps // 2, config.downsample
    usual = [_usual(statistics, slot) for slot in range(slots)]
    sentences = np.broadcast_to(np.array(usual), (len(order), config.num_steps, slots)).copy()
    for sentence, token in zip(sentences, order, strict=True):
        use = statistics.tokens[token]
        slot = use.slots.most_common(1)[0][0]
        sentence[:, slot] = token
        sentence[:middle, slot] = use.before if use.before >= 0 else token
        sentence[middle + 1 :, slot] = use.after if use.after >= 0 else token
    joints = processor.decode(sentences + processor.first_action_id).joints
    return joints[:, max(0, middle - _STEPS_AROUND) * pace : (middle + 1 + _STEPS_AROUND) * pace]


def _usual(statistics: TokenStatistics, slot: int) -> int:
    return max(statistics.tokens, key=lambda token: statistics.tokens[token].slots[slot])


@torch.no_grad()
def disk_places(vqvae: ActionVQVAE) -> np.ndarray:
    """(tokens, 2) places in a disk of radius 1.

    The two main components (Pearson, 1901) of the codes, which are tangent vectors at the centre, are mapped into the
    Poincare disk of the codebook's curvature. In flat space the farthest code lies on the rim.
    """
    codes = vqvae.codebook.codes.flatten(0, 1).float()
    axes = torch.linalg.svd(codes - codes.mean(0), full_matrices=False).Vh[:2]
    plane = codes @ axes.T
    if vqvae.config.geometry == "hyperbolic":
        c = vqvae.config.curvature
        return (exp0(plane, c) * c**0.5).cpu().numpy()
    return (plane / plane.norm(dim=-1).max().clamp(min=1e-9)).cpu().numpy()
