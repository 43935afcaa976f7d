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
        origin: The row of the index that each is in, as it is, int64 [n]; -1 where it is new or changed.
        added: The listings that are new or changed, in the same order, with their images.
        counts: How many listings are added, updated, unchanged and removed.
    """

    catalog: Catalog
    origin: Rows
    added: Catalog
    counts: dict[str, int]


def plan(index: Catalog, given: Catalog | None, removed: Collection[str]) -> Plan:
    """Return what an index is to hold once listings are given to it and removed from it.

    Args:
        index: The listings there are.
        given: Listings to add, or to put in the place of those with their ids; None: there are none.
        removed: Posting ids to remove.

    Raises:
        MatcherError: An id to remove is not there or is given as well, or a listing would lose its image to one that
            cannot be used (one error names all); or nothing would be left.
    """
    rows = {posting_id: row for row, posting_id in enumerate(index.ids)}
    new = {posting_id: row for row, posting_id in enumerate(given.ids)} if given else {}
    with_image = set(index.ids[index.has_image].tolist())
    lost = _lost_images(with_image, given) if given else []
    raise_faults("what the index is to hold", [*_faults(rows, new, removed), *lost])
    ids = sorted(rows.keys() - set(removed) | new.keys())
    if not ids:
        raise MatcherError("no listing would be left; remove the folder of the index instead")
    facts = _facts(index), _facts(given) if given else []
    origin = np.array([_origin(rows.get(one, -1), new.get(one, -1), *facts) for one in ids], dtype=np.int64)
    tables = [index.table, *([given.table] if given else [])]
    at = [len(index) + new[one] if one in new else rows[one] for one in ids]
    folder = given.image_folder if given else None
    catalog = Catalog(pa.concat_tables(tables).take(pa.array(at, pa.int64())), folder)
    fresh = [new[one] for one, known in zip(ids, origin, strict=True) if known < 0]
    added = given.take(np.array(fresh, dtype=np.int64)) if given else index.take(np.zeros(0, dtype=np.int64))
    updated = sum(posting_id in rows for posting_id in added.ids)
    counts = {"added": len(added) - updated, "updated": updated, "removed": len(removed)}
    return Plan(catalog, origin, added, counts | {"unchanged": int((origin >= 0).sum())})


def _faults(rows: Collection[str], new: Collection[str], removed: Collection[str]) -> Iterator[str]:
    for posting_id in removed:
        if posting_id not in rows:
            yield f"{posting_id!r} is not in the index"
        elif posting_id in new:
            yield f"{posting_id!r} is to be added as well"


def _lost_images(with_image: Collection[str], given: Catalog) -> Iterator[str]:
    for posting_id, fault in zip(given.ids, given.column("image_fault"), strict=True):
        if fault and posting_id in with_image:
            yield f"{posting_id!r} would lose its image: {fault}; leave its image empty if it is to have none"


def _facts(catalog: Catalog) -> list[tuple[Any, ...]]:
    return list(zip(*(catalog.table.column(name).to_pylist() for name in EVIDENCE), strict=True))


def _origin(row: int, new: int, known: Sequence[Any], given: Sequence[Any]) -> int:
    return row if new < 0 or (row >= 0 and known[row] == given[new]) else -1
