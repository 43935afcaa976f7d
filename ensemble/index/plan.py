"""Which listings an index is to hold once some are added, updated or removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shared.catalog.placeholders import leave_out, left_out, like, shared_evidence
from shared.errors import MatcherError, raise_faults
from shared.schema import Catalog
from shared.schema import Rows as RowNumbers

EVIDENCE = ("title", "phash", "image_sha", "width", "height", "bytes")  # what branches and features see of a listing

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The listings that an index is to hold.

    Args:
        catalog: n listings in the order of their posting ids; images of those that are new lie in its folder.
        origin: The row of each in the index as it is now, int64 [n]; -1 where it is new or changed.
        added: The listings that are new or changed, in the same order, with their images.
        originals: The same n listings as they were read; `judged` takes from `catalog` what many unlike ones share.
        previous: The row of each in the index where it is there with the same content as read, int64 [n]; else -1.
        counts: Numbers of listings that are `added`, `updated`, `unchanged` and `removed`.

    Examples:
        >>> index = Catalog.from_columns({"posting_id": ["a"], "title": ["red mug"]})
        >>> plan(index, Catalog.from_columns({"posting_id": ["a"], "title": ["red mug xl"]}), []).counts
        {'added': 0, 'updated': 1, 'removed': 0, 'unchanged': 0}
    """

    catalog: Catalog
    origin: Rows
    added: Catalog
    originals: Catalog
    previous: Rows
    counts: dict[str, int]


def plan(index: Catalog, additions: Catalog | None, removed: Collection[str]) -> Plan:
    """Return what an index is to hold once listings are added and removed.

    Args:
        index: The listings that the index holds.
        additions: Listings to add, or to replace those with their ids; None: there are none.
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
    return Plan(catalog, origin, added, catalog, origin, counts | {"unchanged": int((origin >= 0).sum())})


def judged(planned: Plan, originals: Catalog, catalog: Catalog, *, query: bool = False) -> Plan:
    """Return a plan whose listings are without the evidence that many otherwise unlike ones share.

    What was set aside stays so as long as its listing is as it was, because its image may be gone.

    Args:
        planned: From `plan`.
        originals: m listings that the index holds, as they were read.
        catalog: The same without what was set aside.
        query: Whether the new listings are not to stay: they lose what they share with listings that lost it, and the
            others keep theirs.

    Returns:
        The plan; a listing of which other evidence is set aside than before counts as changed.
    """
    still = planned.previous >= 0
    before = [np.zeros(len(still), dtype=np.bool_) for _ in range(2)]
    for mask, previous in zip(before, left_out(originals, catalog), strict=True):
        mask[still] = previous[planned.previous[still]]
    now = [mask.copy() for mask in before]
    if query:
        new = np.flatnonzero(~still)
        fresh = like(planned.originals.take(new), planned.originals, *before)
        now[0][new], now[1][new] = fresh
    else:
        for mask, fresh_mask in zip(now, shared_evidence(planned.originals), strict=True):
            mask |= fresh_mask
    same = still & (now[0] == before[0]) & (now[1] == before[1])
    listings, _ = leave_out(planned.originals, *now)
    origin = np.where(same, planned.previous, -1)
    return replace(planned, catalog=listings, origin=origin, added=listings.take(np.flatnonzero(origin < 0)))


def classes(origin: Rows, previous: RowNumbers, copies: RowNumbers) -> Rows:
    """Return the previous row of each listing that stands for others or itself, int64 [n]; -1 for all others.

    A class of equal content that was there before keeps its row, whichever of its listings stands for it.

    Args:
        origin: The previous row of each listing, int64 [n]; -1 where it is new or changed.
        previous: For each previous listing the row of the one that stood for it, int32 [m].
        copies: For each listing the row of the one that stands for it, int32 [n].

    Examples:
        >>> classes(np.array([-1, 0, 1]), np.array([0, 1], np.int32), np.array([0, 0, 2], np.int32)).tolist()
        [0, -1, 1]
    """
    rows, still = np.full(len(origin), -1, dtype=np.int64), origin >= 0
    rows[copies[still]] = previous[origin[still]]
    return rows


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
