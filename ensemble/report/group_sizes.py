"""Sizes of groups: how many listings the groups of a pool have, beside how many they should have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGES = (1, 2, 3, 4, 5, 6, 11, 21, 51)  # the first size of each class; the last one is open


@dataclass(frozen=True)
class SizeClass:
    """Groups of about the same size.

    Args:
        name: Such as `6–10`.
        groups: Number of groups that matching made.
        products: Number of label groups; None where labels are not known.
    """

    name: str
    groups: int
    products: int | None


def group_size_classes(groups: NDArray[np.integer], codes: NDArray[np.integer] | None = None) -> list[SizeClass]:
    """Return the number of groups of each size, up to the largest size that occurs.

    Args:
        groups: Group number of each listing, int [n].
        codes: Label code of each listing, int [n], -1 where there is none: such listings count in no group; None where
            labels are not known.

    Examples:
        >>> group_size_classes(np.array([0, 0, 1]), np.array([0, 1, 2]))
        [SizeClass(name='1', groups=1, products=3), SizeClass(name='2', groups=1, products=0)]
        >>> group_size_classes(np.array([0, 0, 1]), np.array([0, -1, -1]))
        [SizeClass(name='1', groups=1, products=1)]
    """
    if codes is not None:
        groups, codes = groups[codes >= 0], codes[codes >= 0]
    matched, true = _counts(groups), None if codes is None else _counts(codes)
    used = [place for place in range(len(EDGES)) if matched[place] or (true is not None and true[place])]
    return [
        SizeClass(_name(place), int(matched[place]), None if true is None else int(true[place]))
        for place in range(max(used, default=-1) + 1)
    ]


def _counts(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many of some groups fall into each class of sizes, int64 [classes]."""
    _, sizes = np.unique(numbers, return_counts=True)
    return np.bincount(np.searchsorted(EDGES, sizes, side="right") - 1, minlength=len(EDGES))[: len(EDGES)]


def _name(place: int) -> str:
    first = EDGES[place]
    if place == len(EDGES) - 1:
        return f"{first}+"
    last = EDGES[place + 1] - 1
    return f"{first}" if first == last else f"{first}–{last}"
