"""The part of an index that one more listing touches, made ready to be matched with it.

What is said of a pair depends on who else is near to both of its listings. So the pool of a question holds the listings
that have it among their nearest or are among its own, all that these are linked to, and the rest of their groups. Links
are those of the whole index, with the question in its place among them; which words are rare is known from the whole
index, too. Only how rare the question's own terms have become by it is not seen by the TF-IDF branch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from ensemble.index.kept import among
from ensemble.index.state import State
from ensemble.matcher import Matcher
from ensemble.pool import Evidence, PoolEvidence, Words
from shared.neighbours import Known
from shared.schema import Catalog, Embeddings, Flags, Vectors
from shared.titles import normalise, normalise_all

ROUNDING = 1e-5  # more than a float32 product and a kept similarity differ by

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
        self._reach = {name: Reach(view) for name, view in state.views.items()}
        self._words = Words.of(normalise_all(state.catalog.titles))
        groups = [state.group_ids[posting_id] for posting_id in state.catalog.ids]
        self._group = np.unique(groups, return_inverse=True)[1]

    def pool(self, question: Catalog) -> PoolEvidence:
        """The pool of a question, which is its last listing; the pairs of the index in it are described before."""
        alone = {name: embed(question) for name, embed in self._embedders.items()}
        near = np.zeros(len(self.state), dtype=np.bool_)
        for name, embeddings in alone.items():
            if embeddings.present[0]:
                near |= self._reach[name].linked(embeddings.vectors)
        rows = self._rows(near)
        place = np.full(len(self.state), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        catalog = Catalog(pa.concat_tables([self.state.catalog.take(rows).table, question.table]))
        views = {name: self._view(name, embeddings, near, rows, place) for name, embeddings in alone.items()}
        words = self._words.and_of(normalise(question.titles[0]))
        return self.matcher.pool(catalog, views, among(self.state.pairs, place, len(catalog)), words)

    def _rows(self, near: Flags) -> Rows:
        """The listings that are near, those that they are paired with, and all of the groups of both; rising."""
        left, right = self.state.pairs.left, self.state.pairs.right
        of_near = near[left] | near[right]
        inside = near.copy()
        inside[left[of_near]] = inside[right[of_near]] = True
        return np.flatnonzero(np.isin(self._group, self._group[inside]))

    def _view(self, name: str, alone: Embeddings, near: Flags, rows: Rows, place: Rows) -> Evidence:
        """A branch's view of a question's pool; what links two listings that are not near is left out."""
        whole = self.state.views[name]
        vectors = _stacked(whole.embeddings.vectors[rows], alone.vectors)
        embeddings = Embeddings(vectors, np.concatenate([whole.embeddings.present[rows], alone.present]))
        found = whole.candidates
        linked = found.only(near[found.left] | near[found.right])
        left, right = (place[ends].astype(np.int32) for ends in (linked.left, linked.right))
        known = replace(linked, n=len(rows), left=left, right=right)
        grown = self.matcher.candidates(name, embeddings, Known(known, np.append(np.arange(len(rows)), -1)))
        # Of listings that are not near not all neighbours are there: the question seems nearer to them than it is.
        may_be = np.append(near[rows], True)
        return Evidence(embeddings, grown.only(may_be[grown.left] | (grown.right < len(rows))))


class Reach:
    """Which listings a branch may link to one that is not among them.

    Args:
        view: The branch's view of the index.
    """

    def __init__(self, view: Evidence) -> None:
        self._vectors, found = view.embeddings.vectors, view.candidates
        ranks = found.rank_left, found.rank_right
        listing = np.concatenate([ends[rank > 0] for ends, rank in zip((found.left, found.right), ranks, strict=True)])
        similarity = np.concatenate([found.similarity[rank > 0] for rank in ranks])
        neighbours = np.bincount(listing, minlength=found.n)
        self._most = int(neighbours.max(initial=1))
        self._least = float(found.similarity.min(initial=1.0))
        self._last = np.full(found.n, 1.0, dtype=np.float32)  # a listing's last neighbour is so similar
        np.minimum.at(self._last, listing, similarity)
        fullest = max(int(rank.max(initial=0)) for rank in ranks)
        self._last[neighbours < fullest] = self._least  # there is room for whatever the branch proposes at all

    def linked(self, vector: Vectors) -> Flags:
        """The listings that may have one with this vector, [1, d], among their nearest or be among its; bool [n]."""
        dense = vector.toarray()[0] if isinstance(vector, sparse.csr_array) else vector[0]
        similarity: NDArray[np.float32] = self._vectors @ dense
        least = similarity >= np.minimum(self._last, _nth(similarity, self._most)) - ROUNDING
        possible: Flags = least & (similarity >= max(self._least - ROUNDING, ROUNDING))
        return possible


def _nth(values: NDArray[np.float32], n: int) -> float:
    """The n-th largest; of fewer the smallest."""
    at = max(len(values) - n, 0)
    return float(np.partition(values, at)[at])


def _stacked(above: Vectors, below: Vectors) -> Vectors:
    if isinstance(above, sparse.csr_array):
        return sparse.csr_array(sparse.vstack([above, sparse.csr_array(below)], format="csr"))
    return np.concatenate([above, below])
