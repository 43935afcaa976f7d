from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from shared.schema import (
    CandidatePairs,
    Candidates,
    Catalog,
    Embeddings,
    Matches,
    PairFeatures,
    ScoredPairs,
    locate,
    pair_key,
)

MakeCatalog = Callable[..., Catalog]


def rows(*values: int) -> Any:
    return np.array(values, dtype=np.int32)


def floats(*values: float) -> Any:
    return np.array(values, dtype=np.float32)


def unit_vectors(n: int, d: int, seed: int = 0, absent: tuple[int, ...] = ()) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(absent)] = 0
    return Embeddings(vectors.astype(np.float32), vectors.any(axis=1))


def as_csr(embeddings: Embeddings) -> Embeddings:
    return Embeddings(sparse.csr_array(embeddings.vectors), embeddings.present)


def reloaded(made: Any, folder: Path) -> Any:
    made.save(folder / "saved")
    return type(made).load(folder / "saved")


def assert_equal(one: Any, other: Any) -> None:
    for name in one.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, sparse.csr_array):
            assert type(a) is type(b)
            assert a.shape == b.shape
            a, b = (np.concatenate([m.data, m.indices, m.indptr]) for m in (a, b))
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


# --- Catalog ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [["a", "a"], ["a", None], [None]])
def test_a_catalog_refuses_ids_that_are_null_or_not_unique(catalog_of: MakeCatalog, ids: list[Any]) -> None:
    with pytest.raises(ValueError, match="posting id"):
        catalog_of(len(ids), posting_id=ids)


def test_a_catalog_refuses_other_columns_or_types(catalog_of: MakeCatalog) -> None:
    table = catalog_of(2).table
    for wrong in (
        table.drop_columns(["title"]),
        table.append_column("price", pa.array([1, 2])),
        table.select(sorted(table.column_names)),
        table.set_column(4, "phash", pa.array([1, 2], pa.int64())),
    ):
        with pytest.raises(ValueError, match="catalog columns"):
            Catalog(wrong)


@pytest.mark.parametrize("folder", [None, Path("/images/of é")])
def test_a_catalog_comes_back_as_saved_nulls_included(
    catalog_of: MakeCatalog, tmp_path: Path, folder: Path | None
) -> None:
    awkward = ["001", "1e5", "NA", " a b ", "🛒", "x" * 300, ""]
    made = catalog_of(
        7,
        posting_id=awkward,
        title=["NA", "", None, " ", "ABC\n", "🛒", "nan"],
        label_group=["1", None, "1", "NA", "", "x", "y"],
        phash=[0, 2**64 - 1, None, 2**63, 1, 2, 3],
        image_sha=["s", None, None, "t", "s", None, "u"],
        width=[1, None, None, 2**31 - 1, 1, None, 5],
        bytes=[2**40, None, None, 0, 1, None, 5],
        image_fault=[None, "gone", None, None, None, "bad", None],
    )
    made = Catalog(made.table, folder)
    back = reloaded(made, tmp_path)
    assert_equal(made, back)
    assert back.ids.tolist() == awkward
    assert back.phashes.tolist() == [0, 2**64 - 1, 0, 2**63, 1, 2, 3]
    assert back.has_phash.tolist() == [True, True, False, True, True, True, True]
    assert back.has_image.tolist() == [True, False, False, True, True, False, True]
    assert back.titles.tolist() == ["NA", "", "", " ", "ABC\n", "🛒", "nan"]


def test_the_same_catalog_is_saved_as_the_same_bytes(catalog_of: MakeCatalog, tmp_path: Path) -> None:
    made = catalog_of(3, title=["a", None, "b"])
    made.save(tmp_path / "one")
    Catalog.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_empty_catalog_has_empty_columns(catalog_of: MakeCatalog, tmp_path: Path) -> None:
    empty = reloaded(catalog_of(2).take(np.array([], dtype=np.int64)), tmp_path)
    assert len(empty) == 0
    columns = [empty.ids, empty.titles, empty.labels, empty.has_image, empty.has_phash, empty.phashes]
    assert [len(column) for column in columns] == [0] * 6
    assert empty.image_paths() == []


