"""Embed titles with a trained encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.distilbert.config import Config
from branches.distilbert.data import Titles
from branches.distilbert.model import restore
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embedder, Embeddings, Flags
from shared.training.encoder import Inputs, encode, read_facts, spread


def embed(catalog: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embeddings:
    """One unit vector for each listing with a title; each different normalized title is embedded once.

    Args:
        catalog: The pool.
        encoder: Folder that `train` wrote.
        config: The branch's settings.
        compute: Device and threads.

    Returns:
        float32 [n, dim]. A listing without a title, or with one of nothing but punctuation, has no evidence.

    Raises:
        ArtifactError: There is no encoder, or it cannot be used.
    """
    return embedder(catalog, encoder, config, compute)(catalog)


def embedder(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embedder:
    """What embeds listings as `embed` does, the encoder being loaded once; the pool plays no part."""
    facts = read_facts(encoder, "distilbert")
    assert encoder is not None
    model, tokenizer = restore(facts, encoder)

    def embed_listings(catalog: Catalog) -> Embeddings:
        titles = Titles(catalog.normalized_titles, tokenizer, facts["max_tokens"])

        def load(positions: NDArray[np.int64]) -> tuple[Inputs, Flags]:
            return titles.inputs(positions), np.ones(len(positions), dtype=bool)

        vectors = encode(model, load, titles.batches(config.embed_batch), len(titles), config, compute, "distilbert")
        return spread(vectors, titles.rows, titles.title, len(catalog))

    return embed_listings


if __name__ == "__main__":
    from branches.stages import main_embed

    raise SystemExit(main_embed("distilbert"))
