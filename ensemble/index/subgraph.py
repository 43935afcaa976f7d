"""The part of an index that one more listing touches, made ready to be matched with it.

What is said of a pair depends on who else is near to both of its listings. So a question's pool holds

- the listings that are **near** it, by having it among their nearest or being among its own, in any branch;
- the rest of their groups, for the decision;
- all that the near ones are paired with. Of these only the links are needed: titles, pictures and vectors are left out.

Links and what is known of them are those of the index, with the question in its place among them, and what is rare is
known from all of it. Only how a TF-IDF link between two listings of the index changes by the question is not seen, nor,
where a term must be in several listings, what is alike by terms that only the question makes common.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from branches.stages import learns
from ensemble.index.pair_cache import among
from ensemble.index.state import State
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView, PoolViews, Words
from shared.config import BranchConfig
from shared.schema import Catalog, Embeddings, Flags, Floats, Vectors
from shared.search.exact import Known

ROUNDING = 1e-3  # more than most cosines differ by between embeddings made one by one and many at a time
TINY = 1e-6  # a similarity below it is taken for none
SHIFT = 0.03  # more than most cosines move by when one more listing changes how rare its terms are

Rows = NDArray[np.int64]


class Around:
    """An index made ready for questions.

    Args:
        matcher: The one that the index was made with.
        state: What the index holds.
    """

    def __init__(self, matcher: Matcher, state: State) -> None:
        self.matcher, self.state = matcher, state
        self._embedders = {name: matcher.embedder(name, state.catalog) for name in matcher.branches}
        self._reach = {name: Reach(view, matcher.settings.branch(name)) for name, view in state.views.items()}
        self._words = Words.of(state.catalog.normalized_titles)
        groups = [state.group_ids[posting_id] for posting_id in state.catalog.ids]
        self._group = np.unique(groups, return_inverse=True)[1]

    def pool(self, question: Catalog) -> PoolViews:
        """The pool of a question, which is its last listing, with what is proposed in it and known of the index."""
        alone = {name: embed(question) for name, embed in self._embedders.items()}
        near = np.zeros(len(self.state), dtype=np.bool_)
        for name, embeddings in alone.items():
            if embeddings.present[0]:
                near |= self._reach[name].linked(embeddings.vectors, ROUNDING if learns(name) else SHIFT)
        seen: Flags = np.isin(self._group, self._group[near])
        left, right = self.state.pairs.left, self.state.pairs.right
        linked = self.state.pairs.only(near[left] | near[right] | (seen[left] & seen[right]))
        rows = np.unique(np.concatenate([np.flatnonzero(seen), linked.left, linked.right]))
        place = np.full(len(self.state), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        listings = _without_content(self.state.catalog.take(rows), ~seen[rows])
        catalog = Catalog(pa.concat_tables([listings.table, question.table]))
        views = {name: self._view(name, alone[name], catalog, near, place) for name in alone}
        words = self._words.and_of(question.normalized_titles[0])
        pool = self.matcher.pool(catalog, views, among(linked, place, len(catalog)), words)
        return replace(pool, proposed=self.matcher.proposed(pool))

    def _view(self, name: str, alone: Embeddings, catalog: Catalog, near: Flags, place: Rows) -> BranchView:
        """A branch's view of a question's pool: vectors of the listings that are near, and what links them.

        A listing that is not near has no vector, and of its links those to near ones alone. So it is not searched
        again, whatever is missing of its neighbors, and nobody may ask what rank others have for it.
        """
        whole, last = self.state.views[name], len(catalog) - 1
        rows = np.append(place[near], last)
        if learns(name):
            vectors = np.concatenate([_dense(whole.embeddings)[near], _dense(alone)])
            embedded = Embeddings(vectors, np.append(whole.embeddings.present[near], alone.present))
        else:
            embedded = self._embedders[name](catalog.take(rows))
        found = whole.candidates
        linked = found.only(near[found.left] | near[found.right])
        left, right = (place[ends].astype(np.int32) for ends in (linked.left, linked.right))
        known = Known(replace(linked, n=last, left=left, right=right), np.append(np.arange(last), -1))
        embeddings = _among_others(embedded, rows, len(catalog))
        return BranchView(embeddings, self.matcher.candidates(name, embeddings, known))


class Reach:
    """Which listings a branch may link to one that is not among them.

    Args:
        view: The branch's view of the index.
        section: The branch's settings: which pairs it proposes.
    """

    def __init__(self, view: BranchView, section: BranchConfig) -> None:
        self._vectors, found = view.embeddings.vectors, view.candidates
        ranks = found.rank_left, found.rank_right
        listing = np.concatenate([ends[rank > 0] for ends, rank in zip((found.left, found.right), ranks, strict=True)])
        similarity = np.concatenate([found.similarity[rank > 0] for rank in ranks])
        self._neighbors, self._least = section.neighbors, section.minimum
        self._last = np.full(found.n, 1.0, dtype=np.float32)  # a listing's last neighbor is so similar
        np.minimum.at(self._last, listing, similarity)
        room = np.bincount(listing, minlength=found.n) < self._neighbors
        self._last[room] = self._least  # whatever the branch proposes at all

    def linked(self, vector: Vectors, slack: float) -> Flags:
        """The listings that may have another one among their nearest or be among its own, bool [n].

        Args:
            vector: Of the other one, [1, d]; beyond the columns of the index there may be more.
            slack: How far a similarity may be from what it would be in the index.
        """
        dense = vector.toarray()[0] if isinstance(vector, sparse.csr_array) else vector[0]
        similarity: NDArray[np.float32] = self._vectors @ dense[: self._vectors.shape[1]]
        least = similarity >= np.minimum(self._last, _nth(similarity, self._neighbors)) - slack
        possible: Flags = least & (similarity >= max(self._least - slack, TINY))
        return possible


def _nth(values: NDArray[np.float32], n: int) -> float:
    """The n-th largest; of fewer the smallest."""
    at = max(len(values) - n, 0)
    return float(np.partition(values, at)[at])


def _among_others(embeddings: Embeddings, rows: Rows, n: int) -> Embeddings:
    """Embeddings of some listings of a pool as those of the whole pool; of the others nothing is known."""
    spread = sparse.csr_array((np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))), shape=(n, len(rows)))
    present = np.zeros(n, dtype=np.bool_)
    present[rows] = embeddings.present
    return Embeddings(spread @ embeddings.vectors, present)


def _dense(embeddings: Embeddings) -> Floats:
    assert isinstance(embeddings.vectors, np.ndarray)
    return embeddings.vectors


def _without_content(catalog: Catalog, bare: Flags) -> Catalog:
    """The same listings, some of which have nothing but their posting id."""
    mask = pa.array(bare)
    table = catalog.table
    for at, name in enumerate(table.column_names):
        if name != "posting_id":
            column = pc.if_else(mask, pa.scalar(None, table.schema.field(at).type), table.column(at))
            table = table.set_column(at, table.schema.field(at), column)
    return Catalog(table)
