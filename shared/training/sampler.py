"""P x K batches: P label groups with K listings each, so that every listing has a positive in its batch.

The median label group has two listings, so a random batch would hold next to no positive pair.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def group_batches(
    labels: NDArray[np.integer],
    batch_size: int,
    listings_per_group: int,
    seed: int,
    epoch: int,
    sources: NDArray[np.integer] | None = None,
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch, which depend on the arguments alone, so a resumed training draws the same.

    Every listing of a group of two or more is drawn at least once per epoch, and never without another of its group;
    groups of one are left out. A group is cut into chunks of K listings; a last chunk of one borrows the group's
    first listing. Batch sizes differ by at most one chunk.

    With several sources, each of them gives equally many chunks, and all together as many as without this: those of a
    small source are drawn several times per epoch, and of a large one only some, others in every epoch.

    Args:
        labels: Label group of each listing, integers [n].
        batch_size: Largest number of listings per batch; at least K.
        listings_per_group: K, at least 2.
        seed: Seed of the run.
        epoch: From 0.
        sources: Source of each listing, integers [n], the same for all listings of a group; those of -1 are from no
            source and are drawn as if there were none. None: there is one source.

    Returns:
        Positions in `labels`, int64 arrays; the same number of batches in every epoch. Empty without a positive pair.

    Examples:
        >>> labels = np.array([7, 7, 8, 8, 9, 9, 5])
        >>> batches = group_batches(labels, batch_size=4, listings_per_group=2, seed=0, epoch=0)
        >>> [labels[batch].tolist() for batch in batches]
        [[8, 8], [9, 9, 7, 7]]
    """
    rng = np.random.default_rng([seed, epoch])
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    groups = [rng.permutation(group) for group in groups if len(group) > 1]
    chunks = [chunk for group in groups for chunk in _chunks(group, listings_per_group)]
    if not chunks:
        return []
    if sources is not None:
        of_chunk = np.array([sources[chunk[0]] for chunk in chunks])
        chunks = [chunks[position] for position in _balanced(of_chunk, rng)]
    chunks = [chunks[position] for position in rng.permutation(len(chunks))]
    count = -(-len(chunks) // max(1, batch_size // listings_per_group))
    bounds = [len(chunks) * batch // count for batch in range(count + 1)]
    return [np.concatenate(chunks[start:end]) for start, end in pairwise(bounds)]


def _balanced(sources: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions of chunks such that each source has equally many; those of source -1 are all among them once.

    Args:
        sources: Source of each chunk, integers [c].
        rng: Draws which chunks of a source are taken, or are taken more often.
    """
    names = np.unique(sources[sources >= 0])
    if len(names) < 2:
        return np.arange(len(sources))
    share = -(-int((sources >= 0).sum()) // len(names))
    drawn = [np.flatnonzero(sources < 0)]
    for name in names:
        own = np.flatnonzero(sources == name)
        rounds = [rng.permutation(own) for _ in range(-(-share // len(own)))]
        drawn.append(np.concatenate(rounds)[:share])
    return np.concatenate(drawn)


def _chunks(group: NDArray[np.int64], k: int) -> list[NDArray[np.int64]]:
    """Return a group in chunks of k; a last chunk of one borrows the group's first listing."""
    if len(group) % k == 1:
        group = np.append(group, group[0])
    return [group[start : start + k] for start in range(0, len(group), k)]
