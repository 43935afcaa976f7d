"""TF-IDF vectors of titles: words beside character n-grams, weighted by how rare they are in the pool at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from branches.tfidf.config import Config
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings
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
    words = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, config.words), lowercase=False)
    chars = CountVectorizer(analyzer="char_wb", ngram_range=(config.min_chars, config.max_chars), lowercase=False)
    vectors = sparse.hstack(
        [
            _tfidf(titles, words, config) * np.sqrt(config.word_weight),
            _tfidf(titles, chars, config) * np.sqrt(1 - config.word_weight),
        ],
        format="csr",
    )
    return _unit_rows(sparse.csr_array(vectors))


def _tfidf(titles: NDArray[Any], vectorizer: CountVectorizer, config: Config) -> sparse.csr_array:
    """TF-IDF of one kind of term, float64 [n, terms]; rows have unit norm, or are zero without a term."""
    try:
        counts = vectorizer.fit_transform(titles)
    except ValueError:  # no title holds a term
        return sparse.csr_array((len(titles), 0), dtype=np.float64)
    listings = np.bincount(counts.indices, minlength=counts.shape[1])
    counts = counts[:, listings >= config.min_listings]
    counts.sort_indices()  # sums run in the order of the terms, whatever the order of the listings
    if counts.nnz == 0:
        return sparse.csr_array((len(titles), 0), dtype=np.float64)
    return sparse.csr_array(TfidfTransformer(sublinear_tf=config.sublinear).fit_transform(counts))


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
