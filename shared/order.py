"""The order in which listings' neighbours are looked at: by listing, the most similar first."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


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
