"""The part of a large pool that is needed to describe a few of its pairs as in the whole of it.

What is said of a pair depends on who else is near its two listings. So the part holds both listings of each pair, and
whoever they are paired with; of these the links alone, not their titles and files. How rare a word is, is known of the
whole pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ensemble.features.branches import mean_of_known
from ensemble.index.pair_cache import CachedPairs
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView, Surroundings, Words
from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, Flags, PairFeatures

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Whole:
    """A large pool.

    Args:
        matcher: Describes its pairs.
        catalog: n listings.
        views: Branch → its view of them.
        words: How many of them hold each word.
    """

    matcher: Matcher
    catalog: Catalog
    views: Mapping[str, BranchView]
    words: Words

    def described(self, pairs: CachedPairs, some: Flags) -> PairFeatures:
        """Return some of all pairs of the pool with the features they have in it; `some` is bool [p]."""
        wanted = CandidatePairs(pairs.n, pairs.left[some], pairs.right[some])
        ends = np.zeros(pairs.n, dtype=np.bool_)
        ends[wanted.left] = ends[wanted.right] = True
        around = ends[pairs.left] | ends[pairs.right]
        linked = ends.copy()
        linked[pairs.left[around]] = linked[pairs.right[around]] = True
        rows = np.flatnonzero(linked)
        place = np.full(pairs.n, -1, dtype=np.int32)
        place[rows] = np.arange(len(rows))
        links = pairs.left[around], pairs.right[around]
        known = CandidatePairs(len(rows), place[links[0]], place[links[1]])
        pool = self.matcher.pool(
            _without_content(self.catalog.take(rows), ~ends[rows]),
            {name: _part(view, ends, rows, place) for name, view in self.views.items()},
            Surroundings(self.words, known, mean_of_known(list(pairs.cosines[around].T), np)),
        )
        part = self.matcher.describe(pool, CandidatePairs(len(rows), place[wanted.left], place[wanted.right]))
        return replace(part, n=wanted.n, left=wanted.left, right=wanted.right)


def _part(view: BranchView, ends: Flags, rows: Index, place: NDArray[np.int32]) -> BranchView:
    """A branch's view of the listings at `rows`: their vectors, and their links with those in `ends`."""
    found = view.candidates
    linked = found.only(ends[found.left] | ends[found.right])
    candidates = Candidates(
        len(rows), place[linked.left], place[linked.right], linked.similarity, linked.rank_left, linked.rank_right
    )
    return BranchView(taken(view.embeddings, rows), candidates)


def taken(embeddings: Embeddings, rows: Index) -> Embeddings:
    """Return the embeddings of the listings at `rows`, in that order."""
    return Embeddings(embeddings.vectors[rows], embeddings.present[rows])


def _without_content(catalog: Catalog, bare: Flags) -> Catalog:
    """Return the same listings, some of which have nothing but their posting id."""
    mask, table = pa.array(bare), catalog.table
    for index, name in enumerate(table.column_names):
        if name != "posting_id":
            column = pc.if_else(mask, pa.scalar(None, table.schema.field(index).type), table.column(index))
            table = table.set_column(index, table.schema.field(index), column)
    return Catalog(table)
