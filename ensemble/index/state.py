"""The content of an index at one time, in memory and as the files of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.answers.answers import Answers, PoolAnswers
from ensemble.answers.file import FILE as ANSWERS
from ensemble.answers.file import AnswerFile, write_answers
from ensemble.decision.decision import groups_of
from ensemble.decision.guard import is_unlike
from ensemble.index.group_ids import Change
from ensemble.index.pair_cache import CachedPairs
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView
from ensemble.written_matches import CHANGES
from shared.artifacts import checked_type, parse_json, read_json, reading, write_json
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import leave_out, left_out
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Candidates, Catalog, Embeddings, Matches, Rows
from shared.search.incremental import PreviousSearch

DUE = 0.1  # share of the listings that may change before a rebuild is due
_NOBODY = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class BranchState:
    """The embeddings and neighbors of the listings of an index by one branch.

        BranchState(embeddings, PreviousSearch.of(candidates, k=50)).view

    Args:
        embeddings: Of all n listings.
        search: Their neighbors; of listings with equal content, only one is searched.
    """

    embeddings: Embeddings
    search: PreviousSearch

    @property
    def view(self) -> BranchView:
        """Return the embeddings and candidates as features take them."""
        return BranchView(self.embeddings, self.search.candidates)


@dataclass(frozen=True)
class _Built:
    built: int
    changed: int
    split_groups: int
    threshold: float
    agreement: float | None
    used: float | None = None


@dataclass(frozen=True)
class State:
    """The listings of an index with their pairs, matches and groups.

    Args:
        catalog: n listings in the order of their posting ids, without what was set aside. Their image files may be
            gone.
        originals: The same listings as they were read.
        branches: Branch → its embeddings and neighbors of them.
        pairs: All candidate pairs; of listings with equal content, the one with the smallest posting id has them.
        matches: All matches.
        group_ids: Posting id → id of its group.
        retired: Group ids of earlier groups that are no longer used.
        changes: All splits and merges so far, the oldest first.
        built: Number of listings at the last rebuild.
        changed: Number of listings that were added, changed or removed since then.
        split_groups: Number of groups that were too large at the last rebuild and were split.
        threshold: The threshold of the last rebuild.
        agreement: How far two rules agreed on the matches then, in [0, 1]; None if nobody looked.
        used: The threshold of the last change; None if that was the rebuild.
        answers: All answers that were taken over, also those about listings that are not there.

    Examples:
        >>> state = State(built=100, changed=20)
        >>> len(state), state.rebuild_due
        (0, '20 listings changed since the last rebuild, of 100 listings; a rebuild is due')
    """

    catalog: Catalog = field(default_factory=lambda: Catalog(CATALOG_SCHEMA.empty_table()))
    originals: Catalog = field(default_factory=lambda: Catalog(CATALOG_SCHEMA.empty_table()))
    branches: Mapping[str, BranchState] = field(default_factory=dict)
    pairs: CachedPairs = field(default_factory=lambda: CachedPairs.unknown(CandidatePairs(0, _NOBODY, _NOBODY), 0))
    matches: Matches = field(default_factory=lambda: Matches(0, _NOBODY, _NOBODY, _NOBODY.astype(np.float32)))
    group_ids: Mapping[str, str] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()
    built: int = 0
    changed: int = 0
    split_groups: int = 0
    threshold: float = 0.0
    agreement: float | None = None
    used: float | None = None
    answers: Answers = field(default_factory=Answers)

    def __len__(self) -> int:
        return len(self.catalog)

    @cached_property
    def copies(self) -> Rows:
        """Return for each listing the row of the one of equal content that stands for it, int32 [n]."""
        return copy_of(self.catalog)

    @cached_property
    def pool_answers(self) -> PoolAnswers:
        """Return the answers that hold for the listings as they are."""
        return self.answers.on(self.catalog, self.originals)

    @property
    def rebuild_due(self) -> str | None:
        """Return a line that says that a rebuild is due, since many listings changed; None if it is not."""
        if self.changed <= DUE * self.built:
            return None
        return f"{self.changed:,} listings changed since the last rebuild, of {self.built:,} listings; a rebuild is due"

    def result(self) -> MatchResult:
        """Return the matches and groups of all listings, as they are written for a user."""
        pairs = self.pairs.scored().with_copies(self.copies)
        _, report = leave_out(self.originals, *left_out(self.originals, self.catalog))
        decided = self.split_groups, self.threshold if self.used is None else self.used, self.agreement
        groups = groups_of(self.matches)
        return MatchResult(self.catalog, pairs, self.matches, groups, report, *decided, answers=self.pool_answers)

    @property
    def least_threshold(self) -> float:
        """Return the threshold to which the last rebuild raised it in an unlike catalog; 0 if it did not."""
        return self.threshold if is_unlike(self.agreement) else 0.0

    def groups(self) -> pa.Table:
        """Return the group id of each listing: columns posting_id, group_id."""
        ids = self.catalog.ids.tolist()
        return pa.table({"posting_id": ids, "group_id": [self.group_ids[posting_id] for posting_id in ids]})

    def save(self, folder: Path) -> None:
        """Write the files of a snapshot."""
        self.catalog.save(folder / "catalog.parquet")
        self.originals.save(folder / "originals.parquet")
        self.pairs.save(folder / "pairs.parquet")
        matches = {name: getattr(self.matches, name) for name in ("listing", "match", "score")}
        pq.write_table(pa.table(matches), folder / "matches.parquet")
        pq.write_table(self.groups(), folder / "groups.parquet")
        pq.write_table(pa.table({"group_id": pa.array(sorted(self.retired), pa.string())}), folder / "retired.parquet")
        write_changes(folder / CHANGES, self.changes)
        write_answers(folder / ANSWERS, self.answers)
        names = ("built", "changed", "split_groups", "threshold", "agreement", "used")
        write_json(folder / "built.json", {name: getattr(self, name) for name in names})
        for name, branch in self.branches.items():
            (folder / name).mkdir()
            branch.embeddings.save(folder / name / "embeddings.safetensors")
            branch.search.candidates.save(folder / name / "candidates.parquet")
            pq.write_table(pa.table({"reach": branch.search.reach}), folder / name / "reach.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the state that `save` wrote into a folder, whose checksums the caller has checked.

        Raises:
            ArtifactError: A file is missing or damaged, or does not fit the others.
        """
        with reading(folder, "restore the index from a copy, or make it again"):
            state = cls._parsed(folder)
            state._check()
        return state

    def _check(self) -> None:
        """Raise a ValueError where the parts are not all about the same listings."""
        parts = [self.originals, *(branch.embeddings for branch in self.branches.values()), self.group_ids]
        if {len(part) for part in parts} - {len(self)} or self.pairs.n != len(self):  # type: ignore[arg-type]
            raise ValueError("its files are of different numbers of listings")
        if set(self.group_ids) != set(self.catalog.ids) or set(self.originals.ids) != set(self.group_ids):
            raise ValueError("its files are about different listings")

    @classmethod
    def _parsed(cls, folder: Path) -> Self:
        catalog = Catalog.load(folder / "catalog.parquet")
        groups = pq.read_table(folder / "groups.parquet")
        matches = pq.read_table(folder / "matches.parquet")
        built = checked_type(_Built, read_json(folder / "built.json"))
        return cls(
            catalog,
            Catalog.load(folder / "originals.parquet"),
            {path.name: _load_branch(path) for path in sorted(folder.iterdir()) if path.is_dir()},
            CachedPairs.load(folder / "pairs.parquet"),
            Matches(len(catalog), **{name: matches.column(name).to_numpy() for name in matches.column_names}),
            dict(zip(*(groups.column(name).to_pylist() for name in ("posting_id", "group_id")), strict=True)),
            frozenset(pq.read_table(folder / "retired.parquet").column("group_id").to_pylist()),
            read_changes(folder / CHANGES),
            **asdict(built),
            answers=AnswerFile(folder / ANSWERS).read(),
        )


