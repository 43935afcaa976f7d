"""What an index holds at one time, in memory and as the files of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.decision.decision import groups_of
from ensemble.index.group_ids import Change
from ensemble.index.pair_cache import CachedPairs
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView
from shared.artifacts import read_json, write_json
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Candidates, Catalog, Embeddings, Matches, Rows
from shared.search.incremental import PreviousSearch

CHANGES = "changes.jsonl"
DUE = 0.1  # share of the listings that may change before a rebuild is due
_NOBODY = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class BranchState:
    """What one branch knows of the listings of an index.

    Args:
        embeddings: Of all n listings.
        search: Their neighbors.
    """

    embeddings: Embeddings
    search: PreviousSearch

    @property
    def view(self) -> BranchView:
        """Return what candidates and features need."""
        return BranchView(self.embeddings, self.search.candidates)


@dataclass(frozen=True)
class State:
    """The listings of an index and what is known of them.

    Args:
        catalog: n listings in the order of their posting ids. Their images need not be there any more.
        branches: Branch → what it knows of them.
        pairs: All candidate pairs.
        matches: What was decided.
        group_ids: Posting id → id of its group.
        retired: Group ids that were given once and are no longer.
        changes: Every split and merge there ever was, the oldest first.
        built: How many listings there were at the last rebuild.
        changed: How many were added, changed or removed since then.
    """

    catalog: Catalog = field(default_factory=lambda: Catalog(CATALOG_SCHEMA.empty_table()))
    branches: Mapping[str, BranchState] = field(default_factory=dict)
    pairs: CachedPairs = field(default_factory=lambda: CachedPairs.unknown(CandidatePairs(0, _NOBODY, _NOBODY), 0))
    matches: Matches = field(default_factory=lambda: Matches(0, _NOBODY, _NOBODY, _NOBODY.astype(np.float32)))
    group_ids: Mapping[str, str] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()
    built: int = 0
    changed: int = 0

    def __len__(self) -> int:
        return len(self.catalog)

    @property
    def rebuild_due(self) -> str | None:
        """Say in one line that so many listings changed that a rebuild is due; None where it is not."""
        if self.changed <= DUE * self.built:
            return None
        return f"{self.changed:,} listings changed since the index was built of {self.built:,}; a rebuild is due"

    def result(self) -> MatchResult:
        """Return the matches and groups of all listings, as files for a user have them."""
        return MatchResult(self.catalog, self.pairs.scored(), self.matches, groups_of(self.matches))

    def groups(self) -> pa.Table:
        """Return the group id of each listing: columns posting_id, group_id."""
        ids = self.catalog.ids.tolist()
        return pa.table({"posting_id": ids, "group_id": [self.group_ids[posting_id] for posting_id in ids]})

    def save(self, folder: Path) -> None:
        """Write the files of a snapshot."""
        self.catalog.save(folder / "catalog.parquet")
        self.pairs.save(folder / "pairs.parquet")
        matches = {name: getattr(self.matches, name) for name in ("listing", "match", "score")}
        pq.write_table(pa.table(matches), folder / "matches.parquet")
        pq.write_table(self.groups(), folder / "groups.parquet")
        pq.write_table(pa.table({"group_id": pa.array(sorted(self.retired), pa.string())}), folder / "retired.parquet")
        write_changes(folder / CHANGES, self.changes)
        write_json(folder / "sizes.json", {"built": self.built, "changed": self.changed})
        for name, branch in self.branches.items():
            (folder / name).mkdir()
            branch.embeddings.save(folder / name / "embeddings.safetensors")
            branch.search.candidates.save(folder / name / "candidates.parquet")
            pq.write_table(pa.table({"reach": branch.search.reach}), folder / name / "reach.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, its checksums having been checked."""
        catalog = Catalog.load(folder / "catalog.parquet")
        groups = pq.read_table(folder / "groups.parquet")
        matches = pq.read_table(folder / "matches.parquet")
        lines = (folder / CHANGES).read_text(encoding="utf-8").splitlines()
        sizes = read_json(folder / "sizes.json")
        return cls(
            catalog,
            {path.name: _load_branch(path) for path in sorted(folder.iterdir()) if path.is_dir()},
            CachedPairs.load(folder / "pairs.parquet"),
            Matches(len(catalog), **{name: matches.column(name).to_numpy() for name in matches.column_names}),
            dict(zip(*(groups.column(name).to_pylist() for name in ("posting_id", "group_id")), strict=True)),
            frozenset(pq.read_table(folder / "retired.parquet").column("group_id").to_pylist()),
            tuple(Change(**json.loads(line)) for line in lines),
            sizes["built"],
            sizes["changed"],
        )


def _load_branch(folder: Path) -> BranchState:
    reach = pq.read_table(folder / "reach.parquet").column("reach").to_numpy()
    candidates = Candidates.load(folder / "candidates.parquet")
    return BranchState(Embeddings.load(folder / "embeddings.safetensors"), PreviousSearch(candidates, reach))


def write_changes(path: Path, changes: tuple[Change, ...]) -> None:
    """Write one JSON object per line."""
    lines = [json.dumps(vars(change), ensure_ascii=False) + "\n" for change in changes]
    path.write_text("".join(lines), encoding="utf-8")


def places(origin: NDArray[np.int64], n: int) -> Rows:
    """Return today's row of each listing that an index had, int32 [n]; -1 where it is gone or has become another.

    Args:
        origin: The row that each listing of today had, [m], rising; -1 for one that is new or has become another.
        n: Listings that the index had.
    """
    place = np.full(n, -1, dtype=np.int32)
    still = np.flatnonzero(origin >= 0)
    place[origin[still]] = still
    return place
