"""Dot products of many embeddings with many others, in float32, dense or sparse, on a CPU or a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import Vectors

COMMON = 1 / 16  # a sparse column filled in more than this share of the rows is multiplied faster as a dense one

Index = NDArray[np.int64]
Product = Callable[[Index], Any]  # b rows → their products with m others, float32 [b, m] of xp
Products = Callable[[Index], Product]  # those m others, by their rows


def products(vectors: Vectors, xp: ModuleType) -> Products:
    """Return a function that multiplies some rows of a matrix with others.

    Of a sparse matrix the common columns are taken out and multiplied as a dense one: they are few, and cause most of
    the work of a sparse product, which costs the square of a column's entries.

    Args:
        vectors: float32 [n, d], dense or CSR.
        xp: numpy or CuPy.

    Examples:
        >>> vectors = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
        >>> with_first_two = products(vectors, np)(np.array([0, 1]))
        >>> with_first_two(np.array([1, 2])).tolist()
        [[0.0, 1.0], [0.5, 0.5]]
    """
    if not sparse.issparse(vectors):
        return _of_dense(vectors, xp)
    common = np.bincount(vectors.indices, minlength=vectors.shape[1]) > COMMON * vectors.shape[0]
    dense_product = _of_dense(vectors[:, np.flatnonzero(common)].toarray(), xp)
    rest = vectors[:, np.flatnonzero(~common)]
    if rest.nnz == 0:
        return dense_product
    matrix = (lambda host: host) if xp is np else importlib.import_module("cupyx.scipy.sparse").csr_matrix

    def with_others(others: Index) -> Product:
        dense, transposed = dense_product(others), matrix(rest[others]).T.tocsr()
        return lambda rows: matrix(rest[rows]) @ transposed + dense(rows)

    return with_others


def _of_dense(vectors: Any, xp: ModuleType) -> Products:
    matrix = xp.asarray(vectors)

    def with_others(others: Index) -> Product:
        all_rows = len(others) == len(matrix) and bool((others == np.arange(len(others))).all())
        transposed = matrix.T if all_rows else matrix[xp.asarray(others)].T  # a copy, which a large pool can do without
        return lambda rows: matrix[xp.asarray(rows)] @ transposed

    return with_others
