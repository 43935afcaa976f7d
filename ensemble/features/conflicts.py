"""Conflicts between the attributes that two titles state: which pairs are in conflict, and in which kinds.

A kind of attribute is one bit of a mask, so that the decision can choose the kinds that forbid a match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

import numpy as np

from ensemble.config import Kind
from shared.schema import Flags, Mask, PairFeatures

KINDS: tuple[Kind, ...] = get_args(Kind)  # a mask has the bit 1 << index for each
IN_WORDS: Mapping[Kind, str] = {"quantity": "quantity", "size": "size", "model": "model number", "color": "color"}
QUANTITY_CONFLICT = "quantity_conflict"  # name of the feature


def conflict_mask(pairs: PairFeatures) -> Mask | None:
    """Return the kinds of attributes in which two titles are in conflict, uint8 [p]; None if the pairs lack features.

    Titles are in conflict in their quantities as `quantity_conflict` says; in sizes, model numbers or colors where both
    state some and have none in common. Bit `1 << KINDS.index(kind)` stands for a kind.

    Examples:
        >>> import pandas as pd
        >>> columns = {QUANTITY_CONFLICT: [1, np.nan], "color_shared": [0, 1], "color_odd_low": [1, 2]}
        >>> columns |= {f"{k}_{n}": [np.nan, 0] for k in ("quantity", "size", "model") for n in ("shared", "odd_low")}
        >>> rows, table = np.array([0, 1], np.int32), pd.DataFrame(columns, dtype=np.float32)
        >>> conflict_mask(PairFeatures(3, rows, rows + 1, table)).tolist()
        [9, 0]
    """
    if not {QUANTITY_CONFLICT, *(f"{kind}_shared" for kind in KINDS)} <= set(pairs.features):
        return None
    mask = np.zeros(len(pairs), dtype=np.uint8)
    for bit, kind in enumerate(KINDS):
        if kind == "quantity":
            conflict = pairs.features[QUANTITY_CONFLICT] == 1
        else:
            conflict = (pairs.features[f"{kind}_shared"] == 0) & (pairs.features[f"{kind}_odd_low"] > 0)
        mask[conflict.to_numpy()] |= 1 << bit
    return mask


def in_conflict(mask: Mask, kinds: Iterable[Kind]) -> Flags:
    """Return which pairs are in conflict in at least one of some kinds of attributes, bool [p].

    Args:
        mask: `conflict_mask` of the pairs, uint8 [p].
        kinds: The kinds.

    Examples:
        >>> in_conflict(np.array([0, 1, 2, 5], np.uint8), ["size", "model"]).tolist()
        [False, False, True, True]
    """
    bits = sum(1 << KINDS.index(kind) for kind in kinds)
    flags: Flags = (mask & np.uint8(bits)) > 0
    return flags
