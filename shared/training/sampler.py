"""P x K batches: P label groups with K listings each, so that every listing meets a positive.

The median group has two listings, so a batch drawn at random would hold next to no positive pair.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def group_batches(
    labels: NDArray[np.integer], batch_size: int, listings_per_group: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: a function of its arguments alone, so a resumed run draws the same.

    Every listing of a group with two or more is in the epoch at least once, and never without another of its group;
    singletons are left out. A group is cut into chunks of K listings; a last chunk of one borrows the group's first.
    Batches differ by at most one chunk.

    Args:
        labels: Label group of each listing, integers [n].
        batch_size: Listings a batch at most (at least K).
        listings_per_group: K, at least 2.
        seed: Seed of the run.
        epoch: From 0.

    Returns:
        Positions in `labels`, int64 arrays; the same number of batches in every epoch. Empty without a positive pair.
    """
    rng = np.random.default_rng([seed, epoch])
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    shuffled = [rng.permutation(group) for group in groups if len(group) > 1]
    chunks = [chunk for group in shuffled for chunk in _chunks(group, listings_per_group)]
    if not chunks:
        return []
    chunks = [chunks[at] for at in rng.permutation(len(chunks))]
    parts = -(-len(chunks) // max(1, batch_size // listings_per_group))
    bounds = [len(chunks) * part // parts for part in range(parts + 1)]
    return [np.concatenate(chunks[start:end]) for start, end in pairwise(bounds)]


def _chunks(group: NDArray[np.int64], k: int) -> list[NDArray[np.int64]]:
    """A shuffled group in chunks of k; a last chunk of one borrows the group's first."""
    if len(group) % k == 1:
        group = np.append(group, group[0])
    return [group[start : start + k] for start in range(0, len(group), k)]
