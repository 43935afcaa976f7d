from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from shared.schema import (
    Embeddings,
)
from tests.support.stored import assert_equal, reloaded, rows


def unit_vectors(n: int, d: int, seed: int = 0, absent: tuple[int, ...] = ()) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(absent)] = 0
    return Embeddings(vectors.astype(np.float32), vectors.any(axis=1))


def as_csr(embeddings: Embeddings) -> Embeddings:
    return Embeddings(sparse.csr_array(embeddings.vectors), embeddings.present)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("vectors", "present", "match"),
    [
        ([[1, 0], [np.nan, 0]], [True, True], "finite"),
        ([[1, 0], [np.inf, 0]], [True, True], "finite"),
        ([[1, 0], [0.9, 0]], [True, True], "unit norm"),
        ([[1, 0], [0, 0]], [True, True], "unit norm"),
        ([[1, 0], [0, 1]], [True, False], "zero"),
        ([[1, 0], [0, 1]], [True], "differ"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_embeddings_refuse_rows_that_are_not_unit_or_zero(
    vectors: Any, present: Any, match: str, form: Callable[[Any], Any]
) -> None:
    with pytest.raises(ValueError, match=match):
        Embeddings(form(np.array(vectors, dtype=np.float32)), np.array(present))


@pytest.mark.parametrize(
    ("vectors", "present"),
    [
        (np.eye(2), np.ones(2, dtype=bool)),
        (np.eye(2, dtype=np.float16), np.ones(2, dtype=bool)),
        (np.eye(2, dtype=np.float32), np.ones(2, dtype=np.int64)),
        (np.ones(2, dtype=np.float32), np.ones(2, dtype=bool)),
        (sparse.csr_matrix(np.eye(2, dtype=np.float32)), np.ones(2, dtype=bool)),
        (sparse.coo_array(np.eye(2, dtype=np.float32)), np.ones(2, dtype=bool)),
    ],
)
def test_embeddings_refuse_other_forms_and_types(vectors: Any, present: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|differ"):
        Embeddings(vectors, present)


@pytest.mark.parametrize("n", [0, 1, 9])
@pytest.mark.parametrize("form", [lambda e: e, as_csr])
def test_embeddings_come_back_as_saved(n: int, form: Callable[[Embeddings], Embeddings], tmp_path: Path) -> None:
    made = form(unit_vectors(n, 5, absent=tuple(range(0, n, 4))))
    assert_equal(made, reloaded(made, tmp_path))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_similarity_equals_dot_product_or_nan(data: st.DataObject) -> None:
    n, d = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    absent = tuple(data.draw(st.sets(st.integers(0, n - 1))))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    left, right = np.array(data.draw(st.lists(pair, max_size=30)), dtype=np.int32).reshape(-1, 2).T
    dense = unit_vectors(n, d, data.draw(st.integers(0, 99)), absent)
    for made in (dense, as_csr(dense)):
        found = made.similarity(left, right, block=data.draw(st.integers(1, 40)))
        assert found.dtype == np.float32
        for a, b, value in zip(left, right, found, strict=True):
            if a in absent or b in absent:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(float(np.dot(dense.vectors[a], dense.vectors[b])), abs=1e-6)


@pytest.mark.fault(14)
@pytest.mark.parametrize("form", [lambda e: e, as_csr])
def test_similarity_in_any_block_direction_and_pool(
    form: Callable[[Embeddings], Embeddings],
) -> None:
    made = unit_vectors(300, 257, absent=(7,))
    left, right = np.triu_indices(300, 1)
    left, right = left.astype(np.int32), right.astype(np.int32)
    whole = form(made).similarity(left, right)
    exact = made.vectors.astype(np.float64) @ made.vectors.astype(np.float64).T
    known = made.present[left] & made.present[right]
    np.testing.assert_allclose(whole[known], exact[left, right][known], rtol=1e-7, atol=1e-12)
    for block in (1000, 4097):
        np.testing.assert_array_equal(whole, form(made).similarity(left, right, block))
    np.testing.assert_array_equal(whole, form(made).similarity(right, left))
    part = form(Embeddings(made.vectors[[3, 299, 5]], made.present[[3, 299, 5]]))
    inside = (left == 3) & (right == 299)
    np.testing.assert_array_equal(whole[inside], part.similarity(rows(0), rows(1)))
