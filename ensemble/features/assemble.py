"""Joins the families of pair features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import pandas as pd

from ensemble.config import EnsembleConfig, Family, ScorerConfig
from ensemble.features.attributes import attribute_features
from ensemble.features.branches import of_branches
from ensemble.features.images import of_images
from ensemble.features.pools import of_pool
from ensemble.features.titles import of_titles
from ensemble.pool_views import BranchView, Chosen, Describe, PoolViews
from shared.errors import MatcherError
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Catalog, Embeddings, PairFeatures
from shared.search.exact import nearest
from shared.search.threads import map_blocks

BLOCK = 1 << 17  # pairs that are described at a time
PART = 1 << 13  # of them, in a thread at a time
FAMILIES: dict[Family, Callable[[PoolViews, CandidatePairs], Describe]] = {
    "branches": of_branches,
    "titles": of_titles,
    "attributes": attribute_features,
    "images": of_images,
    "pool": of_pool,
}


class Description:
    """The features of a pool's pairs, of a range of pairs at a time.

    What depends on the whole pool (neighborhoods, ranks, how rare words are, what titles state) is worked out once. The
    features of a pair do not depend on the range in which it is described, nor on the number of threads.

        for block in Description(pool, pairs).blocks():
            scorer.first.score(block)

    Args:
        pool: n listings with every branch's view of them.
        pairs: p pairs of these listings.
        families: Families of features, in the order of their columns.
    """

    def __init__(self, pool: PoolViews, pairs: CandidatePairs, families: Iterable[Family] = tuple(FAMILIES)) -> None:
        self.pairs, self._threads = pairs, pool.threads
        self._describe = {family: FAMILIES[family](pool, pairs) for family in families}

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def families(self) -> set[Family]:
        """Return the families of features."""
        return set(self._describe)

    def block(self, rows: Chosen, without: Collection[Family] = ()) -> PairFeatures:
        """Return some of the pairs with their features, float32 columns by name; NaN means unknown.

        Args:
            rows: Which pairs.
            without: Families of features to leave out.
        """
        describes = [describe for family, describe in self._describe.items() if family not in without]
        names = [name for describe in describes for name in describe(slice(0, 0))]
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        values = np.empty((len(names), len(chosen)), dtype=np.float32)

        def fill(start: int) -> None:
            part = chosen[start : start + PART]
            some = slice(part.start, part.stop) if isinstance(part, range) else part
            columns = (column for describe in describes for column in describe(some).values())
            for row, column in zip(values, columns, strict=True):
                row[start : start + PART] = column

        map_blocks(fill, range(0, len(chosen), PART), self._threads)
        features = pd.DataFrame(values.T, columns=names, copy=False)
        return PairFeatures(self.pairs.n, self.pairs.left[rows], self.pairs.right[rows], features)

    def blocks(self, start: int = 0, stop: int | None = None, size: int = BLOCK) -> Iterator[PairFeatures]:
        """Yield a range of the pairs with their features, block by block; one block where there are none.

        Args:
            start: Row of the first pair.
            stop: Row behind the last pair; None: that of all pairs.
            size: Pairs in a block; the memory that is needed grows with it, by half a KB per pair.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        for first in range(start, max(stop, start + 1), size):
            yield self.block(slice(first, min(first + size, stop)))

    def whole(self) -> PairFeatures:
        """Return all pairs with their features, 4 bytes for each feature of each pair."""
        return joined(self.blocks(), self.pairs)


def joined(blocks: Iterable[PairFeatures], pairs: CandidatePairs) -> PairFeatures:
    """Return described pairs as one.

    Args:
        blocks: Ranges of the pairs with the same features, one after the other; at least one.
        pairs: All of them.

    Examples:
        >>> rows = np.array([[0, 0], [1, 2]], np.int32)
        >>> tables = [pd.DataFrame({"tfidf_cosine": np.array([value], np.float32)}) for value in (0.5, 0.25)]
        >>> blocks = [PairFeatures(3, *rows[:, [at]], table) for at, table in enumerate(tables)]
        >>> joined(blocks, CandidatePairs(3, *rows)).features["tfidf_cosine"].tolist()
        [0.5, 0.25]
    """
    values, names, start = np.empty((0, len(pairs)), dtype=np.float32), list[str](), 0
    for block in blocks:
        if not names:
            names = list(map(str, block.features))
            values = np.empty((len(names), len(pairs)), dtype=np.float32)
        values[:, start : start + len(block)] = block.features.to_numpy().T
        start += len(block)
    features = pd.DataFrame(values.T, columns=names, copy=False)
    return PairFeatures(pairs.n, pairs.left, pairs.right, features)


def pair_features(pool: PoolViews, pairs: CandidatePairs, families: Iterable[Family] = tuple(FAMILIES)) -> PairFeatures:
    """Return the same pairs with their features, all in memory; arguments as for `Description`.

    Examples:
        >>> table = CATALOG_SCHEMA.empty_table()
        >>> nobody = PoolViews(Catalog(table), {"tfidf": empty_view()})
        >>> no_rows = np.zeros(0, np.int32)
        >>> described = pair_features(nobody, CandidatePairs(0, no_rows, no_rows), ["branches"])
        >>> list(described.features)[:3]
        ['tfidf_cosine', 'tfidf_rank_low', 'tfidf_rank_high']
    """
    return Description(pool, pairs, families).whole()


def feature_names(branches: Iterable[str]) -> dict[Family, list[str]]:
    """Return the names of the features of each family: family → columns of `pair_features` with these branches.

    Examples:
        >>> feature_names(["tfidf"])["images"][:2]
        ['image_equal', 'image_aspect_gap']
    """
    empty_pool = PoolViews(Catalog(CATALOG_SCHEMA.empty_table()), dict.fromkeys(branches, empty_view()))
    rows = np.zeros(0, dtype=np.int32)
    nothing = CandidatePairs(0, rows, rows)
    return {name: list(family(empty_pool, nothing)(slice(None))) for name, family in FAMILIES.items()}


def empty_view() -> BranchView:
    """Return a branch's view of a pool without listings.

    Examples:
        >>> len(empty_view().embeddings), len(empty_view().candidates)
        (0, 0)
    """
    embeddings = Embeddings(np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.bool_))
    return BranchView(embeddings, nearest(embeddings, 1, np))


def excluded_features(ensemble: EnsembleConfig, scorer: ScorerConfig) -> list[str]:
    """Return the names of the features that the pairs have and the scorer must not use.

    Raises:
        MatcherError: No feature would be left.

    Examples:
        >>> excluded_features(EnsembleConfig(), ScorerConfig(exclude_features=["images"]))[:2]
        ['image_equal', 'image_aspect_gap']
    """
    if set(ensemble.features) <= set(scorer.exclude_features):
        raise MatcherError("scorer.exclude_features names every family of ensemble.features: no feature is left")
    families = feature_names(ensemble.branches)
    return [name for family in ensemble.features if family in scorer.exclude_features for name in families[family]]
