"""The prefix tree of the labels: what is stored, how labels are spelled and tokenised, and what is refused."""

import pytest
from transformers import PreTrainedTokenizerFast

from llm_action.modeling.label_tree import LabelTree, label_token_ids

END = 2


def test_labels_are_tokenised_as_the_prompt_goes_on(tokenizer):
    labels = ["throw", "throw a ball", "人が歩く", "naïve café", "take off a hat/cap", "(none)"]
    tree = LabelTree.from_labels(labels, tokenizer)
    assert tree.labels == tuple(labels)
    for label, path in zip(labels, tree.paths, strict=True):
        ids = tree.token_ids[path[path > 0]].tolist()
        whole = tokenizer(f"Action: {label}", add_special_tokens=False)["input_ids"]
        assert tokenizer("Action:", add_special_tokens=False)["input_ids"] + ids == [*whole, tokenizer.eos_token_id]
        assert tokenizer.decode(ids[:-1]) == f" {label}"


def test_shared_beginnings_are_stored_once():
    tree = LabelTree.from_token_ids([[5, 6, 7], [5, 6], [5, 8], [9]], END)
    edges = {(tuple_path(tree, node)) for node in range(1, len(tree.token_ids))}
    assert edges == {(5,), (5, 6), (5, 6, 7), (5, 6, 7, END), (5, 6, END), (5, 8), (5, 8, END), (9,), (9, END)}
    assert len(tree.token_ids) == 1 + len(edges)
    assert [tuple_path(tree, p[p > 0][-1]) for p in tree.paths] == [(5, 6, 7, END), (5, 6, END), (5, 8, END), (9, END)]


def tuple_path(tree, node):
    tokens = []
    while node:
        tokens.insert(0, int(tree.token_ids[node]))
        node = int(tree.parents[node])
    return tuple(tokens)


def test_spelling_is_normalised(tokenizer):
    tree = LabelTree.from_labels(["  drink \t water\n", "cafe\u0301"], tokenizer)
    assert tree.labels == ("drink water", "café")
    assert label_token_ids(["  drink \t water\n"], tokenizer) == label_token_ids(["drink water"], tokenizer)
    assert len(LabelTree.from_labels(["Throw", "throw"], tokenizer)) == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "at least one label"),
        (["throw", "  "], r"'  '"),
        (["throw a ball", "x", "throw  a ball "], r"'throw a ball' and 'throw  a ball '"),
        (["caf\u00e9", "cafe\u0301"], "distinct labels"),
    ],
)
def test_bad_label_lists_are_refused(labels, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        LabelTree.from_labels(labels, tokenizer)


def test_labels_that_overlap_as_tokens_are_refused():
    with pytest.raises(ValueError, match="'label 0' begins 'label 1'"):
        LabelTree.from_token_ids([[5], [5, 6]], end_token_id=None)
    with pytest.raises(ValueError, match="'walk' has the same tokens as 'WALK'"):
        LabelTree.from_token_ids([[5, 6], [5, 6]], END, ["walk", "WALK"])
    with pytest.raises(ValueError, match="contains the end token"):
        LabelTree.from_token_ids([[5, END, 6]], END)
    with pytest.raises(ValueError, match="no tokens"):
        LabelTree.from_token_ids([[]], END)


def test_without_end_token_a_tokenizer_needs_one_given(tokenizer):
    endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match="end_token_id"):
        LabelTree.from_labels(["throw"], endless)
    assert len(LabelTree.from_labels(["throw"], endless, end_token_id=1)) == 1
