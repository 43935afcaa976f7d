"""Trains encoders, scorer and decision again on all labeled listings, including those held out for the metrics.

The holdout becomes one more fold and nothing is held out. Then every step is one of a run: the encoders are trained on
all folds, the scorer on the pools of all folds, and the decision is tuned on their out-of-fold scores. The new fold's
pool is the holdout as it was embedded for the metrics, by encoders that never saw it, so its features are as unbiased
as those of the other folds. Answers of people about pairs that labels do not decide are training pairs of that fold,
too. The result has no metrics of its own: no labeled listing is left to measure it on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from branches.stage_names import new_catalog_encoders
from branches.stages import branch_stages
from ensemble.answers.file import run_answers
from ensemble.answers.training import answered_stage
from ensemble.config import EnsembleConfig, ReviewConfig, ScorerConfig
from ensemble.pair_stages import features_name
from ensemble.thinned_pools import thinned_name, thinned_stage
from ensemble.training_stages import decision_stage, scorer_stage
from shared.catalog.config import DataConfig
from shared.catalog.split import HOLDOUT, SplitConfig
from shared.compute import ComputeConfig
from shared.pipeline.catalog_stages import SPLIT, TEST, original_stage
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.pools import catalog_pool, fold_pool, fold_pools, holdout_pool, load_split, of_source
from shared.pipeline.run import BASE, REFIT, OverlayRun, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig


def refitted(run: RunFolder, settings: Settings, *, force: bool = False) -> RunFolder:
    """Return the run with encoders, scorer and decision of all its labeled listings; kept below its folder `refit`.

        refitted(run, settings).open("ensemble/scorer")

    Args:
        run: A finished run.
        settings: Its settings.
        force: Whether to run finished stages again.
    """
    fold, sources = settings[SplitConfig].folds, settings[DataConfig].sources
    settings = settings.changed({"split": {"folds": fold + 1}})
    folds, names = fold_pools(fold + 1, sources), settings[EnsembleConfig].branches
    answers = run_answers(run.folder, settings[ReviewConfig])
    answered = [replace(catalog_pool(source), fold=fold) for source in sources] if answers is not None else []
    originals = {pool: original_stage(run, pool.source) for pool in answered}
    answered_stages = [answered_stage(pool, originals[pool], answers) for pool in answered if answers is not None]
    graph = Graph(
        [
            *_one_more_fold(fold, sources),
            *answered_stages,
            *_encoder_stages(run, settings),
            *_thinned_holdouts(fold, settings),
            scorer_stage(folds, settings, answered),
            decision_stage(folds, names, settings),
        ]
    )
    refit = OverlayRun(run.folder / REFIT, run, list(graph), say=lambda line: run.say(f"{REFIT}/{line}"))
    bring_up_to_date(refit, settings, graph, list(graph), redo=list(graph) if force else ())
    return refit


def _encoder_stages(run: RunFolder, settings: Settings) -> list[Stage]:
    names = settings[EnsembleConfig].branches
    encoders = set(new_catalog_encoders(names))
    sources = settings[DataConfig].sources
    with_test = [source for source in sources if original_stage(run, source) == of_source(TEST, source)]
    stages = [stage for name in names for stage in branch_stages(name, settings, with_test=with_test)]
    return [stage for stage in stages if stage.name in encoders]


def _one_more_fold(fold: int, sources: Sequence[str]) -> list[Stage]:
    """Return the split in which the holdout is one more fold, and that fold's pools with their described pairs."""
    split = Stage(
        SPLIT, hold_nothing_out, code=("shared.catalog.split",), reads=(BASE + SPLIT,), parameters={"fold": fold}
    )
    pairs = [(fold_pool(fold, source), holdout_pool(source)) for source in sources]
    copies = [(pool.stage, holdout.stage) for pool, holdout in pairs]
    copies += [(features_name(pool.name), features_name(holdout.name)) for pool, holdout in pairs]
    return [
        split,
        *(Stage(name, take_over, code=(), reads=(stage,), parameters={"stage": stage}) for name, stage in copies),
    ]


def _thinned_holdouts(fold: int, settings: Settings) -> list[Stage]:
    """Return the stages with the pools thinned from those of the new fold."""
    shares, seed = settings[ScorerConfig].thinned, settings[ComputeConfig].seed
    names, sources = settings[EnsembleConfig].branches, settings[DataConfig].sources if shares else []
    return [
        thinned_stage(holdout_pool(source), names, shares, seed, thinned_name(fold_pool(fold, source).name))
        for source in sources
    ]


def hold_nothing_out(inputs: Inputs, config: StageConfig, out: Path, fold: int) -> Mapping[str, Any]:
    """Write a split in which the holdout of the run is one more fold."""
    split = load_split(inputs["base/split"])
    folds = np.where(split.fold == HOLDOUT, fold, split.fold).astype(np.int8)
    replace(split, fold=folds).save(out / "split.parquet")
    return {"listings_to_train_on": int((folds >= 0).sum())}


def take_over(inputs: Inputs, config: StageConfig, out: Path, stage: str) -> Mapping[str, Any]:
    """Copy the files of another stage."""
    for path in inputs[stage].glob("*.parquet"):
        shutil.copyfile(path, out / path.name)
    return {}
