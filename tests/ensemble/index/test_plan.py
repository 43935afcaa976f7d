"""What a change of an index may be, and how ids and changes are read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.index.group_ids import Change
from ensemble.index.listings import read_ids
from ensemble.index.plan import plan
from ensemble.index.state import read_changes, write_changes
from ensemble.written_matches import CHANGES
from shared.errors import MatcherError
from shared.schema import Catalog

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_every_fault_of_a_removal_is_named(catalog: Catalog) -> None:
    ids = catalog.ids.tolist()
    with pytest.raises(MatcherError, match="2 faults") as error:
        plan(catalog, catalog.take(np.array([3])), [ids[3], ids[4], "nobody"])
    assert f"{ids[3]!r} is to be removed and to be added as well" in str(error.value)
    assert "'nobody' is not in the index" in str(error.value)
    with pytest.raises(MatcherError, match="no listing would be left"):
        plan(catalog, None, ids)


def test_a_listing_does_not_lose_its_image_unless_it_is_said_to_have_none(catalog: Catalog) -> None:
    assert catalog.has_image[:2].all()
    schema, nothing = catalog.table.schema, pa.nulls(len(catalog))
    bare = catalog.table
    for name in ("image_sha", "width", "height", "bytes", "phash"):
        at = schema.get_field_index(name)
        bare = bare.set_column(at, schema.field(at), nothing.cast(schema.field(at).type))
    at = schema.get_field_index("image_fault")
    faults = pa.array(["no image folder"] * len(catalog))
    unreadable = Catalog(bare.set_column(at, schema.field(at), faults))
    with pytest.raises(MatcherError, match="would lose its image: no image folder"):
        plan(catalog, unreadable.take(np.array([0])), [])
    assert plan(catalog, Catalog(bare).take(np.array([0])), []).counts["updated"] == 1
    assert plan(catalog.take(np.array([1])), unreadable.take(np.array([0])), []).counts["added"] == 1


@pytest.mark.fault(1)
@pytest.mark.parametrize("name", ["ids.txt", "ids.csv"])
def test_ids_are_read_as_written(name: str, tmp_path: Path) -> None:
    lines = ("" if name.endswith("txt") else "posting_id\n") + "001\n1e5\n\n001\nNA\na\u2028b\x85\n"
    (tmp_path / name).write_text(lines, encoding="utf-8")
    assert read_ids(tmp_path / name, "posting_id") == ["001", "1e5", "NA", "a\u2028b\x85"]


@pytest.mark.fault(1)
@given(st.lists(st.builds(Change, st.integers(1), st.just("split"), IDS, IDS, st.integers(1))))
def test_changes_are_read_as_written(listed: list[Change]) -> None:
    with TemporaryDirectory() as folder:
        write_changes(Path(folder) / CHANGES, tuple(listed))
        assert read_changes(Path(folder) / CHANGES) == tuple(listed)
