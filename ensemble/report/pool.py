"""A pool that was matched, as every section of the report reads it: listings, scored pairs, matches, groups, labels."""

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
from ensemble.decision.pins import Pins
from ensemble.features.assemble import pair_features
from ensemble.features.conflicts import conflict_mask
from ensemble.match_result import FACTS, LISTINGS, MatchFacts, MatchResult
from ensemble.pool_views import PoolViews
from ensemble.written_matches import load_match_rows, rows_of
from shared.artifacts import read_json, reading
from shared.catalog.copies import copy_of
from shared.errors import ArtifactError
from shared.metrics.matching import unordered_pairs
from shared.schema import CandidatePairs, Catalog, Floats, Matches, ScoredPairs, locate, pair_key

Index = NDArray[np.int64]
MIN_SCORE = 0.02  # pairs of lower scores change no group at any threshold that the report shows


@dataclass(frozen=True)
class MatchedPool:
    """A pool and what was decided in it.

    Args:
        catalog: The n listings, without the evidence that was set aside.
        pairs: Their scored pairs, with copies.
        matches: The matches.
        groups: Group number of each listing, int [n].
        codes: Label code of each listing, int [n], -1 where there is none; None where labels are not known.
        facts: The threshold, the decision and the warnings.
        pins: The pairs whose match people decided.

    Examples:
        >>> rows = np.array([0], np.int32), np.array([1], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9], np.float32))
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b", "c"]})
        >>> pool = MatchedPool.of_result(MatchResult.from_scores(Decision("threshold", 0.5), catalog, pairs))
        >>> pool.groups.tolist(), [rows.tolist() for rows in pool.matched_pairs()]
        ([0, 0, 1], [[0], [1]])
    """

    catalog: Catalog
    pairs: ScoredPairs
    matches: Matches
    groups: Index
    codes: Index | None
    facts: MatchFacts
    pins: Pins

    @classmethod
    def of_result(cls, result: MatchResult, codes: Index | None = None) -> Self:
        """Return the pool of a result of matching.

        Args:
            result: The result.
            codes: Label code of each listing, int [n]; None where labels are not known.
        """
        pool = result.catalog, result.scored_pairs, result.match_rows, result.group_numbers
        return cls(*pool, codes, result.facts, Pins() if result.answers is None else result.answers.pins)

    def __len__(self) -> int:
        return len(self.catalog)

    def matched_pairs(self) -> tuple[Index, Index]:
        """Return the lower and the higher row of every unordered pair that matches, int64 [m] each."""
        return unordered_pairs(self.matches)

    def score_of(self, left: NDArray[np.integer], right: NDArray[np.integer]) -> Floats:
        """Return the score of pairs of listings, float32 [k]: 1 for equal content, NaN for one that nobody proposed."""
        copies = self.pairs.copy_of if self.pairs.copy_of is not None else np.arange(len(self), dtype=np.int32)
        ends = np.sort(np.stack([copies[left], copies[right]]), axis=0)
        position, is_candidate = locate(pair_key(ends[0], ends[1], len(self)), self.pairs.key)
        score = np.full(len(left), np.nan, dtype=np.float32)
        score[is_candidate] = self.pairs.score[position[is_candidate]]
        score[ends[0] == ends[1]] = 1
        return score


def load_matches(folder: Path, codes: Index | None = None) -> MatchedPool:
    """Return the pool whose matches `ensemble.match` or a run wrote into a folder.

    Args:
        folder: With `groups.parquet`, `matches.parquet`, `pairs.parquet` and what the report needs beside them.
        codes: Label code of each listing, int [n]; None where labels are not known.

    Raises:
        ArtifactError: A file is missing, or not as it was written.
    """
    advice = "match the catalog again with this version"
    missing = [name for name in (LISTINGS, FACTS, "matches.parquet", "pairs.parquet") if not (folder / name).exists()]
    if missing:
        raise ArtifactError(f"{folder} has no {missing[0]}: name a folder that ensemble.match wrote, or {advice}")
    facts = MatchFacts.from_json(read_json(folder / FACTS, advice))
    with reading(folder, advice):
        catalog = Catalog.load(folder / LISTINGS)
        matches = load_match_rows(folder, catalog.ids)
        pairs = _pairs(catalog, pq.read_table(folder / "pairs.parquet"), facts.decision)
        pins = _pins(catalog, facts)
    return MatchedPool(catalog, pairs, matches, groups_of(matches), codes, facts, pins)


def _pins(catalog: Catalog, facts: MatchFacts) -> Pins:
    ids = [posting_id for answer in facts.answers for posting_id in answer[:2]]
    rows = rows_of(catalog.ids, pa.chunked_array([ids], pa.string())).reshape(-1, 2).astype(np.int64)
    is_yes = np.array([verdict == "yes" for _, _, verdict in facts.answers], dtype=np.bool_)
    return Pins(rows[is_yes], rows[~is_yes])


def _pairs(catalog: Catalog, table: pa.Table, decision: Decision | None) -> ScoredPairs:
    """Return the pairs of a table; conflicts are compared again where the decision forbids some."""
    n, copies = len(catalog), copy_of(catalog)
    ends = np.sort(np.stack([rows_of(catalog.ids, table.column(name)) for name in ("left", "right")]), axis=0)
    score = table.column("score").to_numpy().astype(np.float32)
    stands = (copies[ends[0]] == ends[0]) & (copies[ends[1]] == ends[1])
    left, right, score = ends[0][stands], ends[1][stands], score[stands]
    order = np.lexsort((right, left))
    pairs = ScoredPairs(n, left[order], right[order], score[order], None, copies)
    if decision is None or not decision.forbid:
        return pairs
    likely = pairs.only(pairs.score >= MIN_SCORE)
    described = pair_features(PoolViews(catalog, {}), CandidatePairs(n, likely.left, likely.right), ["attributes"])
    conflict = np.zeros(len(pairs), dtype=np.uint8)
    mask = conflict_mask(described)
    conflict[pairs.score >= MIN_SCORE] = 0 if mask is None else mask
    return ScoredPairs(n, pairs.left, pairs.right, pairs.score, conflict, copies)


def labels_by_id(catalog: Catalog, labels: Mapping[Any, Any]) -> NDArray[Any]:
    """Return the label of each listing, by its posting id: str or None [n].

    Examples:
        >>> labels_by_id(Catalog.from_columns({"posting_id": ["a", "b"]}), {"b": "mug"}).tolist()
        [None, 'mug']
    """
    values = np.empty(len(catalog), dtype=object)
    values[:] = [labels.get(posting_id) for posting_id in catalog.ids]
    return values
