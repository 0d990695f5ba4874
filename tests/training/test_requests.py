"""What stage 2 is taught: names, descriptions, answers to questions about the motion."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets.split import load_split
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.action_attributes import ATTRIBUTES, attribute_values
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.requests import Requests, drawn_description
from llm_action.training.sentences import write_sentences


@pytest.fixture(scope="module")
def taught(tiny_config, tiny_export, recordings, tmp_path_factory):
    """What a recognizer stage of some settings would be taught."""
    processor = LlmArProcessor.from_pretrained(tiny_export)
    experiment = load_experiment(tiny_config)

    def table(**stage):
        changed = replace(experiment, recognizer=replace(experiment.recognizer, **stage))
        file = tmp_path_factory.mktemp("taught") / "sentences.arrow"
        rows = write_sentences(changed, processor, load_split(changed, str(recordings)), file)
        texts = [
            (processor.tokenizer.decode(ids[:-answer][-12:]), processor.tokenizer.decode(ids[-answer:-1]).strip())
            for ids, answer in zip(rows["input_ids"], rows["answer_length"], strict=True)
        ]
        return rows, texts

    return table


class TestTeaching:
    def test_labels_alone_by_default(self, taught):
        _, texts = taught()
        assert {answer for _, answer in texts} == {"wave", "clap", "squat"}
        assert all(request.endswith("The action is:") for request, _ in texts)

    def test_no_more_sentences_than_the_training_reads_and_of_every_sequence_as_many(self, taught):
        rows, _ = taught(sentences=20, steps=2, batch_size=8)
        assert list(Counter(rows["label"]).values()) == [8, 8, 8], "16 examples of 12 sequences: two versions of each"
        every = {tuple(ids) for ids in taught(sentences=20)[0]["input_ids"]}
        assert {tuple(ids) for ids in rows["input_ids"]} < every
        assert len(taught(sentences=20)[1]) == 12 * 21

    def test_descriptions_beside_labels(self, taught):
        rows, texts = taught(answers="both")
        kinds = [request.endswith("The action is:") for request, _ in texts]
        assert sum(kinds) * 2 == len(kinds) == 2 * len(taught()[1])
        described = {answer for (_, answer), is_label in zip(texts, kinds, strict=True) if not is_label}
        assert len(described) > 3 and not described & {"wave", "clap", "squat"}
        assert len(set(rows["prompt_length"])) == 1  # so that batches mix requests

    def test_questions_have_their_share(self, taught):
        _, texts = taught(question_share=0.5)
        asked = [answer for request, answer in texts if request.endswith("Answer:")]
        assert 0.4 < len(asked) / len(texts) < 0.6
        assert set(asked) <= {answer for attribute in ATTRIBUTES.values() for answer in attribute.values}

    def test_a_description_names_attributes_in_any_order(self):
        description = LabelDescription(("it moves",), (), {"arms": ("right arm",), "body": ("level",)})
        drawn = {drawn_description("x", description, np.random.default_rng(seed)) for seed in range(40)}
        phrases = "the right arm moves, the body stays level", "the body stays level, the right arm moves"
        assert drawn == {"it moves", *phrases}

    def test_unseen_labels_are_never_described(self, tiny_config, tiny_export):
        processor = LlmArProcessor.from_pretrained(tiny_export)
        experiment: Experiment = load_experiment(tiny_config, ["unseen=[clap]", "recognizer.answers=both"])
        requests = Requests(experiment, processor, ["wave", "clap"])
        assert set(requests.descriptions) == {"wave"}

    def test_joints_and_label_are_both_heard_where_they_disagree(self, tiny_config, tiny_export):
        processor = LlmArProcessor.from_pretrained(tiny_export)
        experiment = load_experiment(tiny_config, ["recognizer.question_share=0.92"])
        requests, answers = Requests(experiment, processor, ["wave"]), []
        request = processor.tokenizer(f"\nQuestion: {ATTRIBUTES['arms'].question} Answer:", add_special_tokens=False)
        persons = SkeletonFeatureExtractor(requests.layout).normalize(generate_sequence("clapping hands", 1, 2, 1))
        assert attribute_values(persons, requests.layout)["arms"] == "both arms"  # the label says the right arm
        for seed in range(60):
            given = requests(0, persons, np.random.default_rng(seed))
            answers += [
                processor.tokenizer.decode(ids[:-1]).strip() for asked, ids in given if asked == request["input_ids"]
            ]
        assert set(answers) == {"both arms", "right arm"} and 0.3 < answers.count("both arms") / len(answers) < 0.7

    @pytest.mark.parametrize("wrong", ("recognizer.answers=sometimes", "recognizer.question_share=1"))
    def test_settings_out_of_range(self, tiny_config, wrong):
        with pytest.raises(ValueError, match=wrong.split("=")[0].split(".")[1]):
            load_experiment(tiny_config, [wrong])
