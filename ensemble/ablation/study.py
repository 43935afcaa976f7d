"""What each part of the ensemble is worth: baselines, decision rules and the scorer with one part left out.

The labeled listings are dealt out to two halves of whole components. On one half all is done that a run does: it is
split into two fold pools, encoders are trained on one fold for the other and on the whole half for the half to be
judged, the scorer is cross-fitted between the fold pools, and the decision is tuned on their out-of-fold scores. Then
the other half is matched and judged, and the whole the other way round. So every figure comes from a pool on which
nothing was trained or tuned. Another seed is another split.

With more parts than two, each in turn is trained on and all others together are judged: a pool 2 · (parts - 1) times as
large as those that the decision was tuned on. This is how the transfer of a threshold to larger pools is measured.

The stages are those of a run, in a folder a fit; a system that differs in some of them has these of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from branches import stages as branch
from ensemble.ablation.paired_bootstrap import Judged, compare, table
from ensemble.ablation.variants import FULL, System, judge_stage, systems
from ensemble.candidates import candidates_stage
from ensemble.config import EnsembleConfig
from ensemble.features import features_stage
from ensemble.score import score_stage
from ensemble.scorer.training import NothingToLearnError, train_stage
from shared.catalog.split import HOLDOUT, part_split
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.cli import command
from shared.pipeline.pools import HOLDOUT_POOL, fold_pools, prepare, train_catalog
from shared.pipeline.run import ABLATION, DerivedRun, Run, write_json
from shared.pipeline.settings import Settings, merge

NAMED = "ensemble/" + ABLATION  # folder of the run that holds it all
FOLDS = {"split": {"folds": 2}}
LEGEND = f"""Row F1: mean over listings;
±: standard deviation of that over the fits. At its best: with the rule's best threshold on the very listings that are
judged, as a measure of the threshold. Never proposed, decided wrong: shares of the true pairs that were missed.
Difference: from {FULL}, its interval by bootstrap over label groups."""
REDONE = {"ensemble": ["ensemble"], "scorer": ["ensemble/scorer", "ensemble/scores"]}  # section → stages it changes


class Fit:
    """What one part of a split teaches, judged on the others.

    Args:
        run: The run; all stages are kept below its folder `NAMED`.
        settings: Its settings.
        seed: Of the split and of all that is trained.
        part: Which part is trained and tuned on, from 0.
        count: Parts of the split.
    """

    def __init__(self, run: Run, settings: Settings, seed: int, part: int, count: int) -> None:
        self.settings = Settings(merge(settings.values, FOLDS, {"compute": {"seed": seed}}))
        self.names = settings[EnsembleConfig].branches
        run.say(f"\nsplit {seed}, trained on part {part + 1} of {count}")
        folder = run.folder / NAMED / f"split{seed}" / f"{part + 1}of{count}"
        self.run = DerivedRun(folder, run, ("split", "ensemble", *self.names), say=run.say)
        self._split(seed, part, count)
        for branch_name in self.names:
            branch.train_all(self.run, self.settings, branch_name)
            for pool in (*fold_pools(self.settings), HOLDOUT_POOL):
                branch.embed_stage(self.run, self.settings, branch_name, pool)
                branch.candidates_stage(self.run, self.settings, branch_name, pool)
        score_pairs(self.run, self.settings)

    def _split(self, seed: int, part: int, count: int) -> None:
        def work(out: Path) -> dict[str, Any]:
            made = part_split(train_catalog(self.run), seed, part, count)
            made.save(out / "split.parquet")
            held_out = made.fold == HOLDOUT
            return {"listings to train on": int((~held_out).sum()), "to be judged": int(held_out.sum())}

        inputs = {"catalog": self.run.digest_of("catalog/train")}
        self.run.stage("split", "shared.catalog.split", inputs, {"seed": seed, "part": part, "parts": count}, work)

    def judge(self, system: System) -> Judged:
        """Judge a system; what it does otherwise than the whole system is done first."""
        settings = Settings(merge(self.settings.values, system.changes))
        own = ["judged", *(stage for section in system.changes for stage in REDONE.get(section, []))]
        self.run.say(f"  {system.name}")
        say = self.run.say
        folder = self.run.folder / "systems" / system.folder
        run = DerivedRun(folder, self.run, own, say=lambda line: say(f"  {line}"))
        score_pairs(run, settings)
        folder = judge_stage(run, settings, system)
        rows = pq.read_table(folder / "row_f1.parquet")
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        return Judged(figures, rows["posting_id"].to_numpy(), rows["row_f1"].to_numpy())


def score_pairs(run: Run, settings: Settings) -> None:
    """The stages of a run from the branches' candidates to the scores of the listings to be judged."""
    for pool in (*fold_pools(settings), HOLDOUT_POOL):
        candidates_stage(run, settings, pool)
        features_stage(run, settings, pool)
    train_stage(run, settings)
    score_stage(run, settings, HOLDOUT_POOL)


