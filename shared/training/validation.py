"""Judging an encoder while it is trained, on products it does not learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.compute import ComputeConfig
from shared.metrics.retrieval import Retrieval, retrieval
from shared.schema import Embeddings, Flags
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder, Inputs, encode, full_batches


def held_out(labels: NDArray[np.int64], components: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Positions of listings to judge by: whole components in random order, up to a share of the listings.

    Args:
        labels: Label group of each listing, int64 [n].
        components: Connected component of each, int64 [n].
        share: Of the listings, in [0, 1).
        seed: Of the random order.

    Returns:
        Rising positions, int64. Empty when the share is too small for a pair, or leaves none to learn from.
    """
    names, of, sizes = np.unique(components, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    taken = np.zeros(len(names), dtype=bool)
    taken[order[np.cumsum(sizes[order]) <= share * len(labels)]] = True
    chosen = taken[of]
    if not (_has_pair(labels[chosen]) and _has_pair(labels[~chosen])):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(chosen)


def judge(
    encoder: Encoder,
    view: Callable[[NDArray[np.int64]], Inputs],
    positions: NDArray[np.int64],
    labels: NDArray[np.int64],
    recipe: TrainingConfig,
    compute: ComputeConfig,
    name: str,
) -> Retrieval:
    """How well an encoder's embeddings of some listings find each other's label group.

    Args:
        encoder: Left in evaluation mode.
        view: Inputs of the listings at some positions, as they are embedded.
        positions: The listings to embed and to search among, int64 [m].
        labels: Label group of each of them, int64 [m].
        recipe: Settings (precision, batch size).
        compute: Device and threads.
        name: For the progress bar.
    """
    return retrieval(embedded(encoder, view, positions, recipe, compute, name), labels)


def embedded(
    encoder: Encoder,
    view: Callable[[NDArray[np.int64]], Inputs],
    positions: NDArray[np.int64],
    recipe: TrainingConfig,
    compute: ComputeConfig,
    name: str,
) -> Embeddings:
    """Embed listings of a training set; the arguments are those of `judge`."""

    def load(at: NDArray[np.int64]) -> tuple[Inputs, Flags]:
        return view(positions[at]), np.ones(len(at), dtype=bool)

    batches = full_batches(np.arange(len(positions)), recipe.embed_batch)
    vectors = encode(encoder, load, batches, len(positions), recipe, compute, name)
    return Embeddings(vectors, np.any(vectors, axis=1))


def _has_pair(labels: NDArray[np.int64]) -> bool:
    return len(np.unique(labels)) < len(labels)
