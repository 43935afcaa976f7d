"""All stages of a run, in the order of the data: what each reads, which settings it depends on, what it does.

Those of the branches are in `branches.stages`, those of the catalog in `shared.pipeline.catalog_stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from branches import registry
from branches.stages import branch_stages, extra_stages
from ensemble.answers.file import run_answers
from ensemble.config import EnsembleConfig, ReviewConfig, StartConfig, TuneConfig
from ensemble.pair_stages import candidates_stage, features_stage
from ensemble.result_stages import evaluation_stage, matches_stage, scores_stage
from ensemble.training_stages import decision_stage, scorer_stage, thinned_stages
from ensemble.unlabeled_stages import unlabeled_graph
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import are_labeled, catalog_stages, matched_stage, sources_of
from shared.pipeline.pools import (
    all_pools,
    catalog_pool,
    fold_pools,
    holdout_pool,
)
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage


def run_graph(run: RunFolder, settings: Settings) -> Graph:
    """Return all stages of a run, from the user's data to matches, and to metrics where its listings have labels.

    Args:
        run: The run folder.
        settings: Its settings, from `start_settings` where it has no labels.

    Raises:
        MatcherError: There is no such data or no such branch, or settings contradict each other.
    """
    names, sources = settings[EnsembleConfig].branches, sources_of(run, settings)
    if settings[TuneConfig].forbidden and "attributes" not in settings[EnsembleConfig].features:
        raise MatcherError("tune.forbid compares the attributes in titles: add attributes to ensemble.features")
    for name in names:
        registry.get(name)
    if not are_labeled(settings, sources):
        return unlabeled_graph(run, settings, sources)
    if settings[StartConfig].bundle:
        raise MatcherError(
            "the listings have labels, so the run trains on them and starts from no bundle; --start.bundle= trains, "
            "--data.label_column= leaves the labels out, and ensemble.match --bundle matches without a run"
        )
    stages = [*catalog_stages(run, settings, sources), *extra_stages(names, settings)]
    with_test = [each.name for each in sources if each.test is not None]
    for name in names:
        stages += branch_stages(name, settings, with_test=with_test)
    return Graph([*stages, *ensemble_stages(settings, with_test, run_answers(run.folder, settings[ReviewConfig]))])


def ensemble_stages(settings: Settings, with_test: Sequence[str] = (), answers: Path | None = None) -> list[Stage]:
    """Return the stages from the branches' candidates to matches and metrics.

    Args:
        settings: Of the run.
        with_test: Names of the catalogs that have test listings.
        answers: File of people's answers about its catalog; None: there is none.
    """
    names, sources = settings[EnsembleConfig].branches, settings[DataConfig].sources
    originals = {source: matched_stage(source, with_test) for source in sources}
    folds, pools = fold_pools(settings[SplitConfig].folds, sources), all_pools(settings[SplitConfig].folds, sources)
    return [
        *(candidates_stage(pool, names) for pool in pools),
        *(features_stage(pool, names) for pool in pools),
        *thinned_stages(folds, settings),
        scorer_stage(folds, settings),
        decision_stage(folds, names, settings),
        *(scores_stage(pool) for pool in (*map(holdout_pool, sources), *map(catalog_pool, sources))),
        matches_stage(originals, settings[DataConfig].duplicates, answers=answers),
        evaluation_stage(folds, names, sources),
    ]
