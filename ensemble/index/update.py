"""Adds, updates and removes listings of an index, and groups all that it then holds.

An encoder embeds a listing by itself, so what came of that is kept. What is said of a pair depends on the whole pool
(how rare a word is, who else is near), and is worked out again by the way that any catalog goes; only pairs that were
all but ruled out keep their scores for a while (`kept.py`). So the groups are those of matching all listings at once,
however many steps it took to add them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from branches.stages import learns
from ensemble.features.attributes import QUANTITY_CONFLICT
from ensemble.index.group_ids import changes, inherited
from ensemble.index.pair_cache import (
    FIRST,
    SCORED_IN,
    CachedPairs,
    among,
    bereft_of,
    joined,
    kept_features,
    renewed,
    ruled_out,
    with_first,
)
from ensemble.index.state import State
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView, PoolViews
from shared.errors import MatcherError, raise_faults
from shared.schema import Catalog, Embeddings, Flags, Floats, Vectors, locate
from shared.search.exact import Known

EVIDENCE = (
    "title",
    "phash",
    "image_sha",
    "width",
    "height",
    "bytes",
)  # what the branches and features see of a listing

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The listings that an index is to hold.

    Args:
        catalog: n listings in the order of their posting ids.
        origin: The row of the index that each is in, as it is, int64 [n]; -1 where it is new or changed.
        added: The listings that are new or changed, in the same order, with their pictures.
        counts: How many listings are added, updated, unchanged and removed.
    """

    catalog: Catalog
    origin: Rows
    added: Catalog
    counts: dict[str, int]


def plan(index: Catalog, given: Catalog | None, removed: Collection[str]) -> Plan:
    """What an index is to hold once listings are given to it and removed from it.

    Args:
        index: The listings there are.
        given: Listings to add, or to put in the place of those with their ids; None: there are none.
        removed: Posting ids to remove.

    Raises:
        MatcherError: An id to remove is not there or is given as well, or a listing would lose its picture to one that
            cannot be used (one error names all); or nothing would be left.
    """
    rows = {posting_id: row for row, posting_id in enumerate(index.ids)}
    new = {posting_id: row for row, posting_id in enumerate(given.ids)} if given else {}
    pictured = set(index.ids[index.has_image].tolist())
    lost = _lost_pictures(pictured, given) if given else []
    raise_faults("what the index is to hold", [*_faults(rows, new, removed), *lost])
    ids = sorted(rows.keys() - set(removed) | new.keys())
    if not ids:
        raise MatcherError("no listing would be left; remove the folder of the index instead")
    facts = _facts(index), _facts(given) if given else []
    origin = np.array([_origin(rows.get(one, -1), new.get(one, -1), *facts) for one in ids], dtype=np.int64)
    tables = [index.table, *([given.table] if given else [])]
    at = [len(index) + new[one] if one in new else rows[one] for one in ids]
    catalog = Catalog(pa.concat_tables(tables).take(pa.array(at, pa.int64())))
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


def _lost_pictures(pictured: Collection[str], given: Catalog) -> Iterator[str]:
    for posting_id, fault in zip(given.ids, given.column("image_fault"), strict=True):
        if fault and posting_id in pictured:
            yield f"{posting_id!r} would lose its picture: {fault}; leave its image empty if it is to have none"


def _facts(catalog: Catalog) -> list[tuple[Any, ...]]:
    return list(zip(*(catalog.table.column(name).to_pylist() for name in EVIDENCE), strict=True))


def _origin(row: int, new: int, known: Sequence[Any], given: Sequence[Any]) -> int:
    return row if new < 0 or (row >= 0 and known[row] == given[new]) else -1


