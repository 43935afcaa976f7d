"""Words and character n-grams of titles as short dense vectors, which stand beside what the transformer makes of them.

The transformer cuts titles into pieces of the language that it was pretrained on. In another language, and in names and
model numbers, the pieces mean little, while equal n-grams still tell equal products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from shared.artifacts import atomic_file, reading
from shared.schema import Floats

DIM = 256  # numbers per title
BUCKETS = 1 << 16  # terms are told apart by a hash
SIGNS = 16  # numbers of the vector that a term is added to
BLOCK = 4096  # titles that are counted at a time
FILE = "ngrams.safetensors"


class Ngrams:
    """Unit vectors of titles whose cosine is, up to noise of about 1 / √DIM, that of their TF-IDF vectors.

    Words and character n-grams of 3 to 5 count half each, as in the TF-IDF branch. Terms go into buckets by their hash
    (arXiv 0902.2206), so a title of another catalog has all of its terms, too, and each bucket is added with random
    signs to a few numbers of the vector (a sparse random projection, Li, Hastie & Church 2006).

    Args:
        idf: How rare the terms of each bucket are, float32 [2, BUCKETS]: of words, of character n-grams.

    Examples:
        >>> ngrams = Ngrams.of(["red mug 300 ml", "red mug 300ml", "bike pump"])
        >>> vectors = ngrams.vectors(["red mug 300 ml", "mug red 300 ml", "red pump", "bike pump"])
        >>> [f"{cosine:.1f}" for cosine in vectors @ vectors[0]]
        ['1.0', '1.0', '0.3', '-0.1']
    """

    def __init__(self, idf: Floats) -> None:
        self.idf = idf

    @classmethod
    def of(cls, titles: Sequence[str]) -> Ngrams:
        """Return n-grams that are weighted by how many of these titles hold them: 1 + ln((1 + n) / (1 + holding))."""
        holding = np.zeros((2, BUCKETS))
        for block in _blocks(titles):
            counts = [counter.transform(titles[block]).indices for counter in _counters()]
            holding += [np.bincount(buckets, minlength=BUCKETS) for buckets in counts]
        return cls((1 + np.log((1 + len(titles)) / (1 + holding))).astype(np.float32))

    def vectors(self, titles: Sequence[str]) -> Floats:
        """Return unit rows, float32 [n, DIM]."""
        vectors = np.zeros((len(titles), DIM), dtype=np.float32)
        for block in _blocks(titles):
            for counter, idf, projection in zip(_counters(), self.idf, _projections(), strict=True):
                weighted = normalize(counter.transform(titles[block]).multiply(idf).tocsr())
                vectors[block] += (weighted @ projection).toarray()
            vectors[block] = normalize(vectors[block])
        return vectors

    def beside(self, vectors: Floats, titles: Sequence[str], share: float) -> Floats:
        """Return vectors of titles with the n-grams beside them: unit rows.

        Args:
            vectors: Unit rows, float32 [n, d].
            titles: The title of each.
            share: How much n-grams count in a cosine, in [0, 1].

        Returns:
            float32 [n, d + DIM].
        """
        both = np.empty((len(titles), vectors.shape[1] + DIM), dtype=np.float32)
        np.multiply(vectors, (1 - share) ** 0.5, out=both[:, :-DIM])
        np.multiply(self.vectors(titles), share**0.5, out=both[:, -DIM:])
        return both

    def save(self, folder: Path) -> None:
        """Write the weights into a folder."""
        with atomic_file(folder / FILE) as partial:
            save_file({"idf": self.idf}, partial)

    @classmethod
    def load(cls, folder: Path) -> Ngrams:
        """Return what `save` wrote.

        Raises:
            ArtifactError: It is missing or damaged.
        """
        with reading(folder / FILE, "train the branch again"):
            with safe_open(folder / FILE, framework="np") as file:
                weights = file.get_slice("idf")
                if weights.get_shape() != [2, BUCKETS] or weights.get_dtype() != "F32":
                    raise ValueError(f"{weights.get_shape()} weights in place of {[2, BUCKETS]}")
                idf = file.get_tensor("idf")
            if not ((idf >= 1) & (idf < 100)).all():
                raise ValueError("a weight is not between 1 and 100")
        return cls(idf)


def _blocks(titles: Sequence[str]) -> list[slice]:
    """Return titles in blocks, so that their counts take little memory."""
    return [slice(start, start + BLOCK) for start in range(0, len(titles), BLOCK)]


def _counters() -> list[HashingVectorizer]:
    """Return a counter of words and one of character n-grams."""
    options = {"n_features": BUCKETS, "alternate_sign": False, "norm": None, "lowercase": False, "dtype": np.float32}
    return [
        HashingVectorizer(token_pattern=r"\S+", **options),
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **options),
    ]


@cache
def _projections() -> list[sparse.csr_array]:
    """Return a projection per kind of terms, float32 CSR [BUCKETS, DIM]: the same in every process and version.

    NumPy never changes the numbers of `RandomState`.
    """
    numbers = np.random.RandomState(0)
    return [_projection(numbers) for _ in range(2)]


def _projection(numbers: np.random.RandomState) -> sparse.csr_array:
    columns: NDArray[np.int64] = numbers.randint(DIM, size=BUCKETS * SIGNS)
    signs = (numbers.randint(2, size=BUCKETS * SIGNS) * 2 - 1).astype(np.float32)
    return sparse.csr_array((signs, columns, np.arange(BUCKETS + 1) * SIGNS), shape=(BUCKETS, DIM))
