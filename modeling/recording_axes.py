"""In which order the axes of an array can be: every way to see it as persons, frames, joints, channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations, product

import numpy as np

DOCUMENTED_ORDERS = ("(VC)", "T(VC)", "VC", "TVC", "MTVC", "NMTVC")  # that need no word
AXIS_NAMES = {"M": "persons", "T": "frames", "V": "joints", "C": "channels", "N": "recordings"}


def arrangements(array: np.ndarray, counts: set[int], axes: str | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to see an array as (persons, frames, joints, channels), the documented one first.

    Args:
        array: any number of axes.
        counts: numbers of joints that are possible.
        axes: letters as in `Conventions`, where they are known.

    Yields:
        The letters and a view of the array; no view twice.
    """
    seen = set()
    for letters in [axes] if axes is not None else _orders(array.ndim):
        for view in _arranged(array, letters, counts):
            strides = tuple(stride if size > 1 else 0 for size, stride in zip(view.shape, view.strides))
            if (view.shape, strides) not in seen:
                seen.add((view.shape, strides))
                yield letters, view


@lru_cache
def _orders(axes: int) -> list[str]:
    """Letters of all ways in which so many axes can be roles, the documented order first."""
    documented = [letters for letters in DOCUMENTED_ORDERS if len(axis_groups(letters)) == axes]
    whole = {2: "VC", 3: "TVC", 4: "MTVC", 5: "NMTVC"}.get(axes)
    found = ["".join(order) for order in permutations(whole)] if whole else []
    bundles = ("(VC)", "(CV)", "(MVC)", "(VCM)", "(MCV)")
    for rest in ({1: [""], 2: ["T"], 3: ["MT", "NT"]}).get(axes, []):
        for bundle in bundles:
            if not ("M" in rest and "M" in bundle):
                found += ["".join(order) for order in permutations([*rest, bundle])]
    found = [letters for letters in found if "N" not in letters[1:]]
    return [*documented, *(letters for letters in found if letters not in documented)]


@lru_cache
def axis_groups(letters: str) -> list[str]:
    """The letters of each axis of the array: "MT(VC)" has M, T and VC."""
    return [group.strip("()") for group in re.findall(r"\(\w+\)|\w", letters)]


def _arranged(array: np.ndarray, letters: str, counts: set[int]) -> Iterator[np.ndarray]:
    """The array as (persons, frames, joints, channels), once for each way in which the letters fit its shape."""
    groups = axis_groups(letters)
    if len(groups) != array.ndim:
        return
    order = "".join(groups)
    options = [[[size]] if len(group) == 1 else _split(group, size, counts) for group, size in zip(groups, array.shape)]
    for parts in product(*options):
        shape = [size for part in parts for size in part]
        sizes = dict(zip(order, shape))
        if sizes.get("V") not in counts or sizes.get("C") not in (2, 3, 4) or sizes.get("N", 1) != 1:
            continue
        view, named = array.reshape(shape), order
        for letter in "MT":
            if letter not in named:
                view, named = view[None], letter + named
        view = view.transpose([named.index(letter) for letter in "NMTVC" if letter in named])
        yield view[0] if "N" in named else view


def _split(group: str, size: int, counts: set[int]) -> list[list[int]]:
    """Sizes of the axes that are one axis of that size, for each number of joints and channels that gives it."""
    persons = 2 if "M" in group else 1
    found = [
        {"V": joints, "C": channels, "M": persons}
        for channels in (3, 2, 4)
        for joints in sorted(counts)
        if joints * channels * persons == size
    ]
    return [[sizes[letter] for letter in group] for sizes in found]