def grow(matcher: Matcher, state: State, snapshot: int, planned: Plan) -> tuple[State, MatchResult]:
    """Group the listings that an index is to hold.

    Args:
        matcher: The one that the index was made with.
        state: What the index holds.
        snapshot: Number of the snapshot that the new state will be.
        planned: Of the listings of `state`.

    Returns:
        The new state, and what matching all its listings at once gives.
    """
    n = len(planned.catalog)
    views = {name: _view(matcher, name, state.views.get(name), planned) for name in matcher.branches}
    place = np.full(len(state), -1, dtype=np.int64)
    kept = planned.origin >= 0
    place[planned.origin[kept]] = np.flatnonzero(kept)
    pool = matcher.pool(planned.catalog, views, renewed(among(state.pairs, place, n), views))
    pairs = _scored(matcher, pool, bereft_of(state.pairs, place, n))
    result = MatchResult.from_scores(matcher.decision, planned.catalog, pairs.scored())
    numbers = dict(zip(planned.catalog.ids.tolist(), result.group_numbers.tolist(), strict=True))
    group_ids = inherited(numbers, state.group_ids, state.retired)
    new = State(
        planned.catalog,
        views,
        pairs,
        group_ids,
        (state.retired | set(state.group_ids.values())) - set(group_ids.values()),
        (*state.changes, *changes(snapshot, state.group_ids, group_ids)),
    )
    return new, result


def _scored(matcher: Matcher, pool: PoolViews, bereft: Flags) -> CachedPairs:
    """All pairs that the branches propose, with their scores and all that an index keeps of them.

    Args:
        matcher: Scores the pairs, all but those that are ruled out.
        pool: The listings that an index is to hold; described before are the pairs that it has.
        bereft: Listings that lost a neighbor, bool [n].
    """
    proposed, known = matcher.proposed(pool), pool.described
    assert isinstance(known, CachedPairs)
    known = known.only(ruled_out(known, bereft) & locate(known.key, proposed.key)[1])
    new = proposed.only(~locate(proposed.key, known.key)[1])
    described = matcher.describe(replace(pool, proposed=proposed), new)
    first = matcher.scorer.first.score(described, pool.threads).score
    columns = [name for name in (QUANTITY_CONFLICT, *kept_features(pool.branches)) if name in described.features]
    features = described.features[columns].copy()
    features[FIRST], features[SCORED_IN] = first, np.full(len(new), len(pool), dtype=np.float32)
    own = CachedPairs(described.n, described.left, described.right, features, first)
    together = joined(with_first(known), own)
    return replace(together, score=matcher.scorer.rescore(together.scored(), pool.xp, pool.threads).score)


def _view(matcher: Matcher, name: str, before: BranchView | None, planned: Plan) -> BranchView:
    """A branch's view of the planned listings; what it found among those that are kept saves time."""
    if learns(name):
        embeddings = _embeddings(matcher, name, before, planned)
    else:
        embeddings = matcher.embed(planned.catalog, [name])[name]
    known = None
    if before is not None:
        moved = not _stayed(embeddings.vectors, before.embeddings.vectors, planned.origin)
        known = Known(before.candidates, planned.origin, moved)
    return BranchView(embeddings, matcher.candidates(name, embeddings, known))


def _embeddings(matcher: Matcher, name: str, before: BranchView | None, planned: Plan) -> Embeddings:
    """An encoder's embeddings: those of the kept listings, and new ones of the others."""
    kept = planned.origin >= 0
    if before is None:
        return matcher.embed(planned.added, [name])[name]
    old = _dense(before.embeddings)
    vectors = np.zeros((len(kept), old.shape[1]), dtype=np.float32)
    vectors[kept] = old[planned.origin[kept]]
    if len(planned.added):
        vectors[~kept] = _dense(matcher.embed(planned.added, [name])[name])
    return Embeddings(vectors, np.any(vectors, axis=1))


def _stayed(vectors: Vectors, before: Vectors, origin: Rows) -> bool:
    """Whether the kept listings have the vectors that they had."""
    kept = origin >= 0
    if vectors.shape[1] != before.shape[1]:
        return False
    now: Any = vectors[kept]
    return not np.any((now != before[origin[kept]]).sum())


def _dense(embeddings: Embeddings) -> Floats:
    assert isinstance(embeddings.vectors, np.ndarray)
    return embeddings.vectors
