"""What each part of the ensemble is worth: baselines, decision rules and the scorer with one part left out.

The labeled listings are dealt out to two halves of whole components. On one half all is done that a run does: it is
split into two fold pools, encoders are trained on one fold for the other and on the whole half for the half to be
judged, the scorer is cross-fitted between the fold pools, and the decision is tuned on their out-of-fold scores. Then
the other half is matched and judged, and the whole the other way round. So every metric comes from a pool on which
nothing was trained or tuned. Another seed is another split.

With more parts than two, each in turn is trained on and all others together are judged: a pool 2 · (parts - 1) times as
large as those that the decision was tuned on. This is how the transfer of a threshold to larger pools is measured.

The stages are those of a run, in a folder a fit; a system that differs in some of them has these of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from branches.stages import branch_stages, extra_stages
from ensemble.ablation.paired_bootstrap import Judged, compare, table
from ensemble.ablation.variants import FULL, System, judge_stage, systems
from ensemble.config import EnsembleConfig
from ensemble.scorer.training import NothingToLearnError
from ensemble.sections import sections
from ensemble.stages import (
    SCORER,
    candidates_stage,
    features_stage,
    run_graph,
    scorer_stage,
    scores_name,
    scores_stage,
)
from shared.artifacts import read_json, write_json
from shared.catalog.split import HOLDOUT, SplitConfig, part_split
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.catalog_stages import SPLIT, TRAIN, fold_stages, update_stages
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.pools import CATALOG_POOL, HOLDOUT_POOL, fold_pools, load_catalog
from shared.pipeline.run import ABLATION, OverlayRun, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig

NAMED = "ensemble/" + ABLATION  # folder of the run that holds it all
FOLDS = {"split": {"folds": 2}}
LEGEND = f"""Row F1: mean over listings;
±: standard deviation of that over the fits. At its best: with the rule's best threshold on the very listings that are
judged, as a measure of the threshold. Never proposed, decided wrong: shares of the true pairs that were missed.
Difference: from {FULL}, its interval by bootstrap over label groups."""


class Fit:
    """What one part of a split teaches, judged on the others.

    Args:
        run: The run; all stages are kept below its folder `NAMED`.
        settings: Its settings.
        seed: Of the split and of all that is trained.
        part: Which part is trained and tuned on, from 0.
        count: Number of parts of the split.
        force: Whether to do again what is done.
    """

    def __init__(
        self, run: RunFolder, settings: Settings, seed: int, part: int, count: int, *, force: bool = False
    ) -> None:
        self.settings = settings.changed(FOLDS, {"compute": {"seed": seed}})
        self.force = force
        run.say(f"\nsplit {seed}, trained on part {part + 1} of {count}")
        folder = run.folder / NAMED / f"split{seed}" / f"{part + 1}of{count}"
        graph = Graph([*self._own_stages(part, count), *self._scoring(self.settings)])
        self.run = OverlayRun(folder, run, list(graph), say=run.say)
        bring_up_to_date(self.run, self.settings, graph, list(graph), redo=list(graph) if force else ())

    def _own_stages(self, part: int, count: int) -> list[Stage]:
        """The stages up to the branches' candidates; the catalog to be matched plays no part."""
        names = self.settings[EnsembleConfig].branches
        split = Stage(
            SPLIT,
            split_by_part,
            code=("shared.catalog.split",),
            reads=(TRAIN,),
            settings=(ComputeConfig,),
            parameters={"part": part, "count": count},
        )
        stages = [split, *fold_stages(self.settings[SplitConfig].folds)]
        for name in names:
            stages += branch_stages(name, self.settings, has_test=False)
        return [stage for stage in stages if not stage.name.endswith(f"/{CATALOG_POOL.name}")]

    def _scoring(self, settings: Settings) -> list[Stage]:
        """The stages from the branches' candidates to the scores of the listings to be judged."""
        names, folds = settings[EnsembleConfig].branches, fold_pools(settings[SplitConfig].folds)
        pools = [*folds, HOLDOUT_POOL]
        return [
            *(candidates_stage(pool, names) for pool in pools),
            *(features_stage(pool, names) for pool in pools),
            scorer_stage(folds),
            scores_stage(HOLDOUT_POOL),
        ]

    def judge(self, system: System) -> Judged:
        """Judge a system; what it does otherwise than the whole system is done first."""
        settings = self.settings.changed(system.changes)
        judged = judge_stage(settings, system)
        graph = Graph([*(stage for stage in self._scoring(settings) if _is_changed(stage, system)), judged])
        self.run.say(f"  {system.name}")
        say = self.run.say
        folder = self.run.folder / "systems" / system.folder
        run = OverlayRun(folder, self.run, list(graph), say=lambda line: say(f"  {line}"))
        bring_up_to_date(run, settings, graph, list(graph), redo=list(graph) if self.force else ())
        outputs = run.open(judged.name)
        rows = pq.read_table(outputs / "row_f1.parquet")
        metrics = read_json(outputs / "metrics.json")
        return Judged(metrics, rows["posting_id"].to_numpy(), rows["row_f1"].to_numpy())


