"""Measures how the system of a finished run fares on catalogs of another kind, on pools made of its holdout.

1. *Duplicates*: every product of the holdout with one listing, some with two, all listings.
2. *Sizes*: a part of the products with all their listings. Larger pools need training on less, as
   `ensemble.ablation --parts` does.
3. *Catalogs left out*: in a run of several catalogs, scorer and decision are trained and tuned again on the fold pools
   of all catalogs but one, whose holdout is then matched. The encoders stay those of the run, which learned from the
   folds of all of them.

Nothing was trained or tuned on a holdout, and so nothing on these pools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble.bundle.pack import require_own
from ensemble.config import EnsembleConfig, TuneConfig
from ensemble.decision.bootstrap import CONFIDENCE
from ensemble.matcher import Matcher, check_current
from ensemble.result_stages import EVALUATION
from ensemble.sections import sections
from ensemble.training_stages import decision_stage, scorer_stage
from ensemble.transfer.measure import LabeledListings, measure_pool
from ensemble.transfer.variants import variants
from shared.artifacts import write_json
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.catalog_stages import require_labeled_run
from shared.pipeline.cli import Arguments, Command
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.pools import fold_pools
from shared.pipeline.run import TRANSFER, OverlayRun, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph

FOLDER = "ensemble/" + TRANSFER  # of the run
OTHERS = "scorer and decision of the other catalogs"
COLUMNS = (
    "listings",
    "with a match",
    "decision",
    "precision",
    "recall",
    "row F1",
    f"{100 * CONFIDENCE:.0f} % interval",
    "at its best",
    "loss",
)
LEGEND = """Each row is a pool of its own, made of held-out listings. With a match: share of its listings. Decision:
rule and threshold that were used. Precision, recall, row F1: means over listings; the interval of row F1 by bootstrap
over products. At its best: row F1 of the same rule at the threshold that is best on the same pool; loss: what row F1
falls short of that. Of products listed twice, two listings are drawn by compute.seed, of all others one."""
OTHERS_LEGEND = f"""{OTHERS.capitalize()}: all listings, matched by what was trained and tuned
without this catalog; the encoders are those of the run, which learned from the folds of all catalogs."""
Row = dict[str, Any]  # catalog, pool, and what `measure_pool` returns


def study(run: RunFolder, settings: Settings, *, force: bool = False) -> list[Row]:
    """Return the metrics on every pool, and write them into `transfer.json`.

        study(RunFolder(Path("runs/default")), settings)

    Args:
        run: A finished run; held by this process.
        settings: Its settings.
        force: Whether to train again without a catalog even if nothing changed.

    Raises:
        ArtifactError: The run is not finished, or a part of it is damaged.
        MatcherError: It is a run without labels.
    """
    require_labeled_run(run)
    check_current(run, settings, [EVALUATION])
    sources, seed = settings[DataConfig].sources, settings[ComputeConfig].seed
    matcher, rows = Matcher(run, settings), list[Row]()
    for source in sources:
        holdout = LabeledListings.of_holdout(run, settings, source)
        for name, kept in variants(label_codes(holdout.catalog.labels), seed).items():
            rows.append({"catalog": source, "pool": name} | measure_pool(matcher, holdout.take(kept)))
            run.say(progress(rows[-1]))
    for source in sources if len(sources) > 1 else ():
        try:
            without = Matcher(trained_without(source, run, settings, force=force), settings)
        except ArtifactError:
            raise
        except MatcherError as error:  # the other catalogs have too little to learn from, say
            run.say(f"  {source}: {OTHERS}: left out of the table: {error}")
            continue
        holdout = LabeledListings.of_holdout(run, settings, source)
        rows.append({"catalog": source, "pool": OTHERS} | measure_pool(without, holdout))
        run.say(progress(rows[-1]))
    (run.folder / FOLDER).mkdir(parents=True, exist_ok=True)
    about = {"seed": seed, "resamples": settings[TuneConfig].resamples}
    write_json(run.folder / FOLDER / "transfer.json", about | {"pools": rows})
    return rows


def trained_without(source: str, run: RunFolder, settings: Settings, *, force: bool = False) -> OverlayRun:
    """Return the run with scorer and decision of the fold pools of all catalogs but one; all else is the run's.

        Matcher(trained_without("shop", run, settings), settings)

    Args:
        source: Name of the catalog that is left out.
        run: A finished run of several catalogs.
        settings: Its settings.
        force: Whether to train again even if nothing changed.

    Raises:
        MatcherError: The others have nothing to learn from, or the objective of tuning is not reached.
    """
    others = [other for other in settings[DataConfig].sources if other != source]
    folds = fold_pools(settings[SplitConfig].folds, others)
    stages = [scorer_stage(folds, settings), decision_stage(folds, settings[EnsembleConfig].branches, settings)]
    folder, say = f"{FOLDER}/without-{source}", run.say
    overlay = OverlayRun(run.folder / folder, run, [stage.name for stage in stages], say=lambda line: say(f"  {line}"))
    run.say(f"{folder}:")
    bring_up_to_date(overlay, settings, Graph(stages), overlay.stages, redo=overlay.stages if force else ())
    return overlay


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row of the table: its pool, after its catalog in a run of several.

    Examples:
        >>> name_of({"catalog": "shop", "pool": "all listings"}), name_of({"catalog": "", "pool": "all listings"})
        ('shop: all listings', 'all listings')
    """
    return f"{row['catalog']}: {row['pool']}" if row["catalog"] else str(row["pool"])


def progress(row: Mapping[str, Any]) -> str:
    """Return the line of progress about a pool that was measured."""
    return f"  {name_of(row):<58} row F1 {row['row_f1']:.3f} in a pool of {row['pool_size']:,}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the metrics of the pools as a Markdown table with one line per pool."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for row in rows:
        low, high = row["interval"]
        cells = [
            name_of(row),
            f"{row['pool_size']:,}",
            f"{row['with_match']:.1%}",
            f"{row['rule']} at {row['threshold']:.3f}",
            *(f"{row[key]:.3f}" for key in ("row_precision", "row_recall", "row_f1")),
            f"{low:.3f}–{high:.3f}",
            *(f"{row[key]:.3f}" for key in ("at_best", "loss")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure a finished run on catalogs of another kind."""

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        require_own(run, settings, "this measurement")
        rows = study(run, settings, force=arguments.force)
        legend = LEGEND + (f"\n{OTHERS_LEGEND}" if any(row["pool"] == OTHERS for row in rows) else "")
        run.say(f"\n{table(rows)}\n\n{legend}\n\nwritten to {run.folder / FOLDER / 'transfer.json'}")

    about = (
        "Measure a finished run on pools of another kind, made of its holdout: with few duplicates, smaller ones, and "
        "in a run of several catalogs each with scorer and decision of the others. For larger pools, which need "
        "training on less, see --parts of python -m ensemble.ablation."
    )
    return Command("python -m ensemble.transfer", about, sections(), ["compute"], body, stages="alone").run()
