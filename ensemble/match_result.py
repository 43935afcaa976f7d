"""What matching a catalog ends in: scored pairs, matches and groups, and the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.decision.decision import Decision, groups_of
from shared.arrays import object_array
from shared.schema import Catalog, Matches, Pairs

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula


@dataclass(frozen=True)
class MatchResult:
    """A matched catalog.

    Args:
        catalog: The n listings.
        pairs: All candidate pairs with their scores.
        matches: What was decided.
        groups: Group number of each listing, int [n].
    """

    catalog: Catalog
    pairs: Pairs
    matches: Matches
    groups: NDArray[np.int64]

    @classmethod
    def decided(cls, decision: Decision, catalog: Catalog, scored: Pairs) -> Self:
        """Turn a pool's scored pairs into matches and groups; equal scores stand by posting id."""
        matches = decision.apply(scored, catalog.ids)
        return cls(catalog, scored, matches, groups_of(matches))

    def group_ids(self) -> NDArray[Any]:
        """The smallest posting id of each listing's group, str [n]; it does not depend on the order of the rows."""
        smallest: dict[int, str] = {}
        for group, posting_id in zip(self.groups.tolist(), self.catalog.ids, strict=True):
            smallest[group] = min(smallest.get(group, posting_id), posting_id)
        return object_array(smallest[group] for group in self.groups.tolist())

    def summary(self) -> dict[str, int]:
        """Counts for a progress line."""
        sizes = np.bincount(self.groups)
        return {
            "listings": len(self.catalog),
            "groups_of_two_or_more": int((sizes > 1).sum()),
            "listings_without_a_match": self.matches.n - len(np.unique(self.matches.listing)),
            "largest_group": int(sizes.max(initial=0)),
        }

    def tables(self) -> dict[str, pa.Table]:
        """Matches, groups and scored pairs, with posting ids in the place of rows.

        Returns:
            `matches` (posting_id, match, score), `groups` (posting_id, group_id), `pairs` (left, right, score). A match
            that comes from the group and not from a scored pair has the score NaN.
        """
        ids, found, pairs = self.catalog.ids, self.matches, self.pairs
        columns: dict[str, dict[str, Any]] = {
            "matches": {"posting_id": ids[found.listing], "match": ids[found.match], "score": found.score},
            "groups": {"posting_id": ids, "group_id": self.group_ids()},
            "pairs": {"left": ids[pairs.left], "right": ids[pairs.right], "score": pairs.score},
        }
        return {name: _table(of_table) for name, of_table in columns.items()}

    def save(self, folder: Path) -> None:
        """Write matches, groups, scored pairs and a submission in the competition's form."""
        for name, table in self.tables().items():
            pq.write_table(table, folder / f"{name}.parquet")
        write_submission(folder / "submission.csv", self.catalog.ids, self.matches)


def write_submission(path: Path, ids: NDArray[Any], matches: Matches) -> None:
    """Write `posting_id,matches`: each listing with its matches, itself first, separated by blanks.

    A cell that a spreadsheet would run as a formula is put behind an apostrophe; the Parquet files hold raw values.
    """
    rows = [" ".join([ids[at], *ids[found]]) for at, found in enumerate(matches.lists())]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("posting_id,matches\n")
        file.writelines(f"{_cell(own)},{_cell(row)}\n" for own, row in zip(ids, rows, strict=True))


def _cell(text: str) -> str:
    text = "'" + text if text.startswith(FORMULA) else text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _table(columns: Mapping[str, Any]) -> pa.Table:
    return pa.table({k: pa.array(v, pa.string() if v.dtype == object else None) for k, v in columns.items()})
