"""Perceptual hashes as vectors: a bit becomes ±1/8, so that a cosine counts the bits in which two hashes differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.phash.config import BITS, Config
from shared.catalog.images import is_flat_hash
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings


class HashEmbedder:
    """Embeds listings by their perceptual hashes; neither a pool nor an encoder plays a part."""

    def transform(self, listings: Catalog) -> Embeddings:
        """Return float32 [n, 64], the cosine of two rows being 1 − 2·(differing bits)/64.

        A listing without a hash, or whose hash is that of an empty image (one plain color), has no evidence.
        """
        hashes = listings.phashes
        present = listings.has_phash & ~is_flat_hash(hashes)
        return Embeddings(_signs(hashes) * present[:, None].astype(np.float32), present)


def fit(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> HashEmbedder:
    """Return an embedder; all arguments are unused."""
    return HashEmbedder()


def _signs(hashes: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Bits as ±1/8, the lowest first, float32 [n, 64]."""
    bits = (hashes[:, None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)
    return (bits.astype(np.float32) * 2 - 1) / np.float32(BITS**0.5)


if __name__ == "__main__":
    from branches.cli import main_embed

    raise SystemExit(main_embed("phash"))
