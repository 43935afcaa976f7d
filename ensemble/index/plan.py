"""Which listings an index is to hold once some are added, updated or removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shared.errors import MatcherError, raise_faults
from shared.schema import Catalog

EVIDENCE = ("title", "phash", "image_sha", "width", "height", "bytes")  # what branches and features see of a listing

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The listings that an index is to hold.

    Args:
        catalog: n listings in the order of their posting ids; images of those that are new lie in its folder.
        origin: The row of each in the index as it is now, int64 [n]; -1 where it is new or changed.
        added: The listings that are new or changed, in the same order, with their images.
        counts: Numbers of listings that are `added`, `updated`, `unchanged` and `removed`.

    Examples:
        >>> index = Catalog.from_columns({"posting_id": ["a"], "title": ["red mug"]})
        >>> plan(index, Catalog.from_columns({"posting_id": ["a"], "title": ["red mug xl"]}), []).counts
        {'added': 0, 'updated': 1, 'removed': 0, 'unchanged': 0}
    """

    catalog: Catalog
    origin: Rows
    added: Catalog
    counts: dict[str, int]


def plan(index: Catalog, additions: Catalog | None, removed: Collection[str]) -> Plan:
    """Return what an index is to hold once listings are added and removed.

    Args:
        index: The listings that the index holds.
        additions: Listings to add, or to to replace those with their ids; None: there are none.
        removed: Posting ids to remove.

    Raises:
        MatcherError: An id to remove is not in the index or is to be added as well, or a listing would lose its image
            to one that cannot be used (one error names all); or nothing would be left.

    Examples:
        >>> index = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["red mug", "fan"]})
        >>> changes = plan(index, Catalog.from_columns({"posting_id": ["c"], "title": ["blue mug"]}), removed=["b"])
        >>> changes.catalog.ids.tolist(), changes.origin.tolist()
        (['a', 'c'], [0, -1])
        >>> changes.counts
        {'added': 1, 'updated': 0, 'removed': 1, 'unchanged': 1}
    """
    rows = {posting_id: row for row, posting_id in enumerate(index.ids)}
    new = {posting_id: row for row, posting_id in enumerate(additions.ids)} if additions else {}
    with_image = set(index.ids[index.has_image].tolist())
    lost = _lost_images(with_image, additions) if additions else []
    raise_faults("the index was not changed", [*_faults(rows, new, removed), *lost])
    ids = sorted(rows.keys() - set(removed) | new.keys())
    if not ids:
        raise MatcherError("no listing would be left; remove the folder of the index instead")
    facts = _facts(index), _facts(additions) if additions else []
    origin = np.array([_origin(rows.get(one, -1), new.get(one, -1), *facts) for one in ids], dtype=np.int64)
    tables = [index.table, *([additions.table] if additions else [])]
    rows_in_table = [len(index) + new[one] if one in new else rows[one] for one in ids]
    folder = additions.image_folder if additions else None
    catalog = Catalog(pa.concat_tables(tables).take(pa.array(rows_in_table, pa.int64())), folder)
    fresh = [new[one] for one, row in zip(ids, origin, strict=True) if row < 0]
    added = additions.take(np.array(fresh, dtype=np.int64)) if additions else index.take(np.zeros(0, dtype=np.int64))
    updated = sum(posting_id in rows for posting_id in added.ids)
    counts = {"added": len(added) - updated, "updated": updated, "removed": len(removed)}
    return Plan(catalog, origin, added, counts | {"unchanged": int((origin >= 0).sum())})


def _faults(rows: Collection[str], new: Collection[str], removed: Collection[str]) -> Iterator[str]:
    for posting_id in removed:
        if posting_id not in rows:
            yield f"{posting_id!r} is not in the index"
        elif posting_id in new:
            yield f"{posting_id!r} is to be removed and to be added as well"


def _lost_images(with_image: Collection[str], additions: Catalog) -> Iterator[str]:
    for posting_id, fault in zip(additions.ids, additions.column("image_fault"), strict=True):
        if fault and posting_id in with_image:
            yield f"{posting_id!r} would lose its image: {fault}; leave its image empty to remove the image"


def _facts(catalog: Catalog) -> list[tuple[Any, ...]]:
    return list(zip(*(catalog.table.column(name).to_pylist() for name in EVIDENCE), strict=True))


def _origin(row: int, new: int, facts: Sequence[Any], new_facts: Sequence[Any]) -> int:
    return row if new < 0 or (row >= 0 and facts[row] == new_facts[new]) else -1
