"""Draws from a list, evenly or by shares, from a generator that the caller owns."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    """One of the choices, each equally likely."""
    return choices[int(rng.integers(len(choices)))]


def pick_by_share(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of the names, each as likely as its share of the sum."""
    bounds = np.cumsum(list(shares.values()))
    at = np.searchsorted(bounds, rng.random() * bounds[-1], side="right")
    return list(shares)[min(int(at), len(shares) - 1)]