def _load_branch(folder: Path) -> BranchState:
    reach = pq.read_table(folder / "reach.parquet").column("reach").to_numpy()
    candidates = Candidates.load(folder / "candidates.parquet")
    return BranchState(Embeddings.load(folder / "embeddings.safetensors"), PreviousSearch(candidates, reach))


def write_changes(path: Path, changes: tuple[Change, ...]) -> None:
    """Write one JSON object per line."""
    lines = [json.dumps(vars(change), ensure_ascii=False) + "\n" for change in changes]
    path.write_text("".join(lines), encoding="utf-8")


def read_changes(path: Path) -> tuple[Change, ...]:
    r"""Return what `write_changes` wrote, whatever characters the ids hold.

    Raises:
        ValueError: The file holds something else.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> change = Change(2, "split", "a\u2028b", "c", 1)
        >>> with TemporaryDirectory() as folder:
        ...     write_changes(Path(folder) / CHANGES, (change,))
        ...     read_changes(Path(folder) / CHANGES) == (change,)
        True
    """
    lines = path.read_bytes().split(b"\n")  # not splitlines: an id may hold what Unicode calls the end of a line
    return checked_type(tuple[Change, ...], [parse_json(line) for line in lines if line])


def places(origin: NDArray[np.int64], n: int) -> Rows:
    """Return the present row of each listing that an index had, int32 [n]; -1 where it is gone or was changed.

    Args:
        origin: The previous row of each present listing, [m]; -1 for one that is new or was changed.
        n: Number of listings that the index had.

    Examples:
        >>> places(np.array([0, -1, 2]), 3).tolist()
        [0, -1, 2]
    """
    place = np.full(n, -1, dtype=np.int32)
    still = np.flatnonzero(origin >= 0)
    place[origin[still]] = still
    return place
