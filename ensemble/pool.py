"""What is known about a pool once all branches have spoken: the material of candidates and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.schema import Candidates, Catalog, Embeddings, Pairs
from shared.titles import normalise_all


@dataclass(frozen=True)
class Evidence:
    """One branch's view of a pool."""

    embeddings: Embeddings
    candidates: Candidates


@dataclass(frozen=True)
class PoolEvidence:
    """A pool's listings and every branch's view of them.

    Args:
        catalog: The listings.
        branches: Branch name → its view.
        xp: numpy or CuPy: where array work runs.
        threads: CPU threads for work that is not array work.
        described: Pairs of these listings with features that are known from before: those of `titles.OF_TWO`.
    """

    catalog: Catalog
    branches: Mapping[str, Evidence]
    xp: ModuleType = field(default=np, repr=False)
    threads: int = 1
    described: Pairs | None = None

    def __len__(self) -> int:
        return len(self.catalog)

    @cached_property
    def titles(self) -> NDArray[Any]:
        """Normalised titles, str [n]; "" where there is none."""
        return normalise_all(self.catalog.titles)
