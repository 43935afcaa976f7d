"""TF-IDF vectors of titles: words beside character n-grams, weighted by how rare they are in the pool at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from branches.tfidf.config import Config
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings

Vectors = sparse.csr_array
BLOCK = 1 << 22  # numbers that are scaled at a time


class TfidfEmbedder:
    """Embeds titles by the terms of a pool: float32 CSR [n, terms].

    The cosine of two listings is the mean of the cosine of their words and that of their character n-grams, weighted
    by `word_weight`. A title without a known term in one of the two is compared by the other one alone. A title
    without any has no evidence.

    Listings that are not in the pool, by their posting ids, count when it is said how rare a term is; terms that are
    not in the pool come after all others in the vectors.

    Args:
        pool: Terms and their weights come from its titles, so that rare means rare here.
        config: The branch's settings.
    """

    def __init__(self, pool: Catalog, config: Config) -> None:
        self._pool, self._config = pool, config
        self._kinds = [_fitted(pool.normalized_titles, counter, config) for counter in _counters(config)]

    def transform(self, listings: Catalog) -> Embeddings:
        """Return one row per listing.

        Rows of the pool's listings are the same whichever of the pool's listings they are asked with; listings that are
        not in the pool change how rare a term is, and so all rows.
        """
        if listings is self._pool:
            nothing = _nothing(len(listings))
            return _joined([(vectors, nothing) for _, vectors in self._kinds], self._config)
        ids = set(self._pool.ids)
        new = np.array([posting_id not in ids for posting_id in listings.ids], dtype=np.bool_)
        titles = listings.normalized_titles
        return _joined([terms.vectors(titles, new, self._config) for terms, _ in self._kinds], self._config)


def fit(pool: Catalog, encoder: Path | None, config: Config, compute: ComputeConfig) -> TfidfEmbedder:
    """Return an embedder for a pool; `encoder` and `compute` are unused, counting runs on one CPU thread."""
    return TfidfEmbedder(pool, config)


@dataclass(frozen=True)
class Terms:
    """The terms of one kind that a pool's titles hold.

    Args:
        counter: Knows all of them.
        common: Columns of those in enough listings, int64; empty where there is none.
        holding: Listings that hold each term, int64 [terms].
        listings: Of the pool.
    """

    counter: CountVectorizer
    common: NDArray[np.int64]
    holding: NDArray[np.int64]
    listings: int

    def vectors(self, titles: NDArray[Any], new: NDArray[np.bool_], config: Config) -> tuple[Vectors, Vectors]:
        """TF-IDF of normalized titles, float64 [n, terms] of the pool's common terms and [n, more] of others.

        Others are terms that new titles make common. Both together, rows have unit norm, or are zero without a term.
        `new` says which titles are not of the pool.
        """
        of_pool, of_new = self._of_pool(titles), self._of_new(titles, new)
        rare, at = np.setdiff1d(np.arange(len(self.holding)), self.common), len(self.common)
        counts = sparse.csr_array(sparse.hstack([of_pool[:, self.common], of_pool[:, rare], of_new], format="csr"))
        holding = np.concatenate([self.holding[self.common], self.holding[rare], np.zeros(of_new.shape[1], np.int64)])
        holding += _holding(counts[new])
        enough = np.append(np.arange(at), at + np.flatnonzero(holding[at:] >= config.min_listings))
        weighted = _weighted(counts[:, enough], holding[enough], self.listings + int(new.sum()), config)
        return weighted[:, :at], weighted[:, at:]

    def _of_pool(self, titles: NDArray[Any]) -> Vectors:
        """Counts of the pool's terms, [n, terms]."""
        if len(self.holding) == 0:
            return _nothing(len(titles))
        return sparse.csr_array(self.counter.transform(titles), dtype=np.float64)

    def _of_new(self, titles: NDArray[Any], new: NDArray[np.bool_]) -> Vectors:
        """Counts of the terms that only new titles have."""
        vocabulary = getattr(self.counter, "vocabulary_", {})
        analyze: Callable[[str], list[str]] = self.counter.build_analyzer()
        found = [Counter(term for term in analyze(title) if term not in vocabulary) for title in titles[new]]
        column = {term: at for at, term in enumerate(sorted(set().union(*found)))}
        row = np.repeat(np.flatnonzero(new), [len(of_title) for of_title in found])
        at = [column[term] for of_title in found for term in of_title]
        count = np.array([times for of_title in found for times in of_title.values()], dtype=np.float64)
        return sparse.csr_array((count, (row, at)), shape=(len(titles), len(column)))


