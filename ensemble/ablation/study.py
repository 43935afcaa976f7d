"""Measures what each part of the ensemble is worth: baselines, decision rules, the scorer with one part left out.

The labeled listings are split into two halves of whole components. One half goes through all stages of a run: it is
split into two fold pools, encoders are trained on each fold for the other and on the whole half for the other half,
the scorer is cross-fitted between the fold pools, and the decision is tuned on their out-of-fold scores. Then the
other half is matched and measured, and all is done again with the halves exchanged. So every metric comes from a pool
on which nothing was trained or tuned. Another seed is another split.

With more than two parts, each in turn is trained on and all others together are measured: a pool 2 · (parts - 1) times
as large as those that the decision was tuned on. This measures the transfer of a threshold to larger pools.

The stages are those of a run, with one folder per fit; a system that differs in some stages has its own for these.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from branches.stages import branch_stages, extra_stages
from ensemble.ablation.paired_bootstrap import SystemResult, compare, table
from ensemble.ablation.state import State, state_of_graph
from ensemble.ablation.variants import FULL, System, judge_stage, systems
from ensemble.config import EnsembleConfig
from ensemble.pair_stages import candidates_stage, features_stage
from ensemble.result_stages import scores_name, scores_stage
from ensemble.sections import sections
from ensemble.stages import run_graph
from ensemble.training_stages import SCORER, scorer_stage, thinned_stages
from shared.artifacts import read_json, write_json
from shared.catalog.config import DataConfig
from shared.catalog.split import HOLDOUT, SplitConfig, part_split
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.catalog_stages import SPLIT, TRAIN, fold_stages, require_labels
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.pools import CATALOG_POOL, HOLDOUT_POOL, fold_pools, load_catalog
from shared.pipeline.run import ABLATION, OverlayRun, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig
from shared.pipeline.update import update_stages

NAMED = "ensemble/" + ABLATION  # folder of the run that holds it all
FOLDS = {"split": {"folds": 2}}
LEGEND = f"""Row F1: mean over listings;
±: standard deviation of row F1 over the fits. At its best: row F1 at the threshold that is best on the same listings,
which shows what a better threshold could gain. Never proposed, decided wrong: shares of the true pairs that were
missed. Difference: from {FULL}, its interval by bootstrap over label groups."""


class Fit:
    """A fit: all is trained and tuned on one part of a split, and measured on the other parts.

        fit = Fit(run, settings, seed=0, part=0, count=2)
        result = fit.judge(systems(settings)["mean cosine"])

    Args:
        run: The run; all stages are kept below its folder `NAMED`.
        settings: Its settings.
        seed: Of the split and of all that is trained.
        part: Number of the part to train and tune on, from 0.
        count: Number of parts of the split.
        force: Whether to run finished stages again.
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
        """Return the stages up to the branches' candidates, without those of the catalog that the run matches."""
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
            stages += branch_stages(name, self.settings, with_test=[])
        return [stage for stage in stages if not stage.name.endswith(f"/{CATALOG_POOL.name}")]

    def _scoring(self, settings: Settings) -> list[Stage]:
        """Return the stages from the branches' candidates to the scores of the listings to measure on."""
        names, folds = settings[EnsembleConfig].branches, fold_pools(settings[SplitConfig].folds)
        pools = [*folds, HOLDOUT_POOL]
        return [
            *(candidates_stage(pool, names) for pool in pools),
            *(features_stage(pool, names) for pool in pools),
            *thinned_stages(folds, settings),
            scorer_stage(folds, settings),
            scores_stage(HOLDOUT_POOL),
        ]

    def judge(self, system: System) -> SystemResult:
        """Return the result of a system, after running the stages in which it differs from the whole system."""
        settings = self.settings.changed(system.changes)
        last = judge_stage(settings, system)
        graph = Graph([*(stage for stage in self._scoring(settings) if _is_changed(stage, system)), last])
        self.run.say(f"  {system.name}")
        say = self.run.say
        folder = self.run.folder / "systems" / system.folder
        run = OverlayRun(folder, self.run, list(graph), say=lambda line: say(f"  {line}"))
        bring_up_to_date(run, settings, graph, list(graph), redo=list(graph) if self.force else ())
        outputs = run.open(last.name)
        rows = pq.read_table(outputs / "row_f1.parquet")
        metrics = read_json(outputs / "metrics.json")
        return SystemResult(metrics, rows["posting_id"].to_numpy(), rows["row_f1"].to_numpy())


def _is_changed(stage: Stage, system: System) -> bool:
    """Return whether a stage of a system differs from that of the whole system."""
    if "ensemble" in system.changes:
        return True
    return "scorer" in system.changes and stage.name in (SCORER, scores_name(HOLDOUT_POOL.name))


