"""What an index holds at one time, in memory and as the files of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.index.group_ids import Change
from ensemble.index.pair_cache import CachedPairs
from ensemble.pool_views import BranchView
from shared.schema import CATALOG_SCHEMA, Candidates, Catalog, Embeddings

CHANGES = "changes.jsonl"


def _no_pairs() -> CachedPairs:
    rows = np.zeros(0, dtype=np.int32)
    return CachedPairs(0, rows, rows, pd.DataFrame(index=range(0)), np.zeros(0, dtype=np.float32))


@dataclass(frozen=True)
class State:
    """The listings of an index and what is known of them.

    Args:
        catalog: n listings in the order of their posting ids. Their pictures need not be there any more.
        views: Branch → its embeddings and candidates.
        pairs: All candidate pairs with their scores, and of their features `FIRST`, `SCORED_IN` and
            what `kept_features` names (`kept.py`), and what a veto reads.
        group_ids: Posting id → id of its group.
        retired: Group ids that were given once and are no longer.
        changes: Every split and merge there ever was, the oldest first.
    """

    catalog: Catalog = field(default_factory=lambda: Catalog(CATALOG_SCHEMA.empty_table()))
    views: Mapping[str, BranchView] = field(default_factory=dict)
    pairs: CachedPairs = field(default_factory=_no_pairs)
    group_ids: Mapping[str, str] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()

    def __len__(self) -> int:
        return len(self.catalog)

    def groups(self) -> pa.Table:
        """The group id of each listing: columns posting_id, group_id."""
        ids = self.catalog.ids.tolist()
        return pa.table({"posting_id": ids, "group_id": [self.group_ids[posting_id] for posting_id in ids]})

    def save(self, folder: Path) -> None:
        """Write the files of a snapshot."""
        self.catalog.save(folder / "catalog.parquet")
        self.pairs.save(folder / "pairs.parquet")
        pq.write_table(self.groups(), folder / "groups.parquet")
        pq.write_table(pa.table({"group_id": pa.array(sorted(self.retired), pa.string())}), folder / "retired.parquet")
        write_changes(folder / CHANGES, self.changes)
        for name, view in self.views.items():
            (folder / name).mkdir()
            view.embeddings.save(folder / name / "embeddings.safetensors")
            view.candidates.save(folder / name / "candidates.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, its checksums having been checked."""
        groups = pq.read_table(folder / "groups.parquet")
        lines = (folder / CHANGES).read_text(encoding="utf-8").splitlines()
        return cls(
            Catalog.load(folder / "catalog.parquet"),
            {
                path.parent.name: BranchView(
                    Embeddings.load(path), Candidates.load(path.with_name("candidates.parquet"))
                )
                for path in sorted(folder.glob("*/embeddings.safetensors"))
            },
            CachedPairs.load(folder / "pairs.parquet"),
            dict(zip(*(groups.column(name).to_pylist() for name in ("posting_id", "group_id")), strict=True)),
            frozenset(pq.read_table(folder / "retired.parquet").column("group_id").to_pylist()),
            tuple(Change(**json.loads(line)) for line in lines),
        )


def write_changes(path: Path, changes: tuple[Change, ...]) -> None:
    """Write one JSON object a line."""
    lines = [json.dumps(vars(change), ensure_ascii=False) + "\n" for change in changes]
    path.write_text("".join(lines), encoding="utf-8")
