"""Candidate labels as a prefix tree of tokens: labels that begin alike share the nodes of their common beginning."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


def normalize_label(label: str) -> str:
    """The spelling a label is read and reported in: Unicode NFC, outer white space gone, inner runs one space.

    Case is kept: the model reads "Throw" and "throw" as different words, so they are different labels.
    """
    return " ".join(unicodedata.normalize("NFC", label).split())


def label_key(label: str) -> str:
    """What labels have in common that differ in case and white space alone: to look up what is known of a name."""
    return normalize_label(label).casefold()


def label_token_ids(labels: Sequence[str], tokenizer) -> list[list[int]]:
    """The tokens each label has as the continuation of a prompt that ends in a colon ("... Action:").

    A label is read as ": label" and the colon's own tokens are taken off again, because some tokenizers
    (SentencePiece) put a space of their own in front of a text that starts with one. Training targets and scoring
    must both use this function, else the model is asked about tokens it never learned.

    Args:
        labels: label texts, normalised with `normalize_label`.
        tokenizer: any Hugging Face tokenizer.

    Returns:
        One list of token ids a label, without special tokens.
    """
    if not labels:
        return []
    colon = tokenizer(":", add_special_tokens=False)["input_ids"]
    spaced = [f" {normalize_label(label)}" for label in labels]
    after_colon = tokenizer([f":{text}" for text in spaced], add_special_tokens=False)["input_ids"]
    alone = tokenizer(spaced, add_special_tokens=False)["input_ids"]
    return [
        list(ids[len(colon) :]) if list(ids[: len(colon)]) == list(colon) else list(plain)
        for ids, plain in zip(after_colon, alone, strict=True)
    ]


@dataclass(frozen=True)
class LabelTree:
    """A prefix tree over the labels' tokens, as flat tensors. Build it with `from_labels` or `from_token_ids`.

    Nodes are numbered in preorder and node 0 is the root (the prompt), so the subtree of node `i` is the range
    `i .. subtree_ends[i] - 1`, and `a` is `b` or an ancestor of `b` exactly if `a <= b < subtree_ends[a]`.

    Attributes:
        labels: the label texts, normalised, in the order given.
        token_ids: (nodes,) token of each node; 0 for the root, which has none.
        parents: (nodes,) parent of each node; 0 for the root.
        depths: (nodes,) tokens between the prompt and the node, the node counted; 0 for the root.
        subtree_ends: (nodes,) one past the last node of the subtree.
        children: (nodes - 1,) all nodes but the root, sorted by parent.
        num_children: (nodes,) how many children a node has.
        first_child: (nodes,) where in `children` a node's own begin.
        paths: (labels, longest label) nodes from the root's child to the label's last token, filled up with 0.
    """

    labels: tuple[str, ...]
    token_ids: Tensor
    parents: Tensor
    depths: Tensor
    subtree_ends: Tensor
    children: Tensor
    num_children: Tensor
    first_child: Tensor
    paths: Tensor

    @classmethod
    def from_labels(cls, labels: Sequence[str], tokenizer, end_token_id: int | None = None) -> LabelTree:
        """Tokenises the labels and builds their tree.

        Every label is closed with the end token, so that "throw" next to "throw a ball" means "throw" and no more.

        Args:
            labels: candidate labels; white space and Unicode form are normalised, case is kept.
            tokenizer: the language model's Hugging Face tokenizer.
            end_token_id: token that closes a label; default `tokenizer.eos_token_id`.

        Raises:
            ValueError: no labels, an empty label, two labels that are the same after normalisation or have the same
                tokens, or no end token.
        """
        names = [normalize_label(label) for label in labels]
        for name, label in zip(names, labels, strict=True):
            if not name:
                raise ValueError(f"Expected labels with text, got {label!r} among {len(names)} labels; remove it.")
        first_spelling: dict[str, str] = {}
        for name, label in zip(names, labels, strict=True):
            if name in first_spelling:
                raise ValueError(
                    f"Expected distinct labels, got {first_spelling[name]!r} and {label!r}, both {name!r} after "
                    "white space and Unicode normalisation; remove one."
                )
            first_spelling[name] = label
        end = tokenizer.eos_token_id if end_token_id is None else end_token_id
        if end is None:
            raise ValueError("The tokenizer has no end-of-sequence token; give end_token_id.")
        return cls.from_token_ids(label_token_ids(names, tokenizer), end, names)

    @classmethod
    def from_token_ids(
        cls, token_ids: Sequence[Sequence[int]], end_token_id: int | None, labels: Sequence[str] | None = None
    ) -> LabelTree:
        """Builds the tree from each label's tokens.

        Args:
            token_ids: one sequence of token ids a label, without the end token.
            end_token_id: token that closes every label; None: labels are not closed, and a label's probability is that
                of every answer that begins with it.
            labels: texts for messages and results; default "label 0", "label 1", ...

        Raises:
            ValueError: see `from_labels`; without an end token, a label that begins another.
        """
        names = tuple(labels) if labels is not None else tuple(f"label {i}" for i in range(len(token_ids)))
        if not names:
            raise ValueError("Expected at least one label, got an empty list.")
        for name, ids in zip(names, token_ids, strict=True):
            if not len(ids):
                raise ValueError(f"The label {name!r} has no tokens; the tokenizer must know at least part of it.")
            if end_token_id in ids:
                raise ValueError(f"The label {name!r} contains the end token {end_token_id}; take it out.")
        end = () if end_token_id is None else (end_token_id,)
        sequences = sorted((tuple(ids) + end, index) for index, ids in enumerate(token_ids))

        tokens, parents, depths = [0], [0], [0]
        path, previous_name = [0], ""
        previous: tuple[int, ...] = ()
        label_paths: list[Tensor] = [torch.empty(0)] * len(names)
        for sequence, index in sequences:
            shared = _common_length(previous, sequence)
            if previous and shared == len(previous):
                relation = "has the same tokens as" if shared == len(sequence) else "begins"
                raise ValueError(
                    f"The label {previous_name!r} {relation} {names[index]!r}, so their scores would overlap; "
                    "remove one or close the labels with an end token."
                )
            del path[shared + 1 :]
            for token in sequence[shared:]:
                tokens.append(int(token))
                parents.append(path[-1])
                depths.append(len(path))
                path.append(len(tokens) - 1)
            label_paths[index] = torch.tensor(path[1:])
            previous, previous_name = sequence, names[index]

        subtree_ends = [node + 1 for node in range(len(tokens))]
        for node in range(len(tokens) - 1, 0, -1):
            subtree_ends[parents[node]] = max(subtree_ends[parents[node]], subtree_ends[node])
        parent_of = torch.tensor(parents)
        num_children = torch.bincount(parent_of[1:], minlength=len(tokens))
        return cls(
            labels=names,
            token_ids=torch.tensor(tokens),
            parents=parent_of,
            depths=torch.tensor(depths),
            subtree_ends=torch.tensor(subtree_ends),
            children=parent_of[1:].argsort(stable=True) + 1,
            num_children=num_children,
            first_child=num_children.cumsum(0) - num_children,
            paths=torch.nn.utils.rnn.pad_sequence(label_paths, batch_first=True),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> LabelTree:
        """The same tree with its tensors on `device`."""
        tensors = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "labels"}
        return replace(self, **tensors)

    def must_be_read(self) -> Tensor:
        """(nodes,) bool: the nodes whose token the language model has to read before every label is scored.

        Never the root (the prompt was read) nor a leaf (nothing follows it).
        """
        is_inner = self.num_children > 0
        is_inner[0] = False
        return is_inner

    def leaves(self) -> Tensor:
        """(labels,): the last node of each label, whose log-probability after the prompt is the label's."""
        return self.paths.amax(1)  # preorder: a node's number is above its ancestors'

    def labels_below(self) -> Tensor:
        """(nodes,): how many labels end at or below each node."""
        ends_before = torch.nn.functional.pad((self.num_children == 0).long().cumsum(0), (1, 0))
        nodes = torch.arange(len(self.token_ids), device=self.token_ids.device)
        return ends_before[self.subtree_ends] - ends_before[nodes]


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens two sequences share."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
