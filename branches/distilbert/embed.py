"""Embed titles with a trained encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.distilbert.config import Config
from branches.distilbert.data import Titles
from branches.distilbert.model import restore
from branches.distilbert.ngrams import Ngrams
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings, Flags
from shared.training.encoder import Inputs, encode, read_facts, spread


class TitleEmbedder:
    """Embeds titles with a trained encoder; each different normalized title is embedded once.

    Args:
        encoder: Folder that `train` wrote.
        config: The branch's settings.
        compute: Device and threads.

    Raises:
        ArtifactError: There is no encoder, or it cannot be used.
    """

    def __init__(self, encoder: Path | None, config: Config, compute: ComputeConfig) -> None:
        self._facts = read_facts(encoder, "distilbert")
        assert encoder is not None
        self._model, self._tokenizer = restore(self._facts, encoder)
        self._ngrams = Ngrams.load(encoder) if config.ngrams else None
        self._config, self._compute = config, compute

    def transform(self, listings: Catalog) -> Embeddings:
        """Return unit rows, float32 [n, dim + `ngrams.DIM`]: the transformer's output beside n-grams.

        A listing with no title, or with a title of punctuation alone, has no evidence.
        """
        titles = Titles(listings.normalized_titles, self._tokenizer, self._facts["max_tokens"])

        def load(positions: NDArray[np.int64]) -> tuple[Inputs, Flags]:
            return titles.inputs(positions), np.ones(len(positions), dtype=bool)

        batches = titles.batches(self._config.embed_batch)
        vectors = encode(self._model, load, batches, len(titles), self._config, self._compute, "distilbert")
        if self._ngrams is not None:
            vectors = self._ngrams.beside(vectors, titles.texts, self._config.ngrams)
        return spread(vectors, titles.rows, titles.title, len(listings))


def fit(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> TitleEmbedder:
    """Return an embedder with the encoder loaded once; the pool plays no part."""
    return TitleEmbedder(encoder, config, compute)


if __name__ == "__main__":
    from branches.cli import main_embed

    raise SystemExit(main_embed("distilbert"))
