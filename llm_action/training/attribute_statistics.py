"""Counts how often joints show the attributes that descriptions have; kept in the model's config."""

from __future__ import annotations

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.datasets import row_to_sequence
from llm_action.datasets.descriptions import known_descriptions
from llm_action.datasets.lexicon import describe
from llm_action.datasets.split import Split, dataset_names, described_labels
from llm_action.modeling.action_attributes import value_numbers
from llm_action.modeling.attribute_likelihood import AttributeStatistics, attributes_entry
from llm_action.modeling.label_tree import label_key
from llm_action.modeling.motion_measures import mirrored, motion_measures
from llm_action.modeling.processing_llm_ar import LlmArProcessor

_SEQUENCES = 2000  # as many as are needed; evenly spread over the training part


def gather_attribute_statistics(experiment: Experiment, processor: LlmArProcessor, split: Split) -> AttributeStatistics:
    """How often the joints show each value where the descriptions of the classes trained on have one, and at all."""
    rows = np.unique(np.linspace(0, len(split.train) - 1, _SEQUENCES).astype(int))
    table = split.train.select(rows).with_format("numpy")
    extractor = processor.feature_extractor
    shown = extractor([row_to_sequence(row) for row in table])
    skeletons, mask, layout = shown["skeletons"], shown["person_mask"], extractor.layout
    measures = motion_measures(skeletons, mask, layout), motion_measures(mirrored(skeletons, layout), mask, layout)
    labels = [split.labels[int(label)] for label in table["label"]]
    described = described_labels(experiment, sorted(set(labels)))
    # a data set without descriptions has names, and the lexicon knows what most of them mean
    described |= describe(label for label, one in described.items() if not one.attributes)
    return AttributeStatistics.gathered(value_numbers(skeletons, mask, layout), labels, described, measures)


def training_lexicon(experiment: Experiment) -> dict[str, str]:
    """Collects what every described name means, as `LabelLexicon` takes it; classes left out of training are absent."""
    known = known_descriptions(dataset_names(experiment), experiment.recognizer.descriptions)
    unseen = set(map(label_key, experiment.unseen))
    return {name: attributes_entry(one) for name, one in known.items() if one.attributes and name not in unseen}
