"""Embed pictures with a trained encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.image.config import Config
from branches.image.data import distinct_images, read_batch
from branches.image.model import check_size, restore
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embedder, Embeddings, Flags
from shared.training.encoder import Inputs, encode, full_batches, read_facts, spread


def embed(catalog: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embeddings:
    """One unit vector for each listing with a picture; each different picture is embedded once.

    Args:
        catalog: The pool.
        encoder: Folder that `train` wrote.
        config: The branch's settings.
        compute: Device and threads.

    Returns:
        float32 [n, dim]. A listing without a picture, or whose picture cannot be decoded any more, has no evidence.

    Raises:
        ArtifactError: There is no encoder, or it cannot be used.
        MatcherError: The network takes no pictures of the size asked for.
    """
    return embedder(catalog, encoder, config, compute)(catalog)


def embedder(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embedder:
    """What embeds listings as `embed` does, the encoder being loaded once; the pool plays no part."""
    facts = read_facts(encoder, "image")
    assert encoder is not None
    model, preprocessing = restore(facts, encoder)
    check_size(model, facts, config.embed_size)
    model.mirror = config.mirror

    def embed_listings(catalog: Catalog) -> Embeddings:
        rows = np.flatnonzero(catalog.has_image)
        paths, picture = distinct_images(catalog, rows)

        def load(positions: NDArray[np.int64]) -> tuple[Inputs, Flags]:
            chosen = [paths[at] for at in positions]
            pictures, usable = read_batch(chosen, config.embed_size, preprocessing.interpolation)
            return {"images": preprocessing(pictures)}, usable

        batches = full_batches(np.arange(len(paths)), config.embed_batch)
        vectors = encode(model, load, batches, len(paths), config, compute, "image")
        return spread(vectors, rows, picture, len(catalog))

    return embed_listings


if __name__ == "__main__":
    from branches.stages import main_embed

    raise SystemExit(main_embed("image"))
