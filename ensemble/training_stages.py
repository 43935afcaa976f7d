"""The stages that train the scorer on the fold pools and tune the decision on its out-of-fold scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from branches.stage_names import new_catalog_encoders
from ensemble.answers.training import answered_name, load_answered
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.curves import ScoredPool
from ensemble.decision.decision import Decision
from ensemble.decision.siblings import count_siblings, describe_siblings
from ensemble.decision.tuning import summarize, tune
from ensemble.features.assemble import excluded_features
from ensemble.pair_stages import features_name, load_features
from ensemble.scorer.experience import Experience
from ensemble.scorer.training import LabeledPool, train_scorer
from ensemble.thinned_pools import load_thinned_pairs, load_thinned_rows, thinned_name, thinned_stage
from ensemble.thinning import kinds_of, score_files
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes, same_product
from shared.pipeline.pools import (
    Pool,
    load_catalog,
)
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import ScoredPairs

SCORER, DECISION = "ensemble/scorer", "ensemble/decision"


def thinned_stages(folds: Sequence[Pool], settings: Settings) -> list[Stage]:
    """Return the stages with the pools thinned from the fold pools; none where the settings ask for none."""
    shares, seed = settings[ScorerConfig].thinned, settings[ComputeConfig].seed
    names = settings[EnsembleConfig].branches
    return [thinned_stage(pool, names, shares, seed) for pool in folds] if shares else []


def _thinned_names(folds: Sequence[Pool], settings: Settings) -> list[str]:
    return [thinned_name(pool.name) for pool in folds] if settings[ScorerConfig].thinned else []


def scorer_stage(folds: Sequence[Pool], settings: Settings, answered: Sequence[Pool] = ()) -> Stage:
    """Return the stage that trains the scorer on the fold pools, on those thinned from them, and on answers.

    Args:
        folds: The fold pools.
        settings: Of the run.
        answered: Pools with pairs that people answered (`ensemble.answers.training`), each with a fold.
    """
    named = {"answered": [(pool.name, pool.fold, pool.source) for pool in answered]} if answered else {}
    return Stage(
        SCORER,
        train_on_folds,
        code=(
            "ensemble.scorer.training",
            "ensemble.scorer.experience",
            "ensemble.features.assemble",
            "ensemble.thinning",
            "shared.metrics.matching",
            *(["ensemble.answers.training"] if answered else []),
        ),
        reads=(
            *(pool.stage for pool in folds),
            *(features_name(pool.name) for pool in folds),
            *_thinned_names(folds, settings),
            *(features_name(pool.name) for pool in answered),
            *(answered_name(pool.name) for pool in answered),
        ),
        settings=(ScorerConfig, EnsembleConfig, ComputeConfig),
        parameters={"folds": [(pool.name, pool.fold, pool.source) for pool in folds], **named},
    )


def labeled_pools(
    folder_of: Callable[[str], Path], folds: Sequence[tuple[str, int, str]], *, thinned: bool
) -> list[LabeledPool]:
    """Return the fold pools, each followed by those thinned from it.

    Args:
        folder_of: Returns the folder of a stage by its name.
        folds: Name, fold and source of each fold pool.
        thinned: Whether there are thinned pools.
    """
    pools = []
    for name, fold, source in folds:
        catalog = load_catalog(folder_of(f"pools/{name}"))
        codes = label_codes(catalog.labels)
        pairs = load_features(folder_of(features_name(name)))
        pools.append(LabeledPool(pairs, codes, fold, source, copy_of(catalog)))
        if thinned:
            folder = folder_of(thinned_name(name))
            for pairs, rows in zip(load_thinned_pairs(folder), load_thinned_rows(folder), strict=True):
                pools.append(LabeledPool(pairs, codes[rows], fold, source, copy_of(catalog.take(rows))))
    return pools


def answered_pools(folder_of: Callable[[str], Path], answered: Sequence[tuple[str, int, str]]) -> list[LabeledPool]:
    """Return pools of which a scorer learns the pairs that people answered.

    Args:
        folder_of: Returns the folder of a stage by its name.
        answered: Name, fold and source of each pool.
    """
    pools = []
    for name, fold, source in answered:
        pairs = load_features(folder_of(features_name(name)))
        match, counted = load_answered(folder_of(answered_name(name)), pairs)
        codes = np.full(pairs.n, -1)
        pools.append(LabeledPool(pairs, codes, fold, source, match=match, counted=counted))
    return pools


def train_on_folds(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    folds: Sequence[tuple[str, int, str]],
    answered: Sequence[tuple[str, int, str]] = (),
) -> Mapping[str, Any]:
    """Train the scorer; keep the out-of-fold scores of every pool and the experience beside it."""
    thinned = len(kinds_of(config[ScorerConfig].thinned))
    labeled = labeled_pools(inputs.__getitem__, folds, thinned=thinned > 0)
    asked = answered_pools(inputs.__getitem__, answered)
    left_out = excluded_features(config[EnsembleConfig], config[ScorerConfig])
    scorer, scored, rounds = train_scorer([*labeled, *asked], config[ScorerConfig], config[ComputeConfig], left_out)
    scored = scored[: len(labeled)]
    scorer.save(out)
    pools, numbers = [pool.pairs for pool in labeled], [pool.fold for pool in labeled]
    Experience.of_pools(pools, numbers, scorer.first.importance()).save(out)
    files = [file for name, _, _ in folds for file in score_files(name, thinned)]
    for file, pairs in zip(files, scored, strict=True):
        pairs.save(out / file)
    write_json(out / "importance.json", {name: model.importance() for name, model in scorer.models().items()})
    true = sum(int(same_product(pool.pairs.left, pool.pairs.right, pool.codes).sum()) for pool in labeled)
    counted = [int(pool.counted.sum()) for pool in asked if pool.counted is not None]
    answers = {"answers": sum(counted)} if counted else {}
    return {"pairs": sum(map(len, scored)), "true": true, **answers, "rounds": " and ".join(map(str, rounds))}


def load_scored_folds(scorer: Path, pools: Sequence[Path]) -> list[ScoredPool]:
    """Return the out-of-fold scores of fold pools with the copies of their listings, each with label codes.

    Args:
        scorer: Folder of the stage `SCORER`.
        pools: Folders of the fold pools.
    """
    catalogs = [load_catalog(pool) for pool in pools]
    scored = [ScoredPairs.load(scorer / f"{pool.name}.parquet") for pool in pools]
    return [
        (pairs.with_copies(copy_of(catalog)), label_codes(catalog.labels))
        for pairs, catalog in zip(scored, catalogs, strict=True)
    ]


def load_scored_thinned(scorer: Path, pool: Path, thinned: Path) -> list[ScoredPool]:
    """Return the out-of-fold scores of the thinned pools of a fold, each with the label codes of its listings.

    Args:
        scorer: Folder of the stage `SCORER`.
        pool: Folder of the fold pool.
        thinned: Folder of the stage that thinned it.
    """
    catalog, kept = load_catalog(pool), load_thinned_rows(thinned)
    codes = label_codes(catalog.labels)
    _, *files = score_files(pool.name, len(kept))
    return [
        (ScoredPairs.load(scorer / file).with_copies(copy_of(catalog.take(rows))), codes[rows])
        for file, rows in zip(files, kept, strict=True)
    ]


def decision_stage(folds: Sequence[Pool], names: Sequence[str], settings: Settings) -> Stage:
    """Return the stage that tunes the decision on the out-of-fold scores of all fold pools, whole and thinned.

    It reads the encoders for new catalogs only so that `match` can tell whether they are those it was tuned with.
    """
    thinned = _thinned_names(folds, settings)
    return Stage(
        DECISION,
        tune_on_folds,
        code=("ensemble.decision.tuning", "ensemble.thinning", "shared.catalog.copies", "shared.metrics.matching"),
        reads=(SCORER, *(pool.stage for pool in folds), *thinned, *new_catalog_encoders(names)),
        settings=(TuneConfig, ComputeConfig),
        parameters={"folds": {pool.name: pool.source for pool in folds}, "thinned": thinned},
    )


def tune_on_folds(
    inputs: Inputs, config: StageConfig, out: Path, folds: Mapping[str, str], thinned: Sequence[str]
) -> Mapping[str, Any]:
    """Tune the decision; keep the whole curve of every rule and the number of siblings beside it.

    Each fold pool has the catalog that it is from, pool → source.
    """
    scorer, folders = inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds]
    parts = [load_scored_thinned(scorer, folders[index], inputs[name]) for index, name in enumerate(thinned)]
    pools = load_scored_folds(scorer, folders)
    tuned = tune(pools, config[TuneConfig], config[ComputeConfig].seed, parts, [*folds.values()])
    tuned.decision.save(out / "decision.json")
    titles = [load_catalog(inputs[f"pools/{fold}"]).normalized_titles for fold in folds]
    siblings = count_siblings(pools, titles)
    write_json(out / "curves.json", tuned.to_json() | {"siblings": siblings})
    line = {} if siblings is None else {"siblings:": describe_siblings(siblings)}
    return summarize(tuned, config[TuneConfig]) | line


def load_decision(folder: Path) -> Decision:
    """Return the decision that the stage `DECISION` wrote."""
    return Decision.load(folder / "decision.json")
