"""What two listings have in common, counted by sparse rows: one row a listing, one column a thing it may have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from shared.schema import Floats, Pairs


def incidence(has: Sequence[Collection[str]]) -> Any:
    """Who has what: float32 CSR [n, things], 1 where a listing has a thing; things in alphabetical order."""
    column = {thing: at for at, thing in enumerate(things(has))}
    columns = [column[thing] for own in has for thing in sorted(own)]
    indptr = np.cumsum([0, *(len(own) for own in has)])
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_array((ones, columns, indptr), shape=(len(has), len(column)))


def things(has: Sequence[Collection[str]]) -> list[str]:
    """Everything that anyone has, in alphabetical order; the empty string where nobody has anything."""
    return sorted(set().union(*has)) or [""]


def shared_weight(rows: Any, others: Any, pairs: Pairs, block: int = 1 << 17) -> Floats:
    """Sum over things of `rows` of the left listing times `others` of the right one, float32 [p]."""
    parts = [np.zeros(0, dtype=np.float32)]
    for at in range(0, len(pairs), block):
        product = rows[pairs.left[at : at + block]].multiply(others[pairs.right[at : at + block]])
        parts.append(np.asarray(product.sum(axis=1), dtype=np.float32).ravel())
    return np.concatenate(parts)
