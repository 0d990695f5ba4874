"""What undescribed names are taken to mean, against a guess worked out name by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_action.modeling.action_attributes import ATTRIBUTES
from llm_action.modeling.action_lexicon import ActionLexicon, Movement
from llm_action.modeling.attribute_likelihood import AttributeStatistics, LabelLexicon, attributes_entry
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.prompt_states import KeptStates

LEXICON = {
    "waving": "arms: right arm; repeated: yes",
    "clapping": "arms: both arms; together: yes",
    "squatting down": "body: down, down and up",
}
EMPTY = LabelDescription()


@pytest.fixture(scope="module")
def language_model(tiny_base):
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    return model, AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def statistics() -> AttributeStatistics:
    """Of one motion that shows the first answer to every question."""
    numbers = np.zeros((1, len(ATTRIBUTES)), np.int64)
    return AttributeStatistics.gathered(numbers, ["wave"], {"wave": EMPTY})


def meant(statistics, language_model, labels: dict[str, LabelDescription], lexicon=LEXICON):
    described = list(labels), list(labels.values())
    return LabelLexicon(lexicon).value_shares(*described, statistics, *language_model, KeptStates())


def test_entries_say_what_the_description_does():
    description = LabelDescription(("a",), ("b",), {"arms": ("right arm", "left arm"), "repeated": ("no",)})
    assert attributes_entry(description) == "arms: right arm, left arm; repeated: no"
    lexicon = LabelLexicon({"Wave": attributes_entry(description), "nothing": ""})
    assert lexicon.known == {"wave": LabelDescription(attributes=description.attributes), "nothing": EMPTY}
    with pytest.raises(ValueError, match="label_lexicon: 'wave': unknown attribute 'tail'"):
        LabelLexicon({"wave": "tail: long"})


def test_attributes_of_ones_own_come_first_then_those_of_the_name(statistics, language_model):
    mine = LabelDescription(attributes={"arms": ("left arm",)})
    found = meant(statistics, language_model, {"waving": mine, "Squatting  down": EMPTY})
    assert found["arms"].tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    down, up = np.array(statistics.shares["body"])[[0, 2]]
    np.testing.assert_allclose(found["body"], [[0, 0, 0, 0], [down / (down + up), 0, up / (down + up), 0]])


def test_other_names_mean_what_names_read_alike_do(statistics, language_model):
    """Cosines of the centred mean states of one layer, in a softmax with a temperature of 0.07; 0.3 for the mean of all
    that say anything."""
    model, tokenizer = language_model

    def state(name: str) -> np.ndarray:
        before = tokenizer('The movement "')["input_ids"]
        ids = tokenizer(f'The movement "{name}" means that the body', return_tensors="pt")
        with torch.no_grad():
            hidden = model(**ids, output_hidden_states=True).hidden_states
        layer = max(1, round(0.4 * model.config.num_hidden_layers))
        return hidden[layer][0, len(before) :].double().mean(0).numpy()

    known = np.stack([state(name) for name in LEXICON])
    ours = np.mean([state("greet"), state("hello there")], axis=0)
    centred, mine = known - known.mean(0), ours - known.mean(0)
    cosines = centred @ mine / np.linalg.norm(centred, axis=1) / np.linalg.norm(mine)
    waving, clapping, squatting = np.exp(cosines / 0.07) / np.exp(cosines / 0.07).sum()

    explained = LabelDescription(("hello there",))
    found = meant(statistics, language_model, {"waving": EMPTY, "greet": explained, "a much longer name": EMPTY})
    arms = np.array([waving + 0.15, 0, clapping + 0.15, 0])
    np.testing.assert_allclose(found["arms"][1], arms / arms.sum(), rtol=1e-3)
    body = statistics.value_shares([LabelLexicon(LEXICON).known["squatting down"]])["body"][0]
    np.testing.assert_allclose(found["body"][1], body * (squatting + 0.3) / (body.sum() * (squatting + 0.3)))
    assert found["repeated"][1].tolist() == [1, 0] and not found["feet"].any()
    assert found["arms"][0].tolist() == [1, 0, 0, 0]


def test_names_that_differ_in_case_are_one(statistics, language_model):
    found = meant(statistics, language_model, {"greet": EMPTY}, {"Wave": "arms: left arm", "wave": "arms: right arm"})
    assert found["arms"].tolist() == [[1, 0, 0, 0]]


def test_nothing_is_guessed_without_a_lexicon(statistics, language_model):
    found = meant(statistics, language_model, {"greet": EMPTY}, {})
    assert not any(shares.any() for shares in found.values())


def test_with_a_lexicon_the_language_model_reads_nothing(statistics):
    """Its names are found however they are put; others mean what names of the same words do."""
    lexicon = ActionLexicon(
        [
            Movement("raise your hand", ("put your hand up",), {"arms": ("right arm",)}),
            Movement("squat", (), {"body": ("down",)}),
        ]
    )
    labels = ["raising a hand", "deep squat"]
    known = LabelLexicon({"squatting": "body: up"}, lexicon)
    found = known.value_shares(labels, [EMPTY, EMPTY], statistics, None, None, KeptStates())
    assert found["arms"][0].tolist() == [1, 0, 0, 0] and not found["body"][0].any()
    assert found["body"][1].argmax() == 0
