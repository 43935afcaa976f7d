"""Siblings: different products whose titles are alike but for an attribute that they state, such as 500 ml and 1 l.

`choose_forbidden` tunes which kinds of attributes forbid a match; `count_siblings` says how many siblings there were to
learn from. Labels of real catalogs hold few of them, and a scorer that never saw any scores them like true pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Kind
from ensemble.decision.bootstrap import product_codes, resample
from ensemble.decision.decision import Decision, decider
from ensemble.decision.guard import expected_share
from ensemble.decision.objective import HITS, MATCHED, Doubles, Objective, listing_metrics
from ensemble.features.attributes import other_words
from ensemble.features.conflicts import IN_WORDS, KINDS, in_conflict
from ensemble.features.incidence import incidence, shared_weight
from shared.schema import Flags

if TYPE_CHECKING:
    from ensemble.decision.curves import ScoredPool

MIN_LOST = 10  # lost matches from which on a kind is judged
MIN_ALIKE = 0.8  # share of their other words that the titles of siblings have in common, of all that either has
FEW = 10  # siblings; a number below it is called few


@dataclass(frozen=True)
class KindTrial:
    """What happens out of fold where a kind of attribute forbids matches.

    Args:
        kind: The kind.
        lost_true: Number of true matches that are lost.
        lost_false: Number of false matches that are lost.
        difference: How much the objective rises; negative where it falls.
        error: Standard error of the difference.
        forbids: Whether the kind is chosen.
    """

    kind: Kind
    lost_true: int
    lost_false: int
    difference: float
    error: float
    forbids: bool


def choose_forbidden(
    pools: Sequence[ScoredPool],
    decision: Decision,
    objective: Objective,
    resamples: int,
    seed: int,
    parts: tuple[NDArray[np.int64], Flags, Doubles] | None = None,
) -> tuple[Decision, list[KindTrial]]:
    """Return the decision with the kinds of attributes that forbid a match, and the trial of each kind.

    A kind forbids a match if, out of fold and at the tuned rule and threshold,

    1. at least `MIN_LOST` matches are lost by it, so that there is something to judge;
    2. the objective does not fall by more than the standard error of its difference, by the bootstrap over products on
       the same resamples, and a minimum precision is still reached;
    3. the same holds for it together with the kinds that are already chosen; the best kind is chosen first.

    The benefit of the doubt goes to forbidding, because labels hold fewer siblings than catalogs do: a fall within the
    error is an acceptable price for not joining them. Without lost matches nothing is known, and nothing is forbidden.

    Args:
        pools: Scored pairs and label codes of pools that the scorer was not trained on.
        decision: The tuned decision for pools of their size; no kind forbids a match.
        objective: What is to be highest.
        resamples: Number of resamples of the bootstrap.
        seed: Seed of the bootstrap.
        parts: Number of each listing's product, int [n], whether it is of a whole pool, bool [n], and its weight, over
            all pools; lost matches are counted in whole pools alone. None: every pool is whole and has products of its
            own, and all listings weigh 1.

    Returns:
        The decision, and the trials in the order of the kinds; none where titles were not compared.

    Examples:
        >>> from shared.schema import ScoredPairs
        >>> rows = np.arange(40, dtype=np.int32)  # twenty pairs that score high; 500 ml and 1 l in every second of them
        >>> conflict = (np.arange(20) % 2).astype(np.uint8)
        >>> pairs = ScoredPairs(40, rows[::2], rows[1::2], np.full(20, 0.9, np.float32), conflict)
        >>> codes = np.where(rows % 4 == 3, rows, rows // 2)
        >>> choose_forbidden([(pairs, codes)], Decision("threshold", 0.5), Objective(), 10, 0)[0].forbid
        ('quantity',)
    """
    if any(pairs.conflict is None for pairs, _ in pools):
        return decision, []
    if parts is None:
        product = product_codes([codes for _, codes in pools])
        parts = product, np.ones(len(product), dtype=bool), np.ones(len(product))
    judge = _Judge(pools, decision, objective, resamples, seed, *parts)
    trials = [judge.try_kind(kind) for kind in KINDS]
    chosen: list[Kind] = []
    for trial in sorted((trial for trial in trials if trial.forbids), key=lambda trial: -trial.difference):
        if not chosen or judge.compare([*chosen, trial.kind])[-1]:
            chosen.append(trial.kind)
    trials = [replace(trial, forbids=trial.kind in chosen) for trial in trials]
    return replace(decision, forbid=tuple(trial.kind for trial in trials if trial.forbids)), trials


class _Judge:
    """Compares a decision in which some kinds of attributes forbid matches with the one in which none does."""

    def __init__(
        self,
        pools: Sequence[ScoredPool],
        decision: Decision,
        objective: Objective,
        resamples: int,
        seed: int,
        product: NDArray[np.int64],
        whole: Flags,
        weight: Doubles,
    ) -> None:
        self._pools, self._decision, self._objective = pools, decision, objective
        self._resamples, self._seed = resamples, seed
        self._product, self._whole, self._weight = product, whole, weight[:, None]
        self._without = _metrics(pools, decision)

    def compare(self, kinds: Sequence[Kind]) -> tuple[Doubles, float, float, bool]:
        """Return the metrics that are lost in whole pools, [5], the difference, its error, whether it is acceptable."""
        metrics = [self._without, _metrics(self._pools, replace(self._decision, forbid=tuple(kinds)))]
        weighted = [of_listings * self._weight for of_listings in metrics]
        sums = np.stack([of_listings.sum(axis=0) for of_listings in weighted])
        before, after = self._objective.values(sums)
        resampled = resample(weighted, self._product, self._objective, self._resamples, self._seed)
        difference, error = float(after - before), float(np.diff(resampled).std(ddof=1))
        is_acceptable = difference >= -error and bool(self._objective.is_reached(sums)[1])
        lost: Doubles = (metrics[0] - metrics[1])[self._whole].sum(axis=0)
        return lost, difference, error, is_acceptable

    def try_kind(self, kind: Kind) -> KindTrial:
        """Return what happens where one kind forbids matches."""
        lost, difference, error, is_acceptable = self.compare([kind])
        counts = round(lost[HITS]), round(lost[MATCHED] - lost[HITS])
        return KindTrial(kind, *counts, difference, error, bool(is_acceptable and lost[MATCHED] >= MIN_LOST))


def _metrics(pools: Sequence[ScoredPool], decision: Decision) -> Doubles:
    """Return the `listing_metrics` of all listings of some pools, [n, 5]."""
    parts = []
    for pairs, codes in pools:
        decide = decider(decision.rule, pairs, decision.max_matches, decision.forbid, decision.max_group)
        parts.append(listing_metrics(decide(decision.threshold_for(pairs.n, expected_share(pairs))), codes))
    return np.concatenate(parts)


def count_siblings(pools: Sequence[ScoredPool], titles: Sequence[NDArray[Any]]) -> dict[Kind, int] | None:
    """Return how many candidate pairs are siblings that differ in each kind of attribute; None if nobody compared them.

    Siblings are labeled as different products, are in conflict in the kind, and have at least `MIN_ALIKE` of those
    words in common that state no attribute.

    Args:
        pools: Scored pairs and label codes of each pool.
        titles: Normalized titles of each pool, str [n].

    Examples:
        >>> from shared.schema import ScoredPairs
        >>> pairs = ScoredPairs(2, *np.array([[0], [1]], np.int32), np.ones(1, np.float32), np.array([8], np.uint8))
        >>> count_siblings([(pairs, np.array([0, 1]))], [np.array(["red mug", "blue mug"], object)])["color"]
        1
    """
    counts = dict.fromkeys(KINDS, 0)
    for (pairs, codes), of_pool in zip(pools, titles, strict=True):
        if pairs.conflict is None:
            return None
        left, right = codes[pairs.left], codes[pairs.right]
        unlike = pairs.only((left >= 0) & (right >= 0) & (left != right) & (pairs.conflict > 0))
        has = incidence([other_words(title) for title in of_pool])
        size = np.asarray(has.sum(axis=1)).ravel()
        common = shared_weight(has, has, unlike)
        siblings = unlike.only(common >= MIN_ALIKE * np.maximum(size[unlike.left] + size[unlike.right] - common, 1))
        assert siblings.conflict is not None
        for kind in KINDS:
            counts[kind] += int(in_conflict(siblings.conflict, [kind]).sum())
    return counts


def describe_siblings(counts: Mapping[Kind, int]) -> str:
    """Return a sentence that says of which siblings the training labels hold none, few, or how many.

    Args:
        counts: Kind of attribute → number of pairs of siblings, as `count_siblings` returns them.

    Examples:
        >>> describe_siblings({"quantity": 41, "size": 0, "model": 3, "color": 0})
        'the training labels hold no siblings that differ in size or color, few in model number (3), 41 in quantity'
    """
    none = [IN_WORDS[kind] for kind in KINDS if counts[kind] == 0]
    few = [f"{IN_WORDS[kind]} ({counts[kind]})" for kind in KINDS if 0 < counts[kind] < FEW]
    amounts = [("no", _joined(none, "or")), ("few", _joined(few, "and"))]
    amounts += [(f"{counts[kind]:,}", IN_WORDS[kind]) for kind in KINDS if counts[kind] >= FEW]
    (first, kinds), *rest = [(amount, kinds) for amount, kinds in amounts if kinds]
    said = [f"{first} siblings that differ in {kinds}", *(f"{amount} in {kinds}" for amount, kinds in rest)]
    return f"the training labels hold {', '.join(said)}"


def describe_forbidden(forbid: Sequence[Kind]) -> str:
    """Return half a sentence that says which kinds of attributes forbid a match.

    Examples:
        >>> describe_forbidden(("quantity", "color"))
        'titles that contradict each other in quantity or color never match'
    """
    kinds = _joined([IN_WORDS[kind] for kind in forbid], "or")
    return f"titles that contradict each other in {kinds} never match" if kinds else "no attribute forbids a match"


def _joined(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
