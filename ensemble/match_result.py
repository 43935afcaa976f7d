"""The result of matching a catalog: scored pairs, matches and groups, as frames and as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

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
from ensemble.submission import csv_cell, write_submission
from shared.artifacts import checked_type, write_json
from shared.catalog.config import Duplicates
from shared.catalog.copies import copy_of
from shared.catalog.ids import id_warnings
from shared.catalog.not_used import not_used
from shared.catalog.placeholders import NOTHING, SetAside
from shared.catalog.unusable_images import unusable_images, unusable_warning
from shared.errors import ArtifactError
from shared.schema import Catalog, Matches, ScoredPairs, pair_key

LISTINGS, FACTS = "listings.parquet", "matching.json"  # files beside the matches, from which the report is made
NOT_USED = "not_used.csv"
BATCH = 1 << 20  # rows of a table that are written at a time
Settled = Literal["yes", "no"]  # an answer that is kept to


@dataclass(frozen=True)
class MatchFacts:
    """What the files of matches do not say of how they came about.

    Args:
        decision: The decision; None if it is unknown.
        threshold: The threshold that was used; None if it is unknown.
        set_aside: The evidence that was not used.
        warnings: A line for each thing that makes the matches doubtful.
        expected_to_match: Number of listings that are expected to have a match, by the scores.
        answers: The answers that were kept to: both posting ids of a pair, and `yes` or `no`.
        duplicates: What the user knew of the catalog (`data.duplicates`).

    Examples:
        >>> MatchFacts.from_json(MatchFacts(threshold=0.5).to_json()).threshold
        0.5
    """

    decision: Decision | None = None
    threshold: float | None = None
    set_aside: SetAside = NOTHING
    warnings: tuple[str, ...] = ()
    expected_to_match: int | None = None
    answers: tuple[tuple[str, str, Settled], ...] = ()
    duplicates: Duplicates = "unknown"

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        decision = None if self.decision is None else asdict(self.decision)
        return {
            "decision": decision,
            "threshold": self.threshold,
            "set_aside": self.set_aside.to_json(),
            "warnings": list(self.warnings),
            "expected_to_match": self.expected_to_match,
            **({"answers": [list(answer) for answer in self.answers]} if self.answers else {}),
            **({"duplicates": self.duplicates} if self.duplicates != "unknown" else {}),
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
                checked_type(tuple[tuple[str, str, Settled], ...], content.get("answers", ())),
                checked_type(Duplicates, content.get("duplicates", "unknown")),  # type: ignore[arg-type]
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
        has_expectation: Whether the scores are probabilities that say how many listings have a match; they are not
            where no label of any catalog has taught them.
        duplicates: What the user knew of the catalog, see `Decision.decide`.
        caller_ids: The ids as a caller's frame holds them, with its dtype [n], for the frames; None: the catalog's.

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
    has_expectation: bool = True
    duplicates: Duplicates = "unknown"
    caller_ids: pd.api.extensions.ExtensionArray | NDArray[Any] | None = None

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
        decided = groups_of(outcome.matches), report, outcome.split_groups, outcome.threshold, outcome.agreement
        return cls(catalog, pairs, outcome.matches, *decided, unlikeness, decision=decision, duplicates=duplicates)

    @cached_property
    def matches(self) -> pd.DataFrame:
        """Return the matches of each listing, the best first: columns `posting_id`, `match`, `score`.

        The score is NaN where two listings match through their group and are no candidate pair.
        """
        return self._frame(self._match_rows())

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Return the group of each listing, in the order of the catalog: columns `posting_id`, `group_id`.

        A group is named by its smallest posting id, compared as text.
        """
        return self._frame(self._group_rows())

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Return all candidate pairs: columns `left`, `right`, `score`.

        Of listings with equal content only the one with the smallest posting id was searched; each of the others makes
        a pair with it, of score 1.
        """
        return self._frame(self._pair_rows())

    @cached_property
    def not_used(self) -> pd.DataFrame:
        """Return what of the listings was not used, and why: columns `posting_id`, `what`, `value`, `reason`.

        These are images and hashes that cannot be read, titles of which nothing can be read, words for a missing value
        (`nan`), and images, hashes and titles that many otherwise unlike listings share.
        """
        table = not_used(self.catalog)
        frame: pd.DataFrame = table.to_pandas()
        if self.caller_ids is not None:
            row = {posting_id: place for place, posting_id in enumerate(self.catalog.ids)}
            rows = np.array([row[posting_id] for posting_id in table.column("posting_id").to_pylist()], dtype=np.int64)
            frame["posting_id"] = self.caller_ids.take(rows)
        return frame

    def group_ids(self) -> NDArray[Any]:
        """Return the smallest posting id of each listing's group, str [n]; it is the same for any order of the rows."""
        return self.catalog.ids[self._first_rows()]

    def _first_rows(self) -> NDArray[np.int64]:
        """Return the row of the smallest posting id of each listing's group, int64 [n]."""
        by_id = np.argsort(self.catalog.ids, kind="stable")
        _, first, group = np.unique(self.group_numbers[by_id], return_index=True, return_inverse=True)
        rows = np.empty(len(by_id), dtype=np.int64)
        rows[by_id] = by_id[first[group]]
        return rows

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
    def expected_to_match(self) -> int | None:
        """Return how many listings are expected to have a match, by the scores; decided matches are the surest."""
        return round(expected_share(self.scored_pairs) * len(self.catalog)) if self.has_expectation else None

    def summary(self) -> dict[str, int]:
        """Return counts for a progress line."""
        sizes = np.bincount(self.group_numbers)
        too_large = {"groups_too_large_and_split": self.split_groups} if self.split_groups else {}
        expected = {} if (count := self.expected_to_match) is None else {"expected_to_have_a_match": count}
        return {
            "listings": len(self.catalog),
            "groups_of_two_or_more": int((sizes > 1).sum()),
            "listings_without_a_match": self.match_rows.n - len(np.unique(self.match_rows.listing)),
            **expected,
            "largest_group": int(sizes.max(initial=0)),
        } | too_large

    @property
    def warnings(self) -> list[str]:
        """Return a line for each thing that makes the matches doubtful."""
        lines = [self._unlike_line()] if self.is_unlike or self.has_unlike_features else []
        if images := unusable_warning(self.catalog):
            lines.append(images)
        if self.split_groups:
            groups = "1 group was" if self.split_groups == 1 else f"{self.split_groups:,} groups were"
            lines.append(
                f"warning: {groups} too large (tune.max_group) and split at higher thresholds; chains of look-alikes "
                "make such groups, and a higher threshold or the rule average_link makes fewer"
            )
        return lines + id_warnings(self.catalog.ids.tolist())

    @property
    def unusable_images(self) -> str | None:
        """Return one line that says how many images cannot be used, and why; None where all can."""
        return unusable_images(self.catalog)

    def _unlike_line(self) -> str:
        """Return what is unlike the training, what was done about it, and what would help."""
        reasons = f" ({self.unlike_in})" if self.unlike_in else ""
        sentences = [f"warning: this catalog is unlike those of the training{reasons}"]
        if self.is_unlike:
            sentences.append(
                f"Two ways to decide agree on {self.agreement:.0%} (usual: {SIMILAR:.0%} or more), so the threshold "
                f"was raised to {self.threshold:.3f}, and the number of listings expected to have a match means little"
            )
        else:
            agree = "" if self.agreement is None else f", although two ways to decide agree on {self.agreement:.0%}"
            sentences.append(f"Scores may be far off{agree}")
        help_ = "Labels of some of its products would help: train on them as well (--data OLD,NEW)"
        return ". ".join([*sentences, help_])

    @property
    def facts(self) -> MatchFacts:
        """Return what the files of matches do not say of how they came about."""
        told = tuple(self.warnings), self.expected_to_match
        return MatchFacts(self.decision, self.threshold, self.set_aside, *told, self._pinned_ids(), self.duplicates)

    def _pinned_ids(self) -> tuple[tuple[str, str, Settled], ...]:
        pins, ids = Pins() if self.answers is None else self.answers.pins, self.catalog.ids
        kinds: dict[Settled, NDArray[np.int64]] = {"yes": pins.must, "no": pins.never}
        return tuple((ids[one], ids[other], said) for said, rows in kinds.items() for one, other in rows.tolist())

    @property
    def answer_metrics(self) -> dict[str, str]:
        """Return for a progress line how many answers hold; empty where nobody answered."""
        return {} if self.answers is None else self.answers.metrics

    def tables(self) -> dict[str, pa.Table]:
        """Return the frames `matches`, `groups` and `pairs` as Arrow tables, by name; ids are text."""
        return {name: self._table(*of_name) for name, of_name in self._rows().items()}

    def save(self, folder: Path) -> None:
        """Write one Parquet file per table, two CSV files, and what a report needs.

        `submission.csv` holds the matches in the competition's format, `not_used.csv` what `not_used` returns.
        """
        for name, of_name in self._rows().items():
            batches = self._batches(*of_name)
            first = next(batches)
            with pq.ParquetWriter(folder / f"{name}.parquet", first.schema) as writer:
                for batch in chain([first], batches):
                    writer.write_table(batch)
        write_submission(folder / "submission.csv", self.catalog.ids, self.match_rows)
        unused = not_used(self.catalog)
        lines = [",".join(unused.column_names), *(",".join(map(csv_cell, row.values())) for row in unused.to_pylist())]
        (folder / NOT_USED).write_text("\n".join([*lines, ""]), encoding="utf-8", newline="")
        self.catalog.save(folder / LISTINGS)
        write_json(folder / FACTS, self.facts.to_json())

    def _rows(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Return of each table the columns of rows, which stand for ids, and those of scores."""
        return {"matches": self._match_rows(), "groups": self._group_rows(), "pairs": self._pair_rows()}

    def _batches(self, rows: Mapping[str, Any], scores: Mapping[str, Any]) -> Iterator[pa.Table]:
        """Yield a table of ids and scores in parts, one at least; rows of listings stand for their ids."""
        ids = self.catalog.table.column("posting_id").combine_chunks()
        count = len(next(iter(rows.values())))
        for start in range(0, max(count, 1), BATCH):
            part = slice(start, start + BATCH)
            of_ids = {name: ids.take(pa.array(of_name[part])) for name, of_name in rows.items()}
            yield pa.table({**of_ids, **{name: column[part] for name, column in scores.items()}})

    def _table(self, rows: Mapping[str, Any], scores: Mapping[str, Any]) -> pa.Table:
        """Return a table of ids and scores; rows of listings stand for their ids."""
        return pa.concat_tables(self._batches(rows, scores))

    def _frame(self, of: tuple[Mapping[str, Any], Mapping[str, Any]]) -> pd.DataFrame:
        """Return the frame of rows and scores, with ids as the caller's frame holds them if there was one."""
        frame: pd.DataFrame = self._table(*of).to_pandas()
        if self.caller_ids is not None:
            for name, rows in of[0].items():
                frame[name] = self.caller_ids.take(rows)
        return frame

    def _match_rows(self) -> tuple[dict[str, Any], dict[str, Any]]:
        matches = self.match_rows
        return {"posting_id": matches.listing, "match": matches.match}, {"score": matches.score}

    def _group_rows(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"posting_id": np.arange(len(self.catalog)), "group_id": self._first_rows()}, {}

    def _pair_rows(self) -> tuple[dict[str, Any], dict[str, Any]]:
        pairs = self.scored_pairs
        left, right, score = pairs.left, pairs.right, pairs.score
        if pairs.copy_of is not None:
            copies = np.flatnonzero(pairs.copy_of != np.arange(pairs.n))
            ends = np.sort(np.stack([copies, pairs.copy_of[copies]]), axis=0)
            keys = pair_key(ends[0], ends[1], pairs.n)
            order = np.argsort(keys)
            places = np.searchsorted(pairs.key, keys[order])
            left, right = np.insert(left, places, ends[0][order]), np.insert(right, places, ends[1][order])
            score = np.insert(score, places, np.float32(1))
        return {"left": left, "right": right}, {"score": score}
