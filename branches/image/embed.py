"""Embed images with a trained encoder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.image.config import Config
from branches.image.data import distinct_images, lost_images, read_batch
from branches.image.model import check_size, restore
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings, Flags
from shared.training.encoder import Inputs, encode, full_batches, read_facts, spread


class ImageEmbedder:
    """Embeds images with a trained network; each different image is embedded once.

    Args:
        encoder: Folder that `train` wrote.
        config: The branch's settings.
        compute: Device and threads.

    Raises:
        ArtifactError: There is no encoder, or it cannot be used.
        MatcherError: The network takes no images of the size asked for.
    """

    def __init__(self, encoder: Path | None, config: Config, compute: ComputeConfig) -> None:
        facts = read_facts(encoder, "image")
        assert encoder is not None
        self._model, self._preprocessing = restore(facts, encoder)
        check_size(self._model, facts, config.embed_size)
        self._model.mirror = config.mirror
        self._config, self._compute = config, compute

    def transform(self, listings: Catalog) -> Embeddings:
        """Return float32 [n, dim]; a listing without an image has no evidence, nor one whose image changed or went.

        Raises:
            MatcherError: Many images changed or went since the catalog was read.
        """
        rows = np.flatnonzero(listings.has_image)
        stored, image = distinct_images(listings, rows)
        readable = np.ones(len(stored), dtype=bool)

        def load(positions: NDArray[np.int64]) -> tuple[Inputs, Flags]:
            chosen = [stored[position] for position in positions]
            images, usable = read_batch(chosen, self._config.embed_size, self._preprocessing.interpolation)
            readable[positions] = usable
            return {"images": self._preprocessing(images)}, usable

        batches = full_batches(np.arange(len(stored)), self._config.embed_batch)
        vectors = encode(self._model, load, batches, len(stored), self._config, self._compute, "image")
        if lost := lost_images(stored, readable):
            print(f"image: changed or gone since the catalog was read, not used: {lost}", file=sys.stderr)
        return spread(vectors, rows, image, len(listings))


def fit(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> ImageEmbedder:
    """Return an embedder with the encoder loaded once; the pool plays no part."""
    return ImageEmbedder(encoder, config, compute)


if __name__ == "__main__":
    from branches.cli import main_embed

    raise SystemExit(main_embed("image"))
