"""Random choices, evenly or by shares, with the caller's generator."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    """Return one of the choices, each equally likely."""
    return choices[int(rng.integers(len(choices)))]


def pick_by_share(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """Return one of the names, each with a probability proportional to its share."""
    bounds = np.cumsum(list(shares.values()))
    number = np.searchsorted(bounds, rng.random() * bounds[-1], side="right")
    return list(shares)[min(int(number), len(shares) - 1)]