def test_take_gives_the_listings_in_the_order_asked_for(catalog_of: MakeCatalog) -> None:
    taken = catalog_of(4, title=["a", "b", "c", None]).take(np.array([3, 1]))
    assert taken.ids.tolist() == ["l3", "l1"]
    assert taken.titles.tolist() == ["", "b"]


def test_without_labels_only_the_labels_go(catalog_of: MakeCatalog) -> None:
    made = catalog_of(2, title=["a", "b"], label_group=["1", "2"])
    bare = made.without_labels()
    assert bare.labels.tolist() == [None, None]
    assert bare.table.drop_columns(["label_group"]) == made.table.drop_columns(["label_group"])


def test_a_listing_has_an_image_path_only_where_the_image_can_be_used(catalog_of: MakeCatalog) -> None:
    made = catalog_of(3, image=["a.jpg", "b.jpg", None], image_sha=["s", None, None])
    assert Catalog(made.table, Path("/p")).image_paths() == [Path("/p/a.jpg"), None, None]
    assert made.image_paths() == [None, None, None]


def test_titles_are_normalized_when_a_catalog_is_made(
    catalog_of: MakeCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = ["Red MUG!", None, "", "...", "Fan 5 V", " a"]
    made = catalog_of(6, title=titles)
    monkeypatch.setattr("shared.schema.catalog.normalize_all", lambda titles: pytest.fail("normalized again"))
    normalized = ["red mug", "", "", "", "fan 5v", "a"]
    assert made.normalized_titles.tolist() == normalized
    assert reloaded(made, tmp_path).normalized_titles.tolist() == normalized
    assert made.take(np.array([4, 0])).normalized_titles.tolist() == ["fan 5v", "red mug"]
    assert made.without_labels().normalized_titles.tolist() == normalized
    other = made.with_columns({"posting_id": [f"x{row}" for row in range(6)]})
    assert Catalog.concat([made, other]).normalized_titles.tolist() == normalized * 2


def test_normalized_titles_follow_replaced_titles(catalog_of: MakeCatalog) -> None:
    made = catalog_of(2, title=["A", "B"], label_group=["g", "h"]).with_columns({"title": ["C!", None]})
    assert made.normalized_titles.tolist() == ["c", ""]
    assert made.labels.tolist() == ["g", "h"]


def test_a_file_without_normalized_titles_gets_them(catalog_of: MakeCatalog, tmp_path: Path) -> None:
    made = catalog_of(2, title=["Red MUG!", None])
    pq.write_table(made.table.drop_columns(["normalized_title"]), tmp_path / "earlier")
    assert_equal(Catalog.load(tmp_path / "earlier"), made)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"title": ["a"]}, "needs the column posting_id"),
        (
            {"posting_id": ["a"], "price": [1], "normalized_title": ["a"]},
            "no columns of a catalog: normalized_title, p",
        ),
        ({"posting_id": ["a", "b"], "title": ["a"]}, "length"),
    ],
)
def test_a_catalog_refuses_columns_that_do_not_fit(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Catalog.from_columns(columns)


# --- Embeddings ------------------------------------------------------------------------------------------------------


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
def test_similarity_is_the_dot_product_and_nan_without_evidence(data: st.DataObject) -> None:
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


@pytest.mark.parametrize("form", [lambda e: e, as_csr])
def test_similarity_of_a_pair_does_not_depend_on_block_direction_or_pool(
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


# --- Candidates ------------------------------------------------------------------------------------------------------


def candidates(**changes: Any) -> Candidates:
    good = {
        "n": 4,
        "left": rows(0, 0, 2),
        "right": rows(1, 3, 3),
        "similarity": floats(0.5, -1, 1),
        "rank_left": rows(1, 0, 2),
        "rank_right": rows(0, 1, 2),
    }
    return Candidates(**(good | changes))


BAD_PAIRS = [
    {"left": rows(1, 0, 2)},  # left = right
    {"left": rows(3, 0, 2)},  # left > right
    {"left": rows(-1, 0, 2)},  # faiss pads with −1
    {"right": rows(1, 3, 4)},  # outside of the pool
    {"left": rows(0, 0, 0), "right": rows(1, 3, 3)},  # twice
    {"left": rows(0, 2, 0), "right": rows(1, 3, 3)},  # not sorted by left
    {"left": rows(0, 0, 2), "right": rows(3, 1, 3)},  # not sorted by right
    {"left": np.array([0, 0, 2])},  # int64
    {"left": rows(0, 2)},  # length
    {"n": 3},
]


@pytest.mark.parametrize(
    "changes",
    [
        *BAD_PAIRS,
        {"similarity": floats(0.5, np.nan, 1)},
        {"similarity": floats(0.5, 1.1, 1)},
        {"similarity": floats(0.5, -np.inf, 1)},
        {"similarity": floats(0.5, 1)},
        {"similarity": np.array([0.5, -1, 1])},
        {"rank_left": rows(1, 0, -1)},
        {"rank_left": rows(0, 0, 2)},  # no rank on either side
        {"rank_left": np.array([1, 0, 2])},
        {"rank_right": rows(0, 1)},
    ],
)
def test_candidates_refuse_what_their_description_forbids(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"pair|differ|similarit|rank"):
        candidates(**changes)


def test_candidates_come_back_as_saved(tmp_path: Path) -> None:
    none = Candidates(0, rows(), rows(), floats(), rows(), rows())
    for made in (candidates(), none):
        assert_equal(made, reloaded(made, tmp_path))


# --- pairs -----------------------------------------------------------------------------------------------------------


def bare(**changes: Any) -> CandidatePairs:
    return CandidatePairs(**({"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3)} | changes))


def described(**changes: Any) -> PairFeatures:
    table = pd.DataFrame({"image similarity": floats(0, np.nan, 1), "f:odd": floats(1, 2, 3)})
    return PairFeatures(**({"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3), "features": table} | changes))


def scored(**changes: Any) -> ScoredPairs:
    good = {"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3), "score": floats(0, 0.25, 1)}
    return ScoredPairs(**(good | changes))


@pytest.mark.parametrize("make", [bare, described, scored])
@pytest.mark.parametrize("changes", BAD_PAIRS)
def test_pairs_refuse_bad_rows(make: Callable[..., CandidatePairs], changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pair"):
        make(**changes)


@pytest.mark.parametrize(
    "features",
    [
        pd.DataFrame({"a": floats(1, 2)}),
        pd.DataFrame({"a": [1.0, 2.0, 3.0]}),  # float64
    ],
)
def test_pair_features_refuse_a_bad_frame(features: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="features"):
        described(features=features)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": floats(0, 0.5)},
        {"score": floats(0, 0.5, 1.5)},
        {"score": floats(0, -0.5, 1)},
        {"score": floats(0, np.nan, 1)},
        {"score": np.array([0.0, 0.5, 1.0])},  # float64
        {"conflict": np.array([True, False])},
        {"conflict": np.array([1, 0, 1])},
    ],
)
def test_scored_pairs_refuse_bad_columns(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"scores|conflicts"):
        scored(**changes)


SOME_PAIRS = [
    bare(),
    described(),
    described(features=pd.DataFrame(index=range(3))),
    scored(),
    scored(conflict=np.array([True, False, True])),
    CandidatePairs(1, rows(), rows()),
    PairFeatures(1, rows(), rows(), pd.DataFrame({"a": floats()})),
    ScoredPairs(1, rows(), rows(), floats(), np.zeros(0, dtype=bool)),
]


@pytest.mark.parametrize("made", SOME_PAIRS, ids=lambda made: f"{type(made).__name__}-{len(made)}")
def test_pairs_come_back_as_saved(made: CandidatePairs, tmp_path: Path) -> None:
    assert_equal(made, reloaded(made, tmp_path))


@pytest.mark.parametrize("made", [bare(), described(), scored(conflict=np.array([True, False, True])), candidates()])
def test_only_keeps_all_columns_of_some_pairs(made: CandidatePairs) -> None:
    keep = np.array([True, False, True])
    some = made.only(keep)
    assert type(some) is type(made)
    for name, column in vars(made).items():
        expected = column[keep].reset_index(drop=True) if isinstance(column, pd.DataFrame) else column
        expected = column[keep] if isinstance(column, np.ndarray) else expected
        np.testing.assert_array_equal(getattr(some, name), expected)


def test_features_and_scores_of_a_file_of_bare_pairs_are_missed(tmp_path: Path) -> None:
    bare().save(tmp_path / "pairs")
    assert list(PairFeatures.load(tmp_path / "pairs").features) == []
    with pytest.raises(KeyError, match="score"):
        ScoredPairs.load(tmp_path / "pairs")


def test_load_refuses_a_foreign_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"left": [1]}), tmp_path / "foreign")
    with pytest.raises((KeyError, TypeError)):
        CandidatePairs.load(tmp_path / "foreign")


def test_pair_key_does_not_overflow_int32() -> None:
    assert pair_key(rows(100_000), rows(100_001), 200_000).tolist() == [100_000 * 200_000 + 100_001]


@given(st.sets(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_locate_equals_a_naive_look_up(among: set[int], wanted: list[int]) -> None:
    keys = np.array(sorted(among), dtype=np.int64)
    position, is_there = locate(np.array(wanted, dtype=np.int64), keys)
    assert is_there.tolist() == [key in among for key in wanted]
    assert keys[position[is_there]].tolist() == [key for key in wanted if key in among]


# --- Matches ---------------------------------------------------------------------------------------------------------


def matches(**changes: Any) -> Matches:
    good = {
        "n": 5,
        "listing": rows(0, 0, 0, 3, 3),
        "match": rows(4, 1, 2, 2, 0),
        "score": floats(0.9, 0.5, 0.5, 0.1, np.nan),
    }
    return Matches(**(good | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"match": rows(0, 1, 2, 2, 0)},  # of itself
        {"match": rows(4, 1, 2, 2, 5)},  # outside of the pool
        {"match": rows(4, 1, 2, 2, -1)},
        {"match": rows(4, 1, 1, 2, 0)},  # twice
        {"match": rows(1, 4, 1, 2, 0)},  # twice, at different scores
        {"match": rows(4, 2, 1, 2, 0)},  # equal scores, the higher row first
        {"score": floats(0.4, 0.5, 0.5, 0.1, np.nan)},  # worse ones first
        {"score": floats(0.9, 0.5, 0.5, np.nan, 0.1)},  # without a score first
        {"score": floats(1.9, 0.5, 0.5, 0.1, np.nan)},
        {"score": floats(0.9, 0.5, 0.5, -0.1, np.nan)},
        {"score": floats(0.9, 0.5)},
        {"listing": rows(0, 0, 3, 0, 3)},
        {"n": 4},
    ],
)
def test_matches_refuse_what_their_description_forbids(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"match|scores|differ|negative"):
        matches(**changes)


def test_matches_give_one_list_for_every_listing() -> None:
    assert [found.tolist() for found in matches().lists()] == [[4, 1, 2], [], [], [2, 0], []]
    assert [len(found) for found in Matches(2, rows(), rows(), floats()).lists()] == [0, 0]
    assert Matches(0, rows(), rows(), floats()).lists() == []