def ablate(
    run: Run, settings: Settings, chosen: Sequence[System], splits: int, parts: int = 2
) -> dict[str, dict[str, Any]]:
    """Judge systems by every part of several splits, and compare them with the first.

    One that learns nothing from some part, for its candidate pairs are all true or all false, is left out.
    """
    seed = settings[ComputeConfig].seed
    judged: dict[str, list[Judged]] = {system.name: [] for system in chosen}
    for at, part in itertools.product(range(splits), range(parts)):
        fit = Fit(run, settings, seed + at, part, parts)
        for system in [system for system in chosen if system.name in judged]:
            try:
                judged[system.name].append(fit.judge(system))
            except NothingToLearnError as error:
                run.say(f"  {system.name} is left out of the table: {error}")
                del judged[system.name]
    catalog = train_catalog(run)
    label = dict(zip(catalog.ids, label_codes(catalog.labels).tolist(), strict=True))
    compared = compare(judged, label, seed)
    about = {"splits": splits, "parts": parts, "seed": seed}
    write_json(run.folder / NAMED / "ablation.json", about | {"systems": compared})
    return compared


def _chosen(known: Mapping[str, System], arguments: argparse.Namespace) -> list[System]:
    """The whole system and those that were asked for.

    Raises:
        MatcherError: There is none of that name, or nothing to do.
    """
    unknown = [name for name in arguments.only or () if name not in known]
    if unknown:
        raise MatcherError(f"there is no system {unknown[0]!r}; there are: {'; '.join(known)}")
    if arguments.splits < 1:
        raise MatcherError(f"--splits={arguments.splits}: there must be at least one split")
    if arguments.parts < 2:
        raise MatcherError(f"--parts={arguments.parts}: one part to train on and another to judge are needed")
    return [known[name] for name in dict.fromkeys([FULL, *(arguments.only or known)])]


def main() -> int:
    """The command `python -m ensemble.ablate`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--splits", type=int, default=1, metavar="N", help="random splits (default: 1)")
        what = "parts of a split; each in turn is trained on, and the others together are judged (default: 2)"
        parser.add_argument("--parts", type=int, default=2, metavar="N", help=what)
        parser.add_argument("--only", nargs="+", action="extend", metavar="NAME", help="of these rows alone")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        for name in settings[EnsembleConfig].branches:
            settings.branch(name)
        chosen = _chosen(systems(settings), arguments)
        prepare(run, settings)
        run.force = ("",) if arguments.force else ()
        compared = ablate(run, settings, chosen, arguments.splits, arguments.parts)
        count = f"{arguments.splits} split{'s' * (arguments.splits > 1)} into {arguments.parts} parts"
        run.say(f"\n{table(compared)}\n\n{count}, each of which was trained on and judged by the rest. {LEGEND}")

    about = "Measure what each part of the ensemble is worth: trained again without it, on two halves of the catalog."
    sections = ["data", "ensemble", "scorer", "tune", "compute"]
    return command(body, about, sections, usage="python -m ensemble.ablate", options=options)


if __name__ == "__main__":
    raise SystemExit(main())
