"""What is known about a pool once all branches have spoken: the material of candidates and features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, Floats


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
        """Count the words of normalized titles, one title per listing."""
        words = [set(title.split()) for title in titles]
        return cls(len(words), Counter(word for of_title in words for word in of_title))

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Words:
        """Return the counts once listings with some titles are added and others, of those counted, are removed."""
        more, fewer = Words.of(added), Words.of(removed)
        holding = Counter(self.holding)
        holding.update(more.holding)
        holding.subtract(fewer.holding)
        return Words(self.listings + more.listings - fewer.listings, holding)

    def idf(self, words: Iterable[str]) -> NDArray[np.float64]:
        """Return ln((1 + listings) / (1 + listings that hold it)) of each word, float64 [words]."""
        holding = np.array([self.holding.get(word, 0) for word in words], dtype=np.float64)
        return np.log((1 + self.listings) / (1 + holding))


@dataclass(frozen=True)
class Surroundings:
    """What features of a few pairs need to know of the large pool that their listings are a part of.

    Args:
        words: Of the large pool.
        pairs: All its pairs that share a listing with those to describe, these among them, in rows of the small pool.
        cosine: Mean cosine of each over the branches, float32 [p]; NaN where it is unknown. That of the pairs to
            describe is computed, whatever stands here.
    """

    words: Words
    pairs: CandidatePairs
    cosine: Floats


@dataclass(frozen=True)
class PoolViews:
    """A pool's listings and every branch's view of them.

    Args:
        catalog: The listings.
        branches: Branch name → its view.
        xp: numpy or CuPy: where array work runs.
        threads: CPU threads for work that is not array work.
        surroundings: What is known of the larger pool that this one is a part of; None: it is whole.
    """

    catalog: Catalog
    branches: Mapping[str, BranchView]
    xp: ModuleType = field(default=np, repr=False)
    threads: int = 1
    surroundings: Surroundings | None = None

    def __len__(self) -> int:
        return len(self.catalog)

    @cached_property
    def titles(self) -> NDArray[Any]:
        """Normalized titles, str [n]; "" where there is none."""
        return self.catalog.normalized_titles
