"""Sorts of millions of integers, which many steps spend their time on."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys without repetition, rising; `np.unique` looks each of them up in a table first, in thirty times the time.

    Args:
        keys: From 0, int64 [e].
    """
    rising = np.sort(keys)
    first: NDArray[np.bool_] = np.diff(rising, prepend=-1) != 0
    return rising[first]


def best_first(listing: Any, value: Any, xp: ModuleType = np) -> Any:
    """What sorts entries by listing, and those of a listing from the largest value down; ties stay as they come.

    One stable sort of one integer an entry, several times as fast as one by two keys: the listing in its upper half,
    and below it the bits of the value, made to rise as the value falls.

    Args:
        listing: Rows, integers below 2^31, [e], of `xp`.
        value: float32 [e], of `xp`, not NaN.
        xp: numpy or CuPy.

    Returns:
        Positions, int64 [e].
    """
    bits = (value + np.float32(0)).view(np.int32)  # the sum makes -0 a 0
    rising = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # of two negative floats the one with more bits is smaller
    return xp.argsort((listing.astype(np.int64) << 32) - rising, kind="stable")
