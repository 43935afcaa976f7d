"""Galleries: which pairs of listings the report shows, drawn so that no group fills a gallery alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.bootstrap import product_codes
from ensemble.report.pool import Index, MatchedPool
from shared.metrics.matching import group_sizes, same_product
from shared.schema import Flags, pair_key

MOST_TRUE_PAIRS = 2_000_000  # of larger products only as many pairs as this are looked at


@dataclass(frozen=True)
class Gallery:
    """Pairs of listings that have something in common.

    Args:
        key: Name for links.
        title: The heading.
        sentence: What one sees.
        left: Row of the first listing of each pair, int64 [k].
        right: Row of the second one, int64 [k].
        total: Number of pairs that the sample was drawn from.
    """

    key: str
    title: str
    sentence: str
    left: Index
    right: Index
    total: int


def surest_matches(pool: MatchedPool, count: int, seed: int) -> Gallery:
    """Return matches with the highest scores, without those of equal content, one of each group."""
    left, right = pool.matched_pairs()
    score = pool.score_of(left, right)
    copies = pool.pairs.copy_of
    keep = ~np.isnan(score) & (True if copies is None else copies[left] != copies[right])
    left, right, score = left[keep], right[keep], score[keep]
    order = _by(-score, seed)
    left, right = left[order], right[order]
    shown = _distinct(pool.groups[left], pool.groups[right], count)
    sentence = "The matches with the highest scores: they should all be right."
    return Gallery("surest", "Surest matches", sentence, left[shown], right[shown], len(left))


def closest_calls(pool: MatchedPool, count: int, seed: int) -> Gallery:
    """Return the pairs whose scores are nearest to the threshold, by their odds; by falling score.

    Half of them match and half do not, where there are as many.
    """
    threshold, pairs = pool.facts.threshold, pool.pairs
    left, right, score = pairs.left.astype(np.int64), pairs.right.astype(np.int64), pairs.score.astype(np.float64)
    if threshold is None:
        return _gallery_of_calls(left[:0], right[:0], 0)
    distance = np.abs(_logit(score) - _logit(np.array([threshold])))
    near = np.flatnonzero(distance <= np.log(3))  # odds of up to three times or a third
    is_match = np.isin(pair_key(left[near], right[near], len(pool)), pair_key(*pool.matched_pairs(), len(pool)))
    chosen: list[int] = []
    for verdict in (True, False):
        rows = near[is_match == verdict]
        rows = rows[_by(distance[rows], seed)]
        chosen += rows[_distinct(pool.groups[left[rows]], pool.groups[right[rows]], count // 2)].tolist()
    picked = np.array(sorted(chosen, key=lambda row: -score[row]), dtype=np.int64)
    return _gallery_of_calls(left[picked], right[picked], len(near))


def _gallery_of_calls(left: Index, right: Index, total: int) -> Gallery:
    sentence = "Pairs whose score is nearest to the threshold, half of them matched: here a person would hesitate, too."
    return Gallery("closest", "Closest calls", sentence, left, right, total)


def false_merges(pool: MatchedPool, count: int, seed: int) -> Gallery:
    """Return a random sample of the matches of different products, by falling score, one of each two products."""
    left, right = pool.matched_pairs()
    codes = _codes(pool)
    wrong = (codes[left] >= 0) & (codes[right] >= 0) & ~same_product(left, right, codes)
    sentence = "Matches that the labels call wrong: different products in one group."
    return _sample(pool, "false", "False merges", sentence, left[wrong], right[wrong], count, seed)


def missed_pairs(pool: MatchedPool, count: int, seed: int) -> tuple[Gallery, Gallery]:
    """Return random samples of the true pairs that do not match: those never proposed, and those decided wrong."""
    left, right = true_pairs(_codes(pool))
    matched = np.isin(pair_key(left, right, len(pool)), pair_key(*pool.matched_pairs(), len(pool)))
    left, right = left[~matched], right[~matched]
    proposed = ~np.isnan(pool.score_of(left, right))
    never = "Listings of one product that no branch proposed as a pair, so that nobody scored them."
    wrong = "Listings of one product that were scored and not matched."
    return (
        _sample(pool, "never", "Missed: never proposed", never, left[~proposed], right[~proposed], count, seed),
        _sample(pool, "wrong", "Missed: decided wrong", wrong, left[proposed], right[proposed], count, seed),
    )


def true_pairs(codes: NDArray[np.integer]) -> tuple[Index, Index]:
    """Return every unordered pair of listings with the same label, the lower row first, int64 [t] each.

    At most `MOST_TRUE_PAIRS`: those of the smallest products.

    Examples:
        >>> [rows.tolist() for rows in true_pairs(np.array([0, 1, 0, 0, -1]))]
        [[0, 0, 2], [2, 3, 3]]
    """
    rows = np.flatnonzero(codes >= 0)
    sizes = group_sizes(codes)[rows]
    rows = rows[np.lexsort((rows, codes[rows], sizes))]
    blocks = np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1)
    left, right, total = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for block in blocks:
        total += len(block) * (len(block) - 1) // 2
        if total > MOST_TRUE_PAIRS:
            break
        one, other = np.triu_indices(len(block), 1)
        left.append(block[one])
        right.append(block[other])
    return np.concatenate(left), np.concatenate(right)


def _sample(
    pool: MatchedPool, key: str, title: str, sentence: str, left: Index, right: Index, count: int, seed: int
) -> Gallery:
    """Return a random sample of pairs by falling score, one of each two products."""
    order = np.random.default_rng(seed).permutation(len(left))
    products = product_codes([_codes(pool)])
    shown = order[_distinct(products[left[order]], products[right[order]], count)]
    shown = shown[np.argsort(-np.nan_to_num(pool.score_of(left[shown], right[shown]), nan=-1.0), kind="stable")]
    return Gallery(key, title, sentence, left[shown], right[shown], len(left))


def _codes(pool: MatchedPool) -> Index:
    return np.full(len(pool), -1, dtype=np.int64) if pool.codes is None else pool.codes


def _by(values: NDArray[np.floating], seed: int) -> Index:
    """Return the order of rising values; equal ones in random order."""
    return np.lexsort((np.random.default_rng(seed).permutation(len(values)), values))


def _distinct(one: NDArray[np.integer], other: NDArray[np.integer], count: int) -> Index:
    """Return the places of the first pairs of each two groups, at most `count`; others only where these are too few."""
    key = np.sort(np.stack([one, other]), axis=0)
    _, first = np.unique(key, axis=1, return_index=True)
    is_first: Flags = np.isin(np.arange(len(one)), first)
    return np.append(np.flatnonzero(is_first), np.flatnonzero(~is_first))[:count]


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


CATALOG_GALLERIES: tuple[Callable[[MatchedPool, int, int], Gallery], ...] = (surest_matches, closest_calls)
