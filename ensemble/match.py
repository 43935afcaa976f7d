"""Applies a finished run to a pool: `pool → embeddings → candidates → features → scores → matches`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.candidates import union
from ensemble.config import EnsembleConfig
from ensemble.decide import groups_of
from ensemble.features import load_features, pair_features
from ensemble.pool import Evidence, PoolEvidence
from ensemble.train import load_scorer
from ensemble.tune import load_decision, tune_all
from shared import branch
from shared.command import command
from shared.compute import ComputeConfig
from shared.errors import ArtefactError, MatcherError
from shared.pools import ALL, CATALOGUE_POOL, HOLDOUT_POOL, Pool, new_catalog, pool_catalog, pool_inputs
from shared.run import Run, replaced_folder
from shared.schema import Catalog, Matches, Pairs
from shared.settings import Settings

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula


@dataclass(frozen=True)
class Result:
    """A matched catalogue.

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

    def group_ids(self) -> NDArray[Any]:
        """The smallest posting id of each listing's group, str [n]; it does not depend on the order of the rows."""
        smallest: dict[int, str] = {}
        for group, posting_id in zip(self.groups.tolist(), self.catalog.ids, strict=True):
            smallest[group] = min(smallest.get(group, posting_id), posting_id)
        return np.array([*(smallest[group] for group in self.groups.tolist()), None], dtype=object)[:-1]

    def summary(self) -> dict[str, int]:
        """Counts for a progress line."""
        sizes = np.bincount(self.groups)
        return {
            "listings": len(self.catalog),
            "groups of two or more": int((sizes > 1).sum()),
            "listings without a match": self.matches.n - len(np.unique(self.matches.listing)),
            "largest group": int(sizes.max(initial=0)),
        }

    def save(self, folder: Path) -> None:
        """Write matches, groups, scored pairs and a submission in the competition's form."""
        ids = self.catalog.ids
        found = self.matches
        matches = {"posting_id": ids[found.listing], "match": ids[found.match], "score": found.score}
        pairs = {"left": ids[self.pairs.left], "right": ids[self.pairs.right], "score": self.pairs.score}
        pq.write_table(_table(matches), folder / "matches.parquet")
        pq.write_table(_table(pairs), folder / "pairs.parquet")
        pq.write_table(_table({"posting_id": ids, "group_id": self.group_ids()}), folder / "groups.parquet")
        write_submission(folder / "submission.csv", ids, self.matches)


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


def decide(run: Run, catalog: Catalog, scored: Pairs) -> Result:
    """Turn a pool's scored pairs into matches and groups by a run's decision; equal scores stand by posting id."""
    matches = load_decision(run).apply(scored, catalog.ids)
    return Result(catalog, scored, matches, groups_of(matches))


def match(run: Run, settings: Settings, catalog: Catalog) -> Result:
    """Match any catalogue with a finished run.

    Args:
        run: The run.
        settings: Its settings.
        catalog: Listings, as a pool of their own; their labels are not used.
    """
    compute = settings[ComputeConfig]
    names = settings[EnsembleConfig].branches
    check_current(run, names)
    views = {}
    for name in names:
        embeddings = branch.embed(run, settings, name, catalog, ALL)
        views[name] = Evidence(embeddings, branch.candidates(settings, name, embeddings))
    pool = PoolEvidence(catalog, views, compute.xp(), compute.cpu_threads)
    proposed = union((view.candidates for view in views.values()), len(catalog))
    pairs = pair_features(pool, proposed, settings[EnsembleConfig].features)
    return decide(run, catalog, load_scorer(run).score(pairs, compute.xp(), compute.cpu_threads))


def check_current(run: Run, names: Sequence[str]) -> None:
    """Make sure that a run's encoders and scorer are those its decision was tuned with.

    Raises:
        ArtefactError: One of them is missing, damaged, or was made again since.
    """
    run.open("ensemble/decision")
    tuned_with = (run.manifest("ensemble/decision") or {})["key"]["inputs"]
    now = {"ensemble/scorer": run.digest_of("ensemble/scorer")} | branch.encoder_digests(run, names)
    newer = [stage for stage, digest in now.items() if tuned_with.get(stage) != digest]
    if newer:
        made = f"{', '.join(newer)} changed after the decision was tuned"
        raise ArtefactError(f"{run.folder}: {made}; ./run_all.sh --run {run.folder} brings the rest up to date")


def score_stage(run: Run, settings: Settings, pool: Pool) -> None:
    """Score the pairs of the holdout or of the catalogue."""

    def work(out: Path) -> Mapping[str, Any]:
        compute = settings[ComputeConfig]
        scored = load_scorer(run).score(load_features(run, pool), compute.xp(), compute.cpu_threads)
        scored.save(out / "pairs.parquet")
        return {"pairs": len(scored)}

    inputs = {"scorer": run.digest_of("ensemble/scorer"), "pairs": run.digest_of(f"ensemble/features/{pool.name}")}
    run.stage(f"ensemble/scores/{pool.name}", "ensemble.match", inputs, {}, work)


def load_scores(run: Run, pool: Pool) -> Pairs:
    """The scored pairs of the holdout or of the catalogue."""
    return Pairs.load(run.open(f"ensemble/scores/{pool.name}") / "pairs.parquet")


def match_stage(run: Run, settings: Settings) -> None:
    """Write the matches of the run's catalogue: its test listings where it has any, else all of them."""

    def work(out: Path) -> Mapping[str, Any]:
        result = decide(run, pool_catalog(run, settings, CATALOGUE_POOL), load_scores(run, CATALOGUE_POOL))
        result.save(out)
        return result.summary()

    inputs = pool_inputs(run, settings, CATALOGUE_POOL)
    inputs |= {"decision": run.digest_of("ensemble/decision"), "scores": run.digest_of("ensemble/scores/catalogue")}
    run.stage("matches", "ensemble.match", inputs, {}, work)


def match_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the matches of its catalogue."""
    tune_all(run, settings)
    for pool in (HOLDOUT_POOL, CATALOGUE_POOL):
        score_stage(run, settings, pool)
    match_stage(run, settings)


def main() -> int:
    """The command `python -m ensemble.match`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, help="with --data: folder to write the matches into")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if (arguments.data is None) != (arguments.out is None):
            raise MatcherError("--data NEW and --out FOLDER go together: the catalogue to match, and where to write")
        if arguments.out is None:
            run.force = ("matches",) if arguments.force else ()
            match_all(run, settings)
            return
        check_current(run, settings[EnsembleConfig].branches)
        result = match(run, settings, new_catalog(settings))
        with replaced_folder(arguments.out) as folder:
            result.save(folder)
        shown = " · ".join(f"{label} {count:,}" for label, count in result.summary().items())
        run.say(f"{shown}\nwritten to {arguments.out}")

    about = "Match a new catalogue with a finished run (--data NEW --out FOLDER), or the run's own catalogue."
    sections = ["data", "ensemble", "compute"]
    return command(body, about, sections, usage="python -m ensemble.match", new_data=True, options=options)


if __name__ == "__main__":
    raise SystemExit(main())
