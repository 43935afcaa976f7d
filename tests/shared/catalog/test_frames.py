"""Listings from a frame are read by the rules of a table; labels are read apart from listings."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog.config import DataConfig
from shared.catalog.reader import frame_catalog, read_catalog, read_labels
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.schema import Catalog
from tests.support.listings import HASH, draw

COMPUTE = ComputeConfig(device="cpu", threads=1)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12)


def read(frame: pd.DataFrame, images: Path | None = None) -> Catalog:
    return frame_catalog(frame, images, DataConfig(), COMPUTE)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"posting_id": ["a", "b"], "title": ["tas", "kaos"]} | columns)


# --- as a table ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(TEXT.filter(str.strip), TEXT, TEXT), min_size=1, max_size=8, unique_by=lambda row: row[0]))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_is_read_as_the_table_that_holds_the_same(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    table = pd.DataFrame(rows, columns=["posting_id", "title", "note"], dtype=object)
    table.to_parquet(tmp_path / "t.parquet")
    config = DataConfig()
    wanted = read_catalog(find_source(tmp_path / "t.parquet", config), config, COMPUTE, labeled=False)
    assert read(table).table.equals(wanted.table)
    assert read(table.set_index("note", drop=False)).table.equals(wanted.table)


def test_images_are_read_as_those_of_a_table(demo_folder: Path, demo_catalog: Catalog) -> None:
    table = pd.read_csv(demo_folder / "train.csv", dtype=str)
    found = read(table, demo_folder / "train_images")
    assert found.table.equals(demo_catalog.without_labels().table)
    assert found.image_paths() == demo_catalog.image_paths()
    blind = read(table)
    assert not blind.has_image.any()
    assert blind.image_folder is None


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, 2.5], ["1", "2.5"]),
        (np.array([1, 2], dtype=np.int8), ["1", "2"]),
        (pd.array([1, 2], dtype="Int64"), ["1", "2"]),
        (pd.Categorical(["x", "y"]), ["x", "y"]),
        (pd.array(["001", "NA"], dtype="string"), ["001", "NA"]),
        (pd.array([b"x", b"y"], dtype=object), ["x", "y"]),
    ],
)
def test_ids_of_any_kind_become_text(values: Any, wanted: list[str]) -> None:
    assert read(frame(posting_id=values)).ids.tolist() == wanted


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, ""])
def test_what_is_missing_is_no_title(missing: Any) -> None:
    assert read(frame(title=[missing, "kaos"])).titles.tolist() == ["", "kaos"]


def test_labels_and_other_columns_are_not_read() -> None:
    found = read(frame(label_group=["1", "1"], vectors=[np.zeros(3), {"a": 1}]))
    assert found.labels.tolist() == [None, None]
    names = ["posting_id", "title", "label_group", "label_group"]
    assert len(read(pd.DataFrame([["a", "tas", "1", [1]], ["b", "kaos", "1", [2]]], columns=names))) == 2


@pytest.mark.fault(31, 36)
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (bytes.fromhex(HASH), int(HASH, 16)),
        (HASH.encode(), int(HASH, 16)),
        (int(HASH, 16), int(HASH, 16)),
        (np.int64(int(HASH, 16) - 2**64), int(HASH, 16)),
        (imagehash.hex_to_hash(HASH), int(HASH, 16)),
        (None, None),
        (pd.NA, None),
        ([1, 2], None),
        (1.2630566465371335e19, None),
        (np.ones((8, 8)), None),
        (b"\xff", None),
        ("\ud800", None),
        ("x" * 2_000_000, None),
    ],
)
def test_hash_of_any_kind_is_read_or_set_aside(value: Any, wanted: int | None) -> None:
    catalog = read(frame(image_phash=pd.Series([value, HASH], dtype=object)))
    first, second = catalog.table.to_pylist()
    assert (first["phash"], second["phash"]) == (wanted, int(HASH, 16))
    is_missing = value is None or value is pd.NA
    assert [note["what"] for note in first["not_used"] or []] == ["image_phash"] * (wanted is None and not is_missing)


def test_paths_are_names_of_images(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert read(frame(image=[Path("a.png"), None]), tmp_path).has_image.tolist() == [True, False]


@pytest.mark.parametrize("listings", [None, {"posting_id": ["a"]}, [("a", "tas")], "t.csv", pd.Series(["a"])])
def test_what_is_no_frame_is_one_error(listings: Any) -> None:
    with pytest.raises(MatcherError, match="listings: a pandas frame is needed, not an object of type"):
        read(listings)


# --- faults ----------------------------------------------------------------------------------------------------------


class Broken:
    """A value that has no text."""

    def __str__(self) -> str:
        raise KeyError("none")

    __repr__ = __str__


@pytest.mark.fault(31)
@pytest.mark.parametrize("value", [Decimal("sNaN"), 10**5000, Broken()], ids=["sNaN", "5,001 digits", "Broken"])
def test_a_value_without_text_is_a_fault_of_its_row(value: Any) -> None:
    with pytest.raises(MatcherError, match="row 2: title "):
        read(frame(title=["tas", value]))


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("columns", "messages"),
    [
        ({"posting_id": ["a", "a"]}, ["row 2: id 'a' stands in row 1 already"]),
        ({"posting_id": ["a", None]}, ["row 2: empty posting_id"]),
        ({"title": [["tas"], "kaos"]}, ["row 1: title holds ['tas'], which is no text"]),
        ({"posting_id": pd.Series(["a", "\ud800"], dtype=object)}, ["row 2: half a surrogate pair"]),
        ({"posting_id": [" ", "b"], "title": ["x", [1]]}, ["2 faults", "row 1: empty", "row 2: title holds [1]"]),
    ],
)
def test_all_faults_of_a_frame_are_named_at_once(columns: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(MatcherError, match=r"the frame \(row 1 is its first\)") as raised:
        read(frame(**columns))
    assert all(message in str(raised.value) for message in messages)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["id", "title"], "no column 'posting_id'; if it is 'id', rename it to 'posting_id' (columns: id, title)"),
        (["posting_id", "name"], "if it is 'name', rename it to 'title', or leave it out if it is not"),
        (["posting_id", "price"], "neither a title nor an image column (columns: posting_id, price)"),
        (["posting_id", "title", "title"], "2 columns are called 'title'"),
        ([], "the file is empty"),
    ],
)
def test_messages_for_a_frame_name_its_columns(columns: list[str], message: str) -> None:
    with pytest.raises(MatcherError) as raised:
        read(pd.DataFrame([["x"] * len(columns)], columns=columns))
    assert message in str(raised.value)
    assert "--data" not in str(raised.value)


def test_an_image_folder_must_be_there_and_hold_an_image(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match=r"images=.*nowhere: no such folder"):
        read(frame(image=["a.jpg", ""]), tmp_path / "nowhere")
    with pytest.raises(MatcherError, match=r"the frame: names 1 images \(a\.jpg, …\), none of them is in") as raised:
        read(frame(image=["a.jpg", ""]), tmp_path)
    assert "--data" not in str(raised.value)


# --- labels ----------------------------------------------------------------------------------------------------------


def labels(folder: Path, config: DataConfig | None = None, **columns: list[Any]) -> list[str | None]:
    frame(**columns).to_csv(folder / "t.csv", index=False)
    config = config or DataConfig()
    found: list[str | None] = read_labels(find_source(folder / "t.csv", config), config).tolist()
    return found


def test_labels_come_back_without_blanks_at_their_ends_and_may_be_lacking(tmp_path: Path) -> None:
    assert labels(tmp_path, label_group=["001", ""]) == ["001", None]
    assert labels(tmp_path, DataConfig(label_column="product"), product=["x", " x"]) == ["x", "x"]


def test_a_table_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match="no listing has a label_group"):
        labels(tmp_path, label_group=["", " "])
    with pytest.raises(MatcherError, match=r"no column 'label_group'; name it with --data.label_column="):
        labels(tmp_path)
    with pytest.raises(MatcherError, match=r"if it is 'product', say --data.label_column=product"):
        labels(tmp_path, product=["1", "2"])
