"""Matches of listings with equal content, of which only one was scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.rules import sort_matches, subset
from shared.schema import Matches, Rows

Index = NDArray[np.int64]


def without_forced(matches: Matches, threshold: float, copies: Rows) -> Matches:
    """Return matches without those below the threshold of a listing that matches its copies anyway.

    Args:
        matches: Of n listings, by a rule that gives a listing without a match its best pair.
        threshold: The threshold.
        copies: For each listing the row of the one that stands for it, int32 [n].
    """
    has_copies = np.bincount(copies, minlength=len(copies)) > 1
    return subset(matches, (matches.score >= np.float64(threshold)) | ~has_copies[matches.listing])


def with_copies(matches: Matches, copies: Rows, max_matches: int) -> Matches:
    """Return the matches of all listings: each matches its copies, and all that they match, with their copies.

    A match of two copies has score 1, any other one the score of the pair that stands for it. Of more than
    `max_matches` matches of a listing, those that stand for others are kept before their copies, so that listings which
    belong together stay linked; then the best are kept; ties: the lower row.

    Args:
        matches: At most `max_matches` matches of each listing that stands for others or itself, and none of any other.
        copies: For each of the n listings the row of the one that stands for it, int32 [n].
        max_matches: Maximum number of matches per listing.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.5, 0.5], np.float32)
        >>> [match.tolist() for match in with_copies(Matches(3, *pair), np.array([0, 1, 1], np.int32), 50).lists()]
        [[1, 2], [2, 0], [1, 0]]
    """
    size = np.bincount(copies, minlength=len(copies))
    if size.max(initial=0) <= 1:
        return matches
    concerned = size > 1
    concerned[matches.listing[size[matches.match] > 1]] = True
    own, mine = np.flatnonzero(concerned), concerned[matches.listing]
    one, other = np.concatenate([own, matches.listing[mine]]), np.concatenate([own, matches.match[mine]])
    score = np.concatenate([np.ones(len(own), dtype=np.float32), matches.score[mine]])
    entry, listing = _members(one, copies, len(copies))
    position, match = _members(other[entry], copies, max_matches + 1)
    listing, score = listing[position], score[entry[position]]
    order = np.lexsort((match, -np.nan_to_num(score, nan=-1.0), copies[match] != match, listing))
    order = order[listing[order] != match[order]]
    place = np.arange(len(order)) - np.searchsorted(listing[order], np.arange(len(copies)))[listing[order]]
    best = order[place < max_matches]
    columns = ((matches.listing, listing), (matches.match, match), (matches.score, score))
    return sort_matches(matches.n, *(np.concatenate([old[~mine], new[best]]) for old, new in columns))


def _members(stands: Index, copies: Rows, most: int) -> tuple[Index, Index]:
    """Return all listings that some listings stand for, at most so many each, these themselves first.

    Args:
        stands: Rows of listings that stand for others or themselves, [s].
        copies: For each listing the row of the one that stands for it, int32 [n].
        most: Number of listings per entry at most.

    Returns:
        The position in `stands` and the row of each listing, [listings] each, rising.
    """
    rows = np.arange(len(copies))
    members = np.lexsort((rows, copies != rows, copies))
    size = np.bincount(copies, minlength=len(copies))
    first = np.cumsum(size) - size
    counts = np.minimum(size[stands], most)
    position = np.repeat(np.arange(len(stands)), counts)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
    return position, members[first[stands][position] + offset]
