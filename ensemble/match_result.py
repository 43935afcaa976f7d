"""The result of matching a catalog: scored pairs, matches and groups, as frames and as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.answers.answers import PoolAnswers
from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.guard import SIMILAR, expected_share, is_unlike
from ensemble.decision.pins import Pins
from ensemble.scorer.experience import Unlikeness
from shared.arrays import object_array
from shared.artifacts import checked_type, write_json
from shared.catalog.config import Duplicates
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import NOTHING, SetAside
from shared.errors import ArtifactError
from shared.schema import Catalog, Matches, ScoredPairs

LISTINGS, FACTS = "listings.parquet", "matching.json"  # files beside the matches, from which the report is made
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one of these as a formula


@dataclass(frozen=True)
class MatchFacts:
    """What the files of matches do not say of how they came about.

    Args:
        decision: The decision; None if it is unknown.
        threshold: The threshold that was used; None if it is unknown.
        set_aside: The evidence that was not used.
        warnings: A line for each thing that makes the matches doubtful.
        expected_to_match: Number of listings that are expected to have a match, by the scores.

    Examples:
        >>> MatchFacts.from_json(MatchFacts(threshold=0.5).to_json()).threshold
        0.5
    """

    decision: Decision | None = None
    threshold: float | None = None
    set_aside: SetAside = NOTHING
    warnings: tuple[str, ...] = ()
    expected_to_match: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        decision = None if self.decision is None else asdict(self.decision)
        return {
            "decision": decision,
            "threshold": self.threshold,
            "set_aside": self.set_aside.to_json(),
            "warnings": list(self.warnings),
            "expected_to_match": self.expected_to_match,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned.

        Raises:
            ArtifactError: It is something else, or was written by another version.
        """
        try:
            decision = content["decision"]
            return cls(
                None if decision is None else checked_type(Decision, decision),
                checked_type(float | None, content["threshold"]),  # type: ignore[arg-type]
                SetAside.from_json(content["set_aside"]),
                checked_type(tuple[str, ...], content["warnings"]),
                checked_type(int | None, content["expected_to_match"]),  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{FACTS} is not of this version ({error}); match the catalog again") from error


@dataclass(frozen=True)
class MatchResult:
    """A matched catalog.

    The frames `matches`, `groups` and `pairs` name listings by posting id; all other attributes name them by row.

    Args:
        catalog: The n listings.
        scored_pairs: All candidate pairs with their scores.
        match_rows: The matches.
        group_numbers: Group number of each listing, int [n].
        set_aside: The evidence that many unlike listings share, which was not used.
        split_groups: Number of groups that were larger than `tune.max_group` allows and were split.
        threshold: The threshold that was used; None if it is unknown.
        agreement: How far two rules agree on the matches, in [0, 1], see `ensemble.decision.guard`; None if unknown.
        unlikeness: How far the catalog's features are from those of the training; None if they were not compared.
        decision: The decision; None if it is unknown.
        answers: People's answers that hold for the catalog, and those that do not; None if nobody was asked.

    Examples:
        >>> from shared.schema import CATALOG_SCHEMA
        >>> ids = {"posting_id": ["a", "b", "c"]}
        >>> table = pa.table({f.name: ids.get(f.name, [None] * 3) for f in CATALOG_SCHEMA}, schema=CATALOG_SCHEMA)
        >>> pairs = ScoredPairs(3, *np.array([[0, 0], [1, 2]], np.int32), np.array([0.9, 0.2], np.float32))
        >>> result = MatchResult.from_scores(Decision("threshold", 0.5), Catalog(table), pairs)
        >>> result.groups["group_id"].tolist(), result.matches["match"].tolist()
        (['a', 'a', 'c'], ['b', 'a'])
    """

    catalog: Catalog
    scored_pairs: ScoredPairs
    match_rows: Matches
    group_numbers: NDArray[np.int64]
    set_aside: SetAside = NOTHING
    split_groups: int = 0
    threshold: float | None = None
    agreement: float | None = None
    unlikeness: Unlikeness | None = None
    decision: Decision | None = None
    answers: PoolAnswers | None = None

    @classmethod
    def from_scores(
        cls,
        decision: Decision,
        catalog: Catalog,
        pairs: ScoredPairs,
        report: SetAside = NOTHING,
        duplicates: Duplicates = "unknown",
        unlikeness: Unlikeness | None = None,
        pins: Pins | None = None,
    ) -> Self:
        """Return the result of a decision on a pool's scored pairs; equal scores are ordered by posting id.

        Args:
            decision: The decision.
            catalog: n listings, without the evidence that was set aside.
            pairs: Their scored pairs; of listings with equal content, the one with the smallest posting id has them.
            report: What was set aside.
            duplicates: What the user knows of the catalog, see `Decision.decide`.
            unlikeness: How far the features of the pairs are from those of the training. The matches do not depend on
                it.
            pins: Pairs whose match people decided, see `Decision.decide`.
        """
        pairs = pairs.with_copies(copy_of(catalog))
        outcome = decision.decide(pairs, catalog.ids, duplicates, pins)
        groups = groups_of(outcome.matches)
        decided = outcome.split_groups, outcome.threshold, outcome.agreement
        return cls(catalog, pairs, outcome.matches, groups, report, *decided, unlikeness, decision=decision)

    @cached_property
    def matches(self) -> pd.DataFrame:
        """Return the matches of each listing, the best first: columns `posting_id`, `match`, `score`.

        The score is NaN where two listings match through their group and are no candidate pair.
        """
        return _frame(self._matches_table())

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Return the group of each listing, in the order of the catalog: columns `posting_id`, `group_id`.

        A group is named by its smallest posting id.
        """
        return _frame(self._groups_table())

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Return all candidate pairs: columns `left`, `right`, `score`.

        Of listings with equal content only the one with the smallest posting id was searched; each of the others makes
        a pair with it, of score 1.
        """
        return _frame(self._pairs_table())

    def group_ids(self) -> NDArray[Any]:
        """Return the smallest posting id of each listing's group, str [n]; it is the same for any order of the rows."""
        smallest: dict[int, str] = {}
        for group, posting_id in zip(self.group_numbers.tolist(), self.catalog.ids, strict=True):
            smallest[group] = min(smallest.get(group, posting_id), posting_id)
        return object_array(smallest[group] for group in self.group_numbers.tolist())

    @property
    def is_unlike(self) -> bool:
        """Return whether the catalog is unlike those of the training, so that the threshold was raised."""
        return is_unlike(self.agreement)

    @property
    def has_unlike_features(self) -> bool:
        """Return whether the features of the catalog are unlike those of the training."""
        return self.unlikeness is not None and self.unlikeness.is_unlike

    @property
    def unlike_in(self) -> str:
        """Return in words in which features the catalog is unlike the training; "" if it is in none."""
        return "; ".join(self.unlikeness.reasons) if self.unlikeness is not None and self.has_unlike_features else ""

    @property
    def unlike_metrics(self) -> dict[str, str]:
        """Return for a progress line what is unlike the training; empty if nothing is."""
        features = {"unlike_the_training_in": self.unlike_in} if self.has_unlike_features else {}
        rules = {"unlike_the_training_two_rules_agree_on": f"{self.agreement:.0%}"} if self.is_unlike else {}
        return features | rules

    @property
    def expected_to_match(self) -> int:
        """Return how many listings are expected to have a match, by the scores; decided matches are the surest."""
        return round(expected_share(self.scored_pairs) * len(self.catalog))

    def summary(self) -> dict[str, int]:
        """Return counts for a progress line."""
        sizes = np.bincount(self.group_numbers)
        too_large = {"groups_too_large_and_split": self.split_groups} if self.split_groups else {}
        return {
            "listings": len(self.catalog),
            "groups_of_two_or_more": int((sizes > 1).sum()),
            "listings_without_a_match": self.match_rows.n - len(np.unique(self.match_rows.listing)),
            "expected_to_have_a_match": self.expected_to_match,
            "largest_group": int(sizes.max(initial=0)),
        } | too_large

    @property
    def warnings(self) -> list[str]:
        """Return a line for each thing that makes the matches doubtful."""
        lines = [self._unlike_line()] if self.is_unlike or self.has_unlike_features else []
        if self.split_groups:
            groups = "1 group was" if self.split_groups == 1 else f"{self.split_groups:,} groups were"
            lines.append(
                f"warning: {groups} too large (tune.max_group) and split at higher thresholds; chains of look-alikes "
                "make such groups, and a higher threshold or the rule average_link makes fewer"
            )
        return lines

    def _unlike_line(self) -> str:
        """Return what is unlike the training, what was done about it, and what would help."""
        reasons = f" ({self.unlike_in})" if self.unlike_in else ""
        sentences = [f"warning: this catalog is unlike those of the training{reasons}"]
        if self.is_unlike:
            usual = f"(usual: {SIMILAR:.0%} or more)"
            sentences += [
                f"Two ways to decide agree on {self.agreement:.0%} {usual}, so the threshold was raised to "
                f"{self.threshold:.3f}, and the number of listings expected to have a match means little",
            ]
        else:
            agree = "" if self.agreement is None else f", although two ways to decide agree on {self.agreement:.0%}"
            sentences.append(f"Scores may be far off{agree}")
        help_ = "Labels of some of its products would help: train on them as well (--data OLD,NEW)"
        return ". ".join([*sentences, help_])

    @property
    def facts(self) -> MatchFacts:
        """Return what the files of matches do not say of how they came about."""
        told = tuple(self.warnings), self.expected_to_match
        return MatchFacts(self.decision, self.threshold, self.set_aside, *told)

    @property
    def answer_metrics(self) -> dict[str, str]:
        """Return for a progress line how many answers hold; empty where nobody answered."""
        return {} if self.answers is None else self.answers.metrics

    def tables(self) -> dict[str, pa.Table]:
        """Return the frames `matches`, `groups` and `pairs` as Arrow tables, by name."""
        return {"matches": self._matches_table(), "groups": self._groups_table(), "pairs": self._pairs_table()}

    def save(self, folder: Path) -> None:
        """Write one Parquet file per table, `submission.csv` in the competition's format, and what a report needs."""
        for name, table in self.tables().items():
            pq.write_table(table, folder / f"{name}.parquet")
        write_submission(folder / "submission.csv", self.catalog.ids, self.match_rows)
        self.catalog.save(folder / LISTINGS)
        write_json(folder / FACTS, self.facts.to_json())

    def _matches_table(self) -> pa.Table:
        ids, matches = self.catalog.ids, self.match_rows
        return _table({"posting_id": ids[matches.listing], "match": ids[matches.match], "score": matches.score})

    def _groups_table(self) -> pa.Table:
        return _table({"posting_id": self.catalog.ids, "group_id": self.group_ids()})

    def _pairs_table(self) -> pa.Table:
        ids, pairs = self.catalog.ids, self.scored_pairs
        left, right, score = pairs.left, pairs.right, pairs.score
        if pairs.copy_of is not None:
            copies = np.flatnonzero(pairs.copy_of != np.arange(pairs.n))
            ends = np.sort(np.stack([copies, pairs.copy_of[copies]]), axis=0)
            left, right = np.append(left, ends[0]), np.append(right, ends[1])
            score = np.append(score, np.ones(len(copies), dtype=np.float32))
            order = np.lexsort((right, left))
            left, right, score = left[order], right[order], score[order]
        return _table({"left": ids[left], "right": ids[right], "score": score})


def write_submission(path: Path, ids: NDArray[Any], matches: Matches) -> None:
    """Write `posting_id,matches`: each listing with its matches, itself first, separated by blanks.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe; the Parquet files hold raw values.

    Args:
        path: The file.
        ids: Posting ids, str [n].
        matches: Of the n listings.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> rows, ids = np.array([0, 1], np.int32), np.array(["a", "b"], dtype=object)
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "submission.csv"
        ...     write_submission(path, ids, Matches(2, rows, rows[::-1].copy(), np.ones(2, np.float32)))
        ...     path.read_text().splitlines()
        ['posting_id,matches', 'a,a b', 'b,b a']
    """
    rows = [" ".join([ids[row], *ids[match]]) for row, match in enumerate(matches.lists())]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("posting_id,matches\n")
        file.writelines(f"{csv_cell(posting_id)},{csv_cell(row)}\n" for posting_id, row in zip(ids, rows, strict=True))


def csv_cell(text: str) -> str:
    """Return a text as a cell of a CSV file, with an apostrophe before what a spreadsheet would run as a formula.

    Examples:
        >>> csv_cell("=1+1"), csv_cell("red, blue")
        ("'=1+1", '"red, blue"')
    """
    text = "'" + text if text.startswith(FORMULA) else text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _table(columns: Mapping[str, Any]) -> pa.Table:
    return pa.table({k: pa.array(v, pa.string() if v.dtype == object else None) for k, v in columns.items()})


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame
