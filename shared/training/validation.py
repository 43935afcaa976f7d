"""Evaluate an encoder during training, on products that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.compute import ComputeConfig
from shared.metrics.retrieval import Retrieval, retrieval
from shared.schema import Embeddings, Flags
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder, Inputs, encode, full_batches


def validation_listings(
    labels: NDArray[np.int64], components: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.int64]:
    """Return positions of listings to set aside: random whole components, up to a share of the listings.

    Args:
        labels: Label group of each listing, int64 [n].
        components: Connected component of each, int64 [n].
        share: Of the listings, in [0, 1).
        seed: Of the random order.

    Returns:
        Rising positions, int64. Empty if either part would have no positive pair.

    Examples:
        >>> labels = np.repeat(np.arange(5), 2)
        >>> validation_listings(labels, labels, share=0.4, seed=0)
        array([4, 5, 8, 9])
    """
    names, component, sizes = np.unique(components, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[np.cumsum(sizes[order]) <= share * len(labels)]] = True
    aside = chosen[component]
    if not (_has_pair(labels[aside]) and _has_pair(labels[~aside])):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(aside)


def evaluate(
    encoder: Encoder,
    view: Callable[[NDArray[np.int64]], Inputs],
    positions: NDArray[np.int64],
    labels: NDArray[np.int64],
    config: TrainingConfig,
    compute: ComputeConfig,
    name: str,
) -> Retrieval:
    """Return how well the nearest neighbors among some listings are of the same label group.

    Args:
        encoder: Left in evaluation mode.
        view: Inputs of the listings at some positions, without augmentation.
        positions: The listings to embed and to search among, int64 [m].
        labels: Label group of each of them, int64 [m].
        config: Settings (precision, whitening, batch size).
        compute: Device and threads.
        name: For the progress bar.
    """
    return retrieval(embed_positions(encoder, view, positions, config, compute, name), labels)


def embed_positions(
    encoder: Encoder,
    view: Callable[[NDArray[np.int64]], Inputs],
    positions: NDArray[np.int64],
    config: TrainingConfig,
    compute: ComputeConfig,
    name: str,
    *,
    unwhitened: bool = False,
) -> Embeddings:
    """Embed the listings at some positions of a training set; arguments as for `evaluate` and `encode`."""

    def load(batch: NDArray[np.int64]) -> tuple[Inputs, Flags]:
        return view(positions[batch]), np.ones(len(batch), dtype=bool)

    batches = full_batches(np.arange(len(positions)), config.embed_batch)
    vectors = encode(encoder, load, batches, len(positions), config, compute, name, unwhitened=unwhitened)
    return Embeddings(vectors, np.any(vectors, axis=1))


def _has_pair(labels: NDArray[np.int64]) -> bool:
    return len(np.unique(labels)) < len(labels)
