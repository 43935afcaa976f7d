"""The listings of a pool with every branch's embeddings and candidates, from which features are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, Floats

Chosen = slice | NDArray[np.int64]  # a range of the pairs of a pool, or the rising positions of some of them
Describe = Callable[[Chosen], dict[str, Any]]  # some of the pairs of a pool → their features by name, float32


@dataclass(frozen=True)
class BranchView:
    """One branch's view of a pool.

    Args:
        embeddings: Of the n listings.
        candidates: The pairs of them that the branch proposes.

    Examples:
        >>> rows, score = np.zeros(0, np.int32), np.zeros(0, np.float32)
        >>> embeddings = Embeddings(np.ones((2, 1), np.float32), np.ones(2, dtype=bool))
        >>> len(BranchView(embeddings, Candidates(2, rows, rows, score, rows, rows)).candidates)
        0
    """

    embeddings: Embeddings
    candidates: Candidates


@dataclass(frozen=True)
class Words:
    """The number of a pool's listings that hold each word of its titles.

    Args:
        listings: Number of listings in the pool, with and without a title.
        holding: Word → number of listings that hold it.

    Examples:
        >>> words = Words.of(["red mug", "red fan", ""])
        >>> words.listings, words.holding["red"]
        (3, 2)
        >>> words.changed(added=["red cup"], removed=["red fan"]).holding["red"]
        2
    """

    listings: int
    holding: Mapping[str, int]

    @classmethod
    def of(cls, titles: Iterable[str]) -> Self:
        """Return the counts of the words of normalized titles, one title per listing."""
        words = [set(title.split()) for title in titles]
        return cls(len(words), Counter(word for of_title in words for word in of_title))

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Words:
        """Return the counts after the titles of some listings are added and those of others are removed."""
        more, fewer = Words.of(added), Words.of(removed)
        holding = Counter(self.holding)
        holding.update(more.holding)
        holding.subtract(fewer.holding)
        return Words(self.listings + more.listings - fewer.listings, holding)

    def idf(self, words: Iterable[str]) -> NDArray[np.float64]:
        """Return ln((1 + listings) / (1 + listings that hold it)) of each word, float64 [words]."""
        return idf_of(self.listings, np.array([self.holding.get(word, 0) for word in words], dtype=np.float64))


def idf_of(listings: int, holding: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ln((1 + listings) / (1 + listings that hold it)) of each word, float64 [words].

    Args:
        listings: Number of listings in the pool.
        holding: How many of them hold each word, [words].

    Examples:
        >>> idf_of(3, np.array([3.0, 0.0])).round(2).tolist()
        [0.0, 1.39]
    """
    idf: NDArray[np.float64] = np.log((1 + listings) / (1 + holding.astype(np.float64)))
    return idf


@dataclass(frozen=True)
class Surroundings:
    """The part of a large pool that the features of a few of its pairs depend on.

        Surroundings(Words.of(titles), pairs, mean_cosine, leads(views))

    Args:
        words: Of the large pool.
        pairs: All its pairs that share a listing with those to describe, these among them, in rows of the small pool.
        cosine: Mean cosine of each over the branches, float32 [p]; NaN if it is unknown. For the pairs to describe it
            is computed and not read here.
        leads: Of the large pool, see `ensemble.features.pools`.
    """

    words: Words
    pairs: CandidatePairs
    cosine: Floats
    leads: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class PoolViews:
    """A pool's listings and every branch's view of them.

    Args:
        catalog: The listings.
        branches: Branch name → its view.
        xp: numpy or CuPy, by which array work is done.
        threads: CPU threads for all other work.
        surroundings: The larger pool that this one is a part of; None: this pool is whole.

    Examples:
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["Red Mug!", None]})
        >>> PoolViews(catalog, {}).titles.tolist()
        ['red mug', '']
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
        """Return the normalized titles, str [n]; "" for a listing without a title."""
        return self.catalog.normalized_titles

    @cached_property
    def written_titles(self) -> NDArray[Any]:
        """Return the titles as they are written, str [n]; "" for a listing without a title."""
        return self.catalog.titles
