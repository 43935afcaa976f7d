from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.schema import (
    Catalog,
)
from tests.support.stored import assert_equal, reloaded
from tests.support.titles import UNREADABLE, break_titles

MakeCatalog = Callable[..., Catalog]


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


def test_image_paths_of_usable_images_only(catalog_of: MakeCatalog) -> None:
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


def test_joined_catalog_keeps_its_sources(tmp_path: Path) -> None:
    shop = Catalog.from_columns({"posting_id": ["1", "b:2"], "title": ["Mug", "Fan"], "label_group": ["x", None]})
    extra = Catalog.from_columns({"posting_id": ["e-1:1"], "label_group": ["e-1:x"]})
    joined = Catalog.concat([Catalog.join({"a": shop, "b": shop.take(np.array([1]))}), extra])
    joined.save(tmp_path / "joined.parquet")
    for catalog in (joined, Catalog.load(tmp_path / "joined.parquet")):
        assert catalog.ids.tolist() == ["a:1", "a:b:2", "b:b:2", "e-1:1"]
        assert catalog.labels.tolist() == ["a:x", None, None, "e-1:x"]
        assert catalog.source_numbers().tolist() == [0, 0, 1, -1]
        assert catalog.take(np.array([2, 1])).source_numbers().tolist() == [1, 0]
        for source, rows in (("a", [0, 1]), ("b", [1])):
            part = catalog.without_labels().of_source(source) if source == "b" else catalog.of_source(source)
            assert part.ids.tolist() == shop.take(np.array(rows)).ids.tolist()
            assert part.labels.tolist() == shop.take(np.array(rows)).labels.tolist()
            assert part.sources == ()


def test_catalog_of_one_table_has_no_sources(tmp_path: Path) -> None:
    shop = Catalog.from_columns({"posting_id": ["a:1", "a:2"]})
    shop.save(tmp_path / "shop.parquet")
    assert Catalog.load(tmp_path / "shop.parquet").sources == ()
    assert shop.source_numbers().tolist() == [-1, -1]


@pytest.mark.fault(31)
def test_unreadable_title_stays_as_written_without_a_normalized_form(monkeypatch: pytest.MonkeyPatch) -> None:
    break_titles(monkeypatch, ValueError)
    catalog = Catalog.from_columns({"posting_id": list("abcd"), "title": ["Red Mug", UNREADABLE, "...", None]})
    assert catalog.titles.tolist() == ["Red Mug", UNREADABLE, "...", ""]
    assert catalog.normalized_titles.tolist() == ["red mug", "", "", ""]
    assert catalog.has_unreadable_title.tolist() == [False, True, False, False]
