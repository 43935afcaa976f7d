"""Which listings of an index sell the product of one listing that is not in it, within a second or two.

To match it with the whole index takes as long as growing the index. So it is matched in a pool of its own: with the
listings nearest to it by each branch and by title, the rest of their groups, and others from all over the index up to
`POOL` listings, since how rare a word or how near a neighbour is depends on the pool. Its scores differ from those
it would get in the index; those of all other pairs are the index's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from ensemble.index.grow import described_before
from ensemble.index.reasons import reasons
from ensemble.index.state import State
from ensemble.matcher import Matcher
from ensemble.pool import Evidence, PoolEvidence
from ensemble.result import Result
from ensemble.rules import scores
from shared.schema import Catalog, Embeddings, Pairs
from shared.titles import normalise, normalise_all

NEAR = 25  # nearest listings by each branch, and by title
POOL = 300  # listings of the index that the question is matched with

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """A listing of the index that may sell the product asked about.

    Attributes:
        posting_id: Its id.
        group_id: The id of its group.
        title: As written; "" where there is none.
        score: Probability that both sell the same product, in [0, 1]; NaN where it matches by its group alone.
        matches: Whether the decision takes them for the same product.
        reasons: What speaks for and against, in words.
    """

    posting_id: str
    group_id: str
    title: str
    score: float
    matches: bool
    reasons: str


class Questions:
    """An index made ready to be asked.

    Args:
        matcher: The one that the index was made with; how many listings it embeds at a time plays no part.
        state: What the index holds.
    """

    def __init__(self, matcher: Matcher, state: State) -> None:
        self.matcher, self.state = matcher, state
        self._titles = normalise_all(state.catalog.titles)
        self._members: dict[str, list[int]] = {}
        for row, posting_id in enumerate(state.catalog.ids):
            self._members.setdefault(state.group_ids[posting_id], []).append(row)
        matcher.embed(state.catalog.take(np.zeros(0, dtype=np.int64)))  # so that all libraries are loaded

    def ask(self, question: Catalog, most: int = 5) -> list[Answer]:
        """The listings that most likely sell the same product.

        Args:
            question: One listing; its posting id is none of the index.
            most: Of those that do not match, only so many of the best are told; all that match are.

        Returns:
            Those that match first, the best first.
        """
        pool, rows = self._pool(question)
        scored = _with_known(self.matcher.match_pool(pool).pairs, self.state.pairs, rows)
        decision = self.matcher.decision.fixed(len(self.state) + 1)  # the pool stands for the whole index
        result = Result.decided(decision, pool.catalog, scored)
        own = len(rows)  # the question is the last listing of its pool
        found = result.matches.listing == own
        score = dict(zip(result.matches.match[found].tolist(), result.matches.score[found].tolist(), strict=True))
        matched = set(score)
        of_own = scored.right == own
        score |= dict(zip(scored.left[of_own].tolist(), scores(scored)[of_own].tolist(), strict=True))
        order = sorted(score, key=lambda row: (row not in matched, -np.nan_to_num(score[row], nan=-1.0), row))
        ids, titles = pool.catalog.ids, pool.catalog.titles
        return [
            Answer(
                ids[row],
                self.state.group_ids[ids[row]],
                titles[row],
                score[row],
                row in matched,
                reasons(pool, row, own),
            )
            for row in order[: len(matched) + most]
        ]

    def _pool(self, question: Catalog) -> tuple[PoolEvidence, Rows]:
        """The pool that a question is matched in, the question last, and the rows of the index in it."""
        alone = self.matcher.embed(question, list(self.state.views))
        rows = self._around(alone, normalise(question.titles[0]))
        catalog = Catalog(pa.concat_tables([self.state.catalog.take(rows).table, question.table]))
        views = {}
        for name in self.matcher.branches:
            if name in alone:
                known = self.state.views[name].embeddings
                both = [Embeddings(known.vectors[rows], known.present[rows]), alone[name]]
                vectors = np.concatenate([part.vectors for part in both])
                embeddings = Embeddings(vectors, np.concatenate([part.present for part in both]))
            else:
                embeddings = self.matcher.embed(catalog, [name])[name]
            views[name] = Evidence(embeddings, self.matcher.candidates(name, embeddings))
        return self.matcher.pool(
            catalog, views, described_before(self.state.pairs, self._place(rows), len(catalog))
        ), rows

    def _place(self, rows: Rows) -> Rows:
        """Where each listing of the index stands among some of its rows, [n]; -1 where it is not one of them."""
        place = np.full(len(self.state), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return place

    def _around(self, alone: dict[str, Embeddings], title: str) -> Rows:
        """Rows of the index that are near to a question, their groups, and others, rising."""
        nearest = [
            _best(self.state.views[name].embeddings.vectors @ of_branch.vectors[0])
            for name, of_branch in alone.items()
            if of_branch.present[0]
        ]
        if title:
            nearest.append(_best(process.cdist([title], self._titles, scorer=fuzz.token_sort_ratio)[0]))
        near = dict.fromkeys(np.stack(nearest, axis=1).ravel().tolist() if nearest else [])  # the nearest first
        ids = self.state.catalog.ids
        for row in list(near):
            near |= dict.fromkeys(self._members[self.state.group_ids[ids[row]]])
        others = np.linspace(0, len(ids) - 1, POOL).astype(np.int64)
        return np.sort(list(dict.fromkeys([*near, *others.tolist()]))[:POOL])


def _with_known(scored: Pairs, known: Pairs, rows: Rows) -> Pairs:
    """The scored pairs of a question, with those of the index in the place of all others.

    Args:
        scored: Pairs of a pool, of which the question is the last listing.
        known: Scored pairs of the index.
        rows: Of the index, those that the pool has before the question, rising.
    """
    place = np.full(known.n, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    inside = (place[known.left] >= 0) & (place[known.right] >= 0)
    of_question = scored.right == len(rows)
    left = np.concatenate([place[known.left[inside]], scored.left[of_question]])
    right = np.concatenate([place[known.right[inside]], scored.right[of_question]])
    order = np.lexsort((right, left))
    features = pd.concat([part.features[[*scored.features]] for part in (known.only(inside), scored.only(of_question))])
    score = np.concatenate([scores(known)[inside], scores(scored)[of_question]])
    return Pairs(scored.n, left[order], right[order], features.iloc[order], score[order])


def _best(similarity: NDArray[np.floating]) -> Rows:
    return np.argsort(-similarity, kind="stable")[:NEAR]
