"""What is known about a pool once all branches have spoken: the material of candidates and features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, Floats, PairFeatures, locate


@dataclass(frozen=True)
class BranchView:
    """One branch's view of a pool."""

    embeddings: Embeddings
    candidates: Candidates


@dataclass(frozen=True)
class Words:
    """How many of a pool's listings hold each word of its titles.

    Args:
        listings: Of the pool, with and without a title.
        holding: Word → listings.
    """

    listings: int
    holding: Mapping[str, int]

    @classmethod
    def of(cls, titles: Iterable[str]) -> Self:
        """Count the words of normalized titles, one a listing."""
        words = [set(title.split()) for title in titles]
        return cls(len(words), Counter(word for of_title in words for word in of_title))

    def and_of(self, title: str) -> Words:
        """The same with one more listing."""
        more = dict.fromkeys(title.split(), 1)
        return Words(self.listings + 1, {**self.holding, **{word: 1 + self.holding.get(word, 0) for word in more}})

    def idf(self, words: Iterable[str]) -> NDArray[np.float64]:
        """ln((1 + listings) / (1 + listings that hold it)) of each word, float64 [words]."""
        holding = np.array([self.holding.get(word, 0) for word in words], dtype=np.float64)
        return np.log((1 + self.listings) / (1 + holding))


@dataclass(frozen=True)
class PoolViews:
    """A pool's listings and every branch's view of them.

    Args:
        catalog: The listings.
        branches: Branch name → its view.
        xp: numpy or CuPy: where array work runs.
        threads: CPU threads for work that is not array work.
        described: Pairs of these listings with features that are known from before, such as do not depend on the pool.
        words: Of the larger pool that this one is a part of; None: it is whole.
        proposed: All pairs that the branches propose, where features are wanted of some of them; None: of all.
    """

    catalog: Catalog
    branches: Mapping[str, BranchView]
    xp: ModuleType = field(default=np, repr=False)
    threads: int = 1
    described: PairFeatures | None = None
    words: Words | None = None
    proposed: CandidatePairs | None = None

    def __len__(self) -> int:
        return len(self.catalog)

    @cached_property
    def titles(self) -> NDArray[Any]:
        """Normalized titles, str [n]; "" where there is none."""
        return self.catalog.normalized_titles

    def known_or(
        self, pairs: CandidatePairs, names: Sequence[str], worked_out: Callable[[CandidatePairs], Mapping[str, Floats]]
    ) -> dict[str, Floats]:
        """Features of pairs, float32 [p] by name: those known from before, and what is worked out of other pairs."""
        before = self.described
        if before is None or not set(names) <= set(before.features):
            return dict(worked_out(pairs))
        at, known = locate(pairs.key, before.key)
        new = worked_out(pairs.only(~known))
        columns = {}
        for name in names:
            columns[name] = np.zeros(len(pairs), dtype=np.float32)
            columns[name][known] = before.features[name].to_numpy()[at[known]]
            columns[name][~known] = new[name]
        return columns
