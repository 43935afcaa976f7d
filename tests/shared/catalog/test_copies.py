"""One listing stands for all of equal content."""

import numpy as np
import pytest

from shared.catalog.copies import class_sizes, copy_of
from shared.schema import Catalog
from tests.support.titles import UNREADABLE, break_titles

HASH = 0x9B3C5D2A6F0E1478


def test_content_is_title_image_and_hash() -> None:
    columns = {
        "posting_id": ["h", "g", "f", "e", "d", "c", "b", "a"],
        "title": ["Red mug", "RED MUG!", "red mug", "red mug", None, None, "fan", "fan"],
        "image_sha": ["x", "x", "y", None, "x", "x", None, None],
        "phash": [HASH, HASH, HASH, None, HASH, HASH, HASH, HASH],
    }
    assert copy_of(Catalog.from_columns(columns)).tolist() == [1, 1, 2, 3, 5, 5, 7, 7]


def test_listings_without_content_stand_for_themselves() -> None:
    columns = {
        "posting_id": ["a", "b", "c", "d", "e", "f"],
        "title": [None, None, "  ", "!!", "mug", "mug"],
        "image_sha": [None, None, "blank", "blank", "blank", "blank"],
        "phash": [None, None, 2**63, 2**63, 2**63, 2**63],
    }
    assert copy_of(Catalog.from_columns(columns)).tolist() == [0, 1, 2, 3, 4, 4]


@pytest.mark.fault(35)
def test_the_order_of_listings_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    ids = [f"p{i:03}" for i in rng.permutation(200)]
    catalog = Catalog.from_columns({"posting_id": ids, "title": [f"mug {i}" for i in rng.integers(40, size=200)]})
    order = rng.permutation(200)
    moved = catalog.take(order)
    assert moved.ids[copy_of(moved)].tolist() == catalog.ids[copy_of(catalog)][order].tolist()
    for row, stands in enumerate(copy_of(catalog)):
        same = catalog.ids[catalog.titles == catalog.titles[row]]
        assert catalog.ids[stands] == min(same)
    assert class_sizes(copy_of(catalog)).sum() == 200


def test_an_empty_catalog_has_no_copies() -> None:
    assert len(copy_of(Catalog.from_columns({"posting_id": []}))) == 0


@pytest.mark.fault(31)
def test_titles_that_cannot_be_read_are_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    break_titles(monkeypatch, MemoryError)
    catalog = Catalog.from_columns({"posting_id": list("abc"), "title": [UNREADABLE, UNREADABLE, "mug 5'"]})
    assert copy_of(catalog).tolist() == [0, 1, 2]
