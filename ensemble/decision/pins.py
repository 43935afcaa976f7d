"""Pairs whose match people decided."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def _no_pairs() -> Index:
    return np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Pins:
    """Pairs of listings that must match, and pairs that must never be in one group.

    Args:
        must: Rows of pairs that sell the same product, int64 [k, 2].
        never: Rows of pairs that do not, int64 [m, 2].

    Examples:
        >>> len(Pins(must=np.array([[0, 1], [1, 2]])))
        2
    """

    must: Index = field(default_factory=_no_pairs)
    never: Index = field(default_factory=_no_pairs)

    def __len__(self) -> int:
        return len(self.must) + len(self.never)
