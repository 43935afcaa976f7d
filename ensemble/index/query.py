"""Which listings of an index sell the product of one listing that is not in it, within a second or two.

The question is matched as growing the index by it would match it, but only what it touches is looked at (`around.py`):
its pairs and those between the listings near it are scored anew, and all others keep their scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensemble.features.branches import cosine_of
from ensemble.index.explain import reasons
from ensemble.index.pair_cache import FIRST, CachedPairs, joined, with_first
from ensemble.index.state import State
from ensemble.index.subgraph import Around
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher
from ensemble.pool_views import PoolViews
from shared.errors import MatcherError
from shared.schema import Catalog


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
        matcher: The one that the index was made with. It may embed another number of listings at a time: a cosine then
            differs by less than a thousandth.
        state: What the index holds.

    Raises:
        MatcherError: It was written before all was kept that answers need.
    """

    def __init__(self, matcher: Matcher, state: State) -> None:
        missing = {FIRST, *map(cosine_of, matcher.branches)} - set(state.pairs.features)
        if state.views.keys() != set(matcher.branches) or (len(state.pairs) and missing):
            raise MatcherError("an earlier version wrote this index; add or remove a listing, then it can be asked")
        self.matcher, self.state = matcher, state
        self._around = Around(matcher, state)

    def ask(self, question: Catalog, most: int = 5) -> list[Answer]:
        """The listings that most likely sell the same product.

        Args:
            question: One listing; its posting id is none of the index.
            most: Of those that do not match, only so many of the best are told; all that match are.

        Returns:
            Those that match first, the best first.
        """
        pool = self._around.pool(question)
        scored = self._scored(pool)
        decision = self.matcher.decision.fix_size(len(self.state) + 1)  # the pool stands for the whole index
        result = MatchResult.from_scores(decision, pool.catalog, scored.scored())
        own = len(pool) - 1
        found = result.match_rows.listing == own
        score = dict(zip(result.match_rows.match[found].tolist(), result.match_rows.score[found].tolist(), strict=True))
        matched, of_own = set(score), scored.right == own
        score |= dict(zip(scored.left[of_own].tolist(), scored.score[of_own].tolist(), strict=True))
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

    def _scored(self, pool: PoolViews) -> CachedPairs:
        """The pairs of a question's pool, scored anew where both listings are near it or one is the question."""
        proposed, known, scorer = pool.proposed, pool.described, self.matcher.scorer
        assert proposed is not None
        assert isinstance(known, CachedPairs)
        near = np.any([view.embeddings.present for view in pool.branches.values()], axis=0)
        own = self.matcher.describe(pool, proposed.only(near[proposed.left] & near[proposed.right]))
        rest = known.only(~(near[known.left] & near[known.right]))
        new = CachedPairs(own.n, own.left, own.right, own.features, scorer.first.score(own, pool.threads).score)
        final = scorer.rescore(joined(with_first(rest), new).scored(), pool.xp, pool.threads)
        return joined(rest, replace(new, score=final.score[near[final.left] & near[final.right]]))
