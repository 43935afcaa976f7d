"""TF-IDF vectors of titles: words beside character n-grams, weighted by how rare they are in the pool at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from branches.tfidf.config import Config
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embedder, Embeddings
from shared.titles import normalise_all


def embed(catalog: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embeddings:
    """One sparse vector a listing: float32 CSR [n, terms].

    The cosine of two listings is the mean of the cosine of their words and that of their character n-grams, weighted
    by `word_weight`. A title without a known term in one of the two is compared by the other one alone. A title
    without any has no evidence.

    Args:
        catalog: The pool; terms and their weights come from its titles, so that rare means rare here.
        encoder: Unused; this branch is not trained.
        config: The branch's settings.
        compute: Unused; counting runs on one CPU thread.
    """
    titles = normalise_all(catalog.titles)
    return _joined([_fitted(titles, kind, config)[1] for kind in _kinds(config)], config)


def embedder(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> Embedder:
    """What embeds listings with the terms of a pool, weighted by how rare they are there.

    Args:
        pool: Its own listings are embedded as by `embed`.
        encoder: Unused.
        config: The branch's settings.
        compute: Unused.
    """
    titles = normalise_all(pool.titles)
    kinds = [_fitted(titles, kind, config)[0] for kind in _kinds(config)]

    def embed_listings(catalog: Catalog) -> Embeddings:
        texts = normalise_all(catalog.titles)
        return _joined([kind.vectors(texts) for kind in kinds], config)

    return embed_listings


@dataclass(frozen=True)
class Terms:
    """The terms of one kind that a pool's titles hold.

    Args:
        counter: Knows all of them.
        common: Columns of those in enough listings, int64; empty where there is none.
        weights: Knows how rare they are.
    """

    counter: CountVectorizer
    common: NDArray[np.int64]
    weights: TfidfTransformer

    def vectors(self, titles: NDArray[Any]) -> sparse.csr_array:
        """TF-IDF of normalised titles, float64 [n, terms]; rows have unit norm, or are zero without a term."""
        if len(self.common) == 0:
            return _nothing(len(titles))
        return self.weighted(self.counter.transform(titles))

    def weighted(self, counts: Any) -> sparse.csr_array:
        """The same of titles whose terms are counted already."""
        chosen = counts[:, self.common]
        chosen.sort_indices()  # sums run in the order of the terms, whatever the order of the listings
        return sparse.csr_array(self.weights.transform(chosen))


def _kinds(config: Config) -> list[CountVectorizer]:
    words = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, config.words), lowercase=False)
    chars = CountVectorizer(analyzer="char_wb", ngram_range=(config.min_chars, config.max_chars), lowercase=False)
    return [words, chars]


def _fitted(titles: NDArray[Any], counter: CountVectorizer, config: Config) -> tuple[Terms, sparse.csr_array]:
    """The terms of one kind that titles hold, and the vectors of these titles."""
    weights = TfidfTransformer(sublinear_tf=config.sublinear)
    try:
        counts = counter.fit_transform(titles)
    except ValueError:  # no title holds a term
        return Terms(counter, np.zeros(0, dtype=np.int64), weights), _nothing(len(titles))
    listings = np.bincount(counts.indices, minlength=counts.shape[1])
    common = np.flatnonzero(listings >= config.min_listings)
    terms = Terms(counter, common, weights)
    if len(common) == 0:
        return terms, _nothing(len(titles))
    weights.fit(counts[:, common])
    return terms, terms.weighted(counts)


def _nothing(titles: int) -> sparse.csr_array:
    return sparse.csr_array((titles, 0), dtype=np.float64)


def _joined(kinds: Sequence[sparse.csr_array], config: Config) -> Embeddings:
    """Words and characters side by side, each as heavy as the settings say."""
    words, chars = kinds
    parts = [words * np.sqrt(config.word_weight), chars * np.sqrt(1 - config.word_weight)]
    return _unit_rows(sparse.csr_array(sparse.hstack(parts, format="csr")))


def _unit_rows(vectors: sparse.csr_array) -> Embeddings:
    """Scale the rows that are not zero to unit norm."""
    vectors.eliminate_zeros()
    norms = np.sqrt(np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64)).ravel()
    present = norms > 0
    scale = np.divide(1, norms, out=np.zeros_like(norms), where=present)
    vectors.data *= np.repeat(scale, np.diff(vectors.indptr))
    return Embeddings(vectors.astype(np.float32), present)


if __name__ == "__main__":
    from shared.branch import main_embed

    raise SystemExit(main_embed("tfidf"))
