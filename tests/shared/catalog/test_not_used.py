"""What of a catalog was not used is listed with its reason, and labels may be missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from shared.catalog.config import DataConfig
from shared.catalog.ids import id_warnings
from shared.catalog.not_used import in_words, not_used
from shared.catalog.placeholders import set_aside
from shared.catalog.reader import frame_catalog, read_catalog, read_labels
from shared.catalog.source import Source
from shared.compute import ComputeConfig
from shared.schema import Catalog
from tests.support.listings import HASH, draw, fault_of, read, rows_of, write

MISSING = "a word for a missing value"


def listed(catalog: Catalog) -> list[tuple[str, str, str, str]]:
    return [tuple(row.values()) for row in not_used(catalog).to_pylist()]


@pytest.mark.fault(31, 36)
def test_hash_that_cannot_be_read_costs_its_row_nothing_else(tmp_path: Path) -> None:
    rows = [
        dict(rows_of(name)[0], image_phash=text)
        for name, text in [("a", f"0x{HASH}"), ("b", "zz"), ("c", "nan"), ("d", "")]
    ]
    catalog = read(write(tmp_path / "train.csv", rows))
    assert catalog.has_phash.tolist() == [True, False, False, False]
    assert listed(catalog) == [
        ("b", "image_phash", "zz", "not a perceptual hash of 64 bits"),
        ("c", "image_phash", "nan", MISSING),
    ]
    assert in_words(catalog) == (
        "image_phash: not a perceptual hash of 64 bits 1 (such as 'zz' of b) · "
        "image_phash: a word for a missing value 1 (such as 'nan' of c)"
    )


@pytest.mark.fault(1, 36)
def test_words_for_missing_values_are_none_and_ids_stay(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    names = ["NA", "nan", "None", "d"]
    rows = [{"posting_id": name, "image": name, "title": name, "label_group": name} for name in names]
    rows[3]["image"] = "a.png"
    catalog = read(write(tmp_path / "train.csv", rows))
    assert catalog.ids.tolist() == names
    assert catalog.titles.tolist() == ["", "", "", "d"]
    assert catalog.labels.tolist() == [None, None, None, "d"]
    assert catalog.column("image_fault").tolist() == [None] * 4
    assert [row[:3] for row in listed(catalog)[:3]] == [
        ("NA", what, "NA") for what in ("title", "image", "label_group")
    ]
    assert len(listed(catalog)) == 9


@pytest.mark.fault(36)
def test_images_titles_and_shared_evidence_are_listed(tmp_path: Path) -> None:
    titles = ["rice cooker", "bicycle pump", "desk lamp", "red mug", "hiking boots", "!!"]
    columns = {"posting_id": list("abcdef"), "title": titles, "image_phash": ["9b3c5d2a6f0e1478"] * 5 + [""]}
    catalog = frame_catalog(
        pd.DataFrame(columns | {"image": [""] * 5 + ["f.jpg"]}), None, DataConfig(), ComputeConfig(threads=1)
    )
    judged, _ = set_aside(catalog)
    assert listed(judged) == [
        *((one, "image_phash", "9b3c5d2a6f0e1478", "many unlike listings share it") for one in "abcde"),
        ("f", "image", "f.jpg", "no image folder"),
        ("f", "title", "!!", "no letter or digit in it"),
    ]
    judged.save(tmp_path / "catalog.parquet")
    assert listed(Catalog.load(tmp_path / "catalog.parquet").take(np.array([5, 0]))) == [
        *listed(judged)[5:],
        listed(judged)[0],
    ]


def test_catalog_of_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    catalog = Catalog.from_columns({"posting_id": ["a"], "title": ["mug"]})
    pq.write_table(catalog.table.drop_columns(["not_used"]), tmp_path / "catalog.parquet")
    assert Catalog.load(tmp_path / "catalog.parquet").table.equals(catalog.table)


@pytest.mark.fault(4)
def test_labels_of_some_rows_will_do_and_of_none_will_not(tmp_path: Path) -> None:
    rows = [dict(rows_of(name)[0], label_group=label) for name, label in [("a", "g"), ("b", ""), ("c", "nan")]]
    assert read(write(tmp_path / "train.csv", rows)).labels.tolist() == ["g", None, None]
    write(tmp_path / "train.csv", rows[1:])
    assert "no row has a label_group; label some, or start without labels" in fault_of(tmp_path)


def test_ids_that_few_will_read_right_are_told() -> None:
    assert id_warnings(["a", "é", "1e5", "a-b"]) == []
    (formula,) = id_warnings(["-N1abc", "=1", "c"])
    assert "2 ids begin as a formula" in formula
    assert "-N1abc" in formula
    (blank,) = id_warnings(["a b", "c"])
    assert "1 id holds blanks (such as 'a b'), so submission.csv cannot be split" in blank
    _, alike = id_warnings(["a", "a "])
    assert "1 id differs from another by blanks or Unicode form alone ('a' and 'a '): two listings" in alike
    (unicode,) = id_warnings(["e\u0301", "\u00e9"])
    assert "1 id differs" in unicode


@pytest.mark.fault(1, 36)
def test_title_that_is_cut_within_an_emoji_costs_its_row_that_character(tmp_path: Path) -> None:
    table = tmp_path / "train.jsonl"
    table.write_text(
        r'{"posting_id": "a", "title": "cut \ud83d", "image": ""}'
        + "\n"
        + r'{"posting_id": "b", "title": "red mug", "image": "\udf4e.jpg"}'
    )
    of_table = read_catalog(Source(table, None), DataConfig(), ComputeConfig(threads=1), labeled=False, progress=False)
    frame = pd.DataFrame({"posting_id": ["a", "b"], "title": ["cut \ud83d", "red mug"]}, dtype=object)
    of_frame = frame_catalog(frame, None, DataConfig(), ComputeConfig(threads=1))
    for catalog in (of_table, of_frame):
        assert catalog.titles.tolist() == ["cut \ufffd", "red mug"]
        assert catalog.normalized_titles.tolist() == ["cut", "red mug"]
        assert ("a", "title", "cut \ufffd", "half a surrogate pair in it") in listed(catalog)
    assert ("b", "image", "\ufffd.jpg", "half a surrogate pair in it") in listed(of_table)


@pytest.mark.fault(36)
def test_blanks_at_the_ends_of_a_label_make_no_other_product(tmp_path: Path) -> None:
    labels = {"a": "x", "b": "x ", "c": "\tx\u00a0"}
    rows = [{"posting_id": name, "title": "mug", "label_group": label} for name, label in labels.items()]
    path = write(tmp_path / "train.csv", rows)
    catalog = read(path)
    assert catalog.labels.tolist() == ["x", "x", "x"]
    assert [(name, what, why) for name, what, _, why in listed(catalog)] == [
        (name, "label_group", "blanks at its ends") for name in "bc"
    ]
    assert read_labels(Source(path, None), DataConfig()).tolist() == ["x", "x", "x"]
