"""Trains once more what matches, on all labeled listings: what was held out for the figures teaches, too.

The holdout becomes one more fold and nothing is held out. Then every step is one of a run: the encoders are trained on
all folds, the scorer on the pools of all folds, and the decision is tuned on their out-of-fold scores. The new fold's
pool is the holdout as it was embedded for the figures, by encoders that never saw it, so its features are as honest as
those of the others. How good the outcome is nobody can say: no labeled listing is left to measure it on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from branches import stages as branch
from ensemble.config import EnsembleConfig
from ensemble.decision.tuning import tune_stage
from ensemble.matcher import DECISION, SCORER
from ensemble.scorer.training import train_stage
from shared.catalog.split import HOLDOUT, SplitConfig
from shared.pipeline.pools import ALL, HOLDOUT_POOL, fold_pools, load_split
from shared.pipeline.run import REFIT, DerivedRun, Run
from shared.pipeline.settings import Settings, merge

FEATURES = "ensemble/features"


def refitted(run: Run, settings: Settings) -> Run:
    """The run with encoders, scorer and decision of all its labeled listings; kept below its folder `refit`.

    Args:
        run: A finished run.
        settings: Its settings.
    """
    folds = settings[SplitConfig].folds
    settings = Settings(merge(settings.values, {"split": {"folds": folds + 1}}))
    pool = fold_pools(settings)[-1]
    names = [name for name in settings[EnsembleConfig].branches if branch.learns(name)]
    own = ["split", f"{FEATURES}/{pool.name}", *branch.encoder_stages(names), SCORER, DECISION]
    refit = DerivedRun(run.folder / REFIT, run, own, say=lambda line: run.say(f"{REFIT}/{line}"))

    def split(out: Path) -> Mapping[str, Any]:
        made = load_split(run)
        fold = np.where(made.fold == HOLDOUT, folds, made.fold).astype(np.int8)
        replace(made, fold=fold).save(out / "split.parquet")
        return {"listings to train on": len(fold)}

    def features(out: Path) -> Mapping[str, Any]:
        shutil.copyfile(run.open(f"{FEATURES}/{HOLDOUT_POOL.name}") / "pairs.parquet", out / "pairs.parquet")
        return {}

    refit.stage("split", "ensemble.bundle.refit", {"split": run.digest_of("split")}, {}, split)
    inputs = {"holdout": run.digest_of(f"{FEATURES}/{HOLDOUT_POOL.name}")}
    refit.stage(f"{FEATURES}/{pool.name}", "ensemble.bundle.refit", inputs, {}, features)
    for name in names:
        branch.train_stage(refit, settings, name, ALL)
    train_stage(refit, settings)
    tune_stage(refit, settings)
    return refit
