"""The part of a large pool that is needed to describe a few of its pairs as in the whole of it.

The features of a pair depend on which other listings are near its two listings. So the part holds both listings of each
pair, and the listings that they form pairs with; of the latter only the links, not their titles and files. How rare a
word is in the whole pool is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ensemble.features.branches import mean_of_known
from ensemble.features.pools import Leads, leads
from ensemble.index.pair_cache import CachedPairs
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView, Surroundings, Words
from shared.schema import CandidatePairs, Candidates, Catalog, Flags, PairFeatures

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Whole:
    """A large pool, a few of whose pairs are to be described.

        Whole(matcher, catalog, views, words).described(pairs, mask)

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

    @cached_property
    def _leads(self) -> Leads:
        return leads(self.views)

    def described(self, pairs: CachedPairs, mask: Flags) -> PairFeatures:
        """Return some of all pairs of the pool with the features that they have in it; `mask` is bool [p]."""
        targets = CandidatePairs(pairs.n, pairs.left[mask], pairs.right[mask])
        ends = np.zeros(pairs.n, dtype=np.bool_)
        ends[targets.left] = ends[targets.right] = True
        has_end = ends[pairs.left] | ends[pairs.right]
        in_part = ends.copy()
        in_part[pairs.left[has_end]] = in_part[pairs.right[has_end]] = True
        rows = np.flatnonzero(in_part)
        place = np.full(pairs.n, -1, dtype=np.int32)
        place[rows] = np.arange(len(rows))
        links = pairs.left[has_end], pairs.right[has_end]
        neighborhood = CandidatePairs(len(rows), place[links[0]], place[links[1]])
        pool = self.matcher.pool(
            _without_content(self.catalog.take(rows), ~ends[rows]),
            {name: _part(view, ends, rows, place) for name, view in self.views.items()},
            Surroundings(
                self.words,
                neighborhood,
                mean_of_known(list(pairs.cosines[has_end].T), np),
                self._leads,
            ),
        )
        part = self.matcher.describe(pool, CandidatePairs(len(rows), place[targets.left], place[targets.right]))
        return replace(part, n=targets.n, left=targets.left, right=targets.right)


def _part(view: BranchView, ends: Flags, rows: Index, place: NDArray[np.int32]) -> BranchView:
    """Return a branch's view of the listings at `rows`: their vectors, and their links with those in `ends`."""
    all_candidates = view.candidates
    links = all_candidates.only(ends[all_candidates.left] | ends[all_candidates.right])
    candidates = Candidates(
        len(rows), place[links.left], place[links.right], links.similarity, links.rank_left, links.rank_right
    )
    return BranchView(view.embeddings.take(rows), candidates)


def _without_content(catalog: Catalog, without: Flags) -> Catalog:
    """Return the same listings; those in `without` keep nothing but their posting id."""
    mask, table = pa.array(without), catalog.table
    for index, name in enumerate(table.column_names):
        if name != "posting_id":
            column = pc.if_else(mask, pa.scalar(None, table.schema.field(index).type), table.column(index))
            table = table.set_column(index, table.schema.field(index), column)
    return Catalog(table)