def split_by_part(inputs: Inputs, config: StageConfig, out: Path, part: int, count: int) -> Mapping[str, Any]:
    """Keep one part of the labeled listings to train on, and hold out all others."""
    split = part_split(load_catalog(inputs["catalog/train"]), config[ComputeConfig].seed, part, count)
    split.save(out / "split.parquet")
    held_out = split.fold == HOLDOUT
    return {"listings_to_train_on": int((split.fold >= 0).sum()), "to_be_judged": int(held_out.sum())}


def ablate(
    run: RunFolder,
    settings: Settings,
    variants: Sequence[System],
    splits: int,
    parts: int = 2,
    *,
    force: bool = False,
    state: State | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure systems with every part of several splits, and return their comparison with the first one.

        ablate(run, settings, list(systems(settings).values()), splits=1)

    The file of the comparison holds the `state` of the run that it is of. A system that cannot be trained or tuned on
    some part is left out: its candidate pairs are all true or all false, say, or its rule never has the precision that
    the run is tuned for.

    Raises:
        MatcherError: The whole system, which the others are compared with, cannot be trained or tuned on some part.
    """
    seed = settings[ComputeConfig].seed
    results: dict[str, list[SystemResult]] = {system.name: [] for system in variants}
    for split, part in itertools.product(range(splits), range(parts)):
        fit = Fit(run, settings, seed + split, part, parts, force=force)
        for system in [system for system in variants if system.name in results]:
            try:
                results[system.name].append(fit.judge(system))
            except MatcherError as error:  # it has nothing to learn from, or does not reach the objective, say
                if isinstance(error, ArtifactError) or system.name == FULL:
                    raise
                run.say(f"  {system.name} is left out of the table: {error}")
                del results[system.name]
    catalog = load_catalog(run.open(TRAIN))
    label = dict(zip(catalog.ids, label_codes(catalog.labels).tolist(), strict=True))
    comparison = compare(results, label, seed)
    about = {"splits": splits, "parts": parts, "seed": seed, "state": state}
    write_json(run.folder / NAMED / "ablation.json", about | {"systems": comparison})
    return comparison


def _chosen(variants: Mapping[str, System], arguments: Arguments) -> list[System]:
    """Return the whole system and those that the arguments name.

    Raises:
        MatcherError: There is no system of a name, or the numbers of splits and parts are too small.
    """
    unknown = [name for name in arguments.only or () if name not in variants]
    if unknown:
        raise MatcherError(f"there is no system {unknown[0]!r}; there are: {'; '.join(variants)}")
    if arguments.splits < 1:
        raise MatcherError(f"--splits={arguments.splits}: at least one split is needed")
    if arguments.parts < 2:
        raise MatcherError(
            f"--parts={arguments.parts}: at least two parts are needed, one to train on and one to measure on"
        )
    return [variants[name] for name in dict.fromkeys([FULL, *(arguments.only or variants)])]


def main() -> int:
    """Compare the whole system with baselines and with itself without a part."""

    def options(parser: Parser) -> None:
        parser.add_argument("--splits", type=int, default=1, metavar="N", help="random splits (default: 1)")
        what = "parts of a split; each in turn is trained on and the others are measured (default: 2)"
        parser.add_argument("--parts", type=int, default=2, metavar="N", help=what)
        parser.add_argument(
            "--only", nargs="+", action="extend", metavar="NAME", help="rows of the table to compute (default: all)"
        )

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        if len(paths := settings[DataConfig].paths) > 1:
            raise MatcherError(
                f"an ablation measures one catalog, and {run.folder} has {len(paths)}: name one, and a run of its "
                f"own, such as --data {paths[0]} --run {run.folder}-1"
            )
        graph = run_graph(run, settings)
        require_labels(run, graph)
        variants = _chosen(systems(settings), arguments)
        extras = [stage.name for stage in extra_stages(settings[EnsembleConfig].branches, settings)]
        update_stages(run, settings, graph, extras, measures=True)
        counts, state = (arguments.splits, arguments.parts), state_of_graph(run, settings, graph)
        comparison = ablate(run, settings, variants, *counts, force=arguments.force, state=state)
        count = f"{arguments.splits} split{'s' * (arguments.splits > 1)} into {arguments.parts} parts"
        run.say(f"\n{table(comparison)}\n\n{count}; each part was trained on and the others measured. {LEGEND}")

    about = "Measure what each part of the ensemble is worth: trained again without it, on two halves of the catalog."
    sections_in_help = ["data", "ensemble", "scorer", "tune", "compute"]
    command = "python -m ensemble.ablation"
    return Command(command, about, sections(), sections_in_help, body, options=options, stages="alone").run()
