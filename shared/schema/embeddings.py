"""The vectors that a branch makes of listings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from shared.schema.types import NORM_TOLERANCE, Flags, Floats, Rows, Vectors, require

DENSE_BLOCK, SPARSE_BLOCK = 512, 2048  # pairs at a time; more would not stay in the caches


@dataclass(frozen=True)
class Embeddings:
    """One branch's vectors of a pool; the dot product of two rows is their cosine similarity.

    Args:
        vectors: float32 [n, d], dense or CSR. Unit rows where `present`, zero rows elsewhere.
        present: bool [n]; False where the branch has no evidence about a listing.
    """

    vectors: Vectors
    present: Flags

    def __post_init__(self) -> None:
        require(isinstance(self.vectors, np.ndarray | sparse.csr_array), "vectors must be a numpy or a CSR array")
        require(self.present.dtype == np.bool_, f"present must be bool, not {self.present.dtype}")
        require(self.vectors.ndim == 2 and self.vectors.shape[0] == len(self.present), "vectors and present differ")
        require(self.vectors.dtype == np.float32, f"vectors must be float32, not {self.vectors.dtype}")
        if isinstance(self.vectors, np.ndarray):
            squares = np.einsum("nd,nd->n", self.vectors, self.vectors)  # without a copy of them all
        else:
            squares = np.asarray((self.vectors * self.vectors).sum(axis=1)).ravel()
        require(np.isfinite(squares).all(), "embeddings must be finite")
        norms = np.sqrt(squares.astype(np.float64))
        require((np.abs(norms[self.present] - 1) <= NORM_TOLERANCE).all(), "rows with evidence must have unit norm")
        require((norms[~self.present] == 0).all(), "rows without evidence must be zero")

    def __len__(self) -> int:
        return len(self.present)

    def similarity(self, left: Rows, right: Rows, block: int | None = None) -> Floats:
        """Cosine of the given pairs, float32 [p]; NaN where either listing has no evidence.

        Summed in float64 pair by pair, so that a pair's value does not depend on what else is in the pool.
        """
        out = np.full(len(left), np.nan, dtype=np.float32)
        known = np.flatnonzero(self.present[left] & self.present[right])
        block = block or (SPARSE_BLOCK if sparse.issparse(self.vectors) else DENSE_BLOCK)
        for start in range(0, len(known), block):
            at = known[start : start + block]
            if isinstance(self.vectors, sparse.csr_array):
                out[at] = _sparse_products(self.vectors, left[at], right[at])
            else:
                out[at] = np.einsum("pd,pd->p", self.vectors[left[at]], self.vectors[right[at]], dtype=np.float64)
        return out

    def take(self, rows: NDArray[np.integer]) -> Embeddings:
        """Return the embeddings of the listings at `rows`, in that order."""
        return Embeddings(self.vectors[rows], self.present[rows])

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        if isinstance(self.vectors, sparse.csr_array):
            v = self.vectors
            tensors = {
                "data": v.data,
                "indices": v.indices.astype(np.int32),
                "indptr": v.indptr.astype(np.int64),
                "shape": np.array(v.shape, dtype=np.int64),
            }
        else:
            tensors = {"vectors": np.ascontiguousarray(self.vectors)}
        save_file({**tensors, "present": self.present.astype(np.uint8)}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        t = load_file(path)
        present = t["present"].astype(bool)
        if "vectors" in t:
            return cls(t["vectors"], present)
        vectors = sparse.csr_array((t["data"], t["indices"], t["indptr"]), shape=tuple(t["shape"].tolist()))
        vectors.check_format(full_check=True)  # products read past the end of what indices name wrongly
        return cls(vectors, present)


def _sparse_products(vectors: sparse.csr_array, left: Rows, right: Rows) -> NDArray[np.float64]:
    """Dot products of pairs of rows, each summed in the order of the columns, float64 [p]; fast where left repeats."""
    others, row = vectors[right], np.zeros(vectors.shape[1])
    terms = np.empty(len(others.data))
    borders = np.append(np.flatnonzero(np.diff(left, prepend=-1)), len(left))
    for own, (start, end) in zip(left[borders[:-1]], pairwise(others.indptr[borders].tolist()), strict=True):
        columns = slice(*vectors.indptr[own : own + 2])
        row[vectors.indices[columns]] = vectors.data[columns]
        np.multiply(others.data[start:end], row[others.indices[start:end]], out=terms[start:end])
        row[vectors.indices[columns]] = 0
    sums = sparse.csr_array((terms, np.zeros(len(terms), dtype=np.int32), others.indptr), shape=(len(right), 1))
    return np.asarray(sums @ np.ones(1), dtype=np.float64)  # adds one after the other