def _counters(config: Config) -> list[CountVectorizer]:
    of_words = {"token_pattern": r"\S+", "ngram_range": (1, config.words)}
    of_chars = {"analyzer": "char_wb", "ngram_range": (config.min_chars, config.max_chars)}
    return [CountVectorizer(lowercase=False, dtype=np.float64, **options) for options in (of_words, of_chars)]


def _fitted(titles: NDArray[Any], counter: CountVectorizer, config: Config) -> tuple[Terms, Vectors]:
    """The terms of one kind that titles hold, and the vectors of these titles."""
    try:
        counts = sparse.csr_array(counter.fit_transform(titles), dtype=np.float64)
    except ValueError:  # no title holds a term
        counts = _nothing(len(titles))
    holding = _holding(counts)
    common = np.flatnonzero(holding >= config.min_listings)
    terms = Terms(counter, common, holding, len(titles))
    if len(common) < len(holding):
        counts = counts[:, common]
    return terms, _weighted(counts, holding[common], len(titles), config)


def _holding(counts: Vectors) -> NDArray[np.int64]:
    """The listings that hold each term."""
    return np.bincount(counts.indices, minlength=counts.shape[1])


def _weighted(counts: Vectors, holding: NDArray[np.int64], listings: int, config: Config) -> Vectors:
    """Counts, changed in place, as TF-IDF, rows of unit norm.

    idf is 1 + ln((1 + listings) / (1 + listings that hold the term)).
    """
    if counts.nnz == 0:
        return counts
    counts.sort_indices()  # sums run in the order of the terms, whatever the order of the listings
    weights = TfidfTransformer(sublinear_tf=config.sublinear)
    weights.idf_ = 1 + np.log((1 + listings) / (1 + holding))
    return sparse.csr_array(weights.transform(counts, copy=False))


def _nothing(titles: int) -> Vectors:
    return sparse.csr_array((titles, 0), dtype=np.float64)


def _joined(kinds: Sequence[tuple[Vectors, Vectors]], config: Config) -> Embeddings:
    """Words and characters side by side, each as heavy as the settings say; terms that a pool has not are the last."""
    (words, other_words), (chars, other_chars) = kinds
    by_word, by_char = np.sqrt(config.word_weight), np.sqrt(1 - config.word_weight)
    parts, factors = [words, chars, other_words, other_chars], [by_word, by_char, by_word, by_char]
    joined = sparse.csr_array(sparse.hstack(parts, format="csr"))  # a copy: the parts are needed again
    factor = np.repeat(factors, [part.shape[1] for part in parts])
    _in_blocks(joined, lambda data, indices: data * factor[indices])
    return _unit_rows(joined)


def _in_blocks(vectors: Vectors, change: Callable[[NDArray[np.float64], NDArray[Any]], NDArray[np.float64]]) -> None:
    """Change the data of vectors in place, a block at a time; a million titles have 10^8 numbers."""
    for start in range(0, vectors.nnz, BLOCK):
        block = slice(start, start + BLOCK)
        vectors.data[block] = change(vectors.data[block], vectors.indices[block])


def _unit_rows(vectors: Vectors) -> Embeddings:
    """Return float64 vectors, changed in place, as float32 ones; rows that are not zero are scaled to unit norm."""
    vectors.eliminate_zeros()
    squares = sparse.csr_array((vectors.data**2, vectors.indices, vectors.indptr), shape=vectors.shape)
    norms = np.sqrt(np.asarray(squares.sum(axis=1), dtype=np.float64)).ravel()
    del squares
    present = norms > 0
    scale = np.divide(1, norms, out=np.zeros_like(norms), where=present)
    vectors.data *= np.repeat(scale, np.diff(vectors.indptr))
    vectors = sparse.csr_array((vectors.data.astype(np.float32), vectors.indices, vectors.indptr), shape=vectors.shape)
    return Embeddings(vectors, present)


if __name__ == "__main__":
    from branches.cli import main_embed

    raise SystemExit(main_embed("tfidf"))