def _is_changed(stage: Stage, system: System) -> bool:
    """Whether a system does a stage otherwise than the whole system."""
    if "ensemble" in system.changes:
        return True
    return "scorer" in system.changes and stage.name in (SCORER, scores_name(HOLDOUT_POOL.name))


def split_by_part(inputs: Inputs, config: StageConfig, out: Path, part: int, count: int) -> Mapping[str, Any]:
    """Keep one part of the labeled listings to train on, and hold out all others."""
    split = part_split(load_catalog(inputs["catalog/train"]), config[ComputeConfig].seed, part, count)
    split.save(out / "split.parquet")
    held_out = split.fold == HOLDOUT
    return {"listings_to_train_on": int((~held_out).sum()), "to_be_judged": int(held_out.sum())}


def ablate(
    run: RunFolder, settings: Settings, chosen: Sequence[System], splits: int, parts: int = 2, *, force: bool = False
) -> dict[str, dict[str, Any]]:
    """Judge systems by every part of several splits, and compare them with the first.

    One that learns nothing from some part, for its candidate pairs are all true or all false, is left out.
    """
    seed = settings[ComputeConfig].seed
    judged: dict[str, list[Judged]] = {system.name: [] for system in chosen}
    for at, part in itertools.product(range(splits), range(parts)):
        fit = Fit(run, settings, seed + at, part, parts, force=force)
        for system in [system for system in chosen if system.name in judged]:
            try:
                judged[system.name].append(fit.judge(system))
            except NothingToLearnError as error:
                run.say(f"  {system.name} is left out of the table: {error}")
                del judged[system.name]
    catalog = load_catalog(run.open(TRAIN))
    label = dict(zip(catalog.ids, label_codes(catalog.labels).tolist(), strict=True))
    compared = compare(judged, label, seed)
    about = {"splits": splits, "parts": parts, "seed": seed}
    write_json(run.folder / NAMED / "ablation.json", about | {"systems": compared})
    return compared


def _chosen(known: Mapping[str, System], arguments: Arguments) -> list[System]:
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
    """Compare the whole system with baselines and with itself without a part."""

    def options(parser: Parser) -> None:
        parser.add_argument("--splits", type=int, default=1, metavar="N", help="random splits (default: 1)")
        what = "parts of a split; each in turn is trained on, and the others together are judged (default: 2)"
        parser.add_argument("--parts", type=int, default=2, metavar="N", help=what)
        parser.add_argument("--only", nargs="+", action="extend", metavar="NAME", help="of these rows alone")

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        graph = run_graph(run, settings)
        chosen = _chosen(systems(settings), arguments)
        extras = [stage.name for stage in extra_stages(settings[EnsembleConfig].branches, settings)]
        update_stages(run, settings, graph, extras)
        compared = ablate(run, settings, chosen, arguments.splits, arguments.parts, force=arguments.force)
        count = f"{arguments.splits} split{'s' * (arguments.splits > 1)} into {arguments.parts} parts"
        run.say(f"\n{table(compared)}\n\n{count}, each of which was trained on and judged by the rest. {LEGEND}")

    about = "Measure what each part of the ensemble is worth: trained again without it, on two halves of the catalog."
    shown = ["data", "ensemble", "scorer", "tune", "compute"]
    return Command("python -m ensemble.ablation", about, sections(), shown, body, options=options).run()
