"""All stages of a run, in the order of the data: what each reads, which settings it depends on, what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from branches import registry
from branches.stages import (
    branch_stages,
    candidates_stage_name,
    embeddings_stage_name,
    extra_stages,
    load_candidates,
    load_embeddings,
    new_catalog_encoders,
)
from ensemble.candidate_pairs import recall_by_branch, recall_by_rank, union
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.decision import Decision
from ensemble.decision.tuning import ScoredPool, summarize, tune
from ensemble.evaluation.holdout import evaluate_branch, evaluate_calibration, evaluate_matches
from ensemble.features.assemble import excluded_features, pair_features
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView, PoolViews
from ensemble.scorer.model import StackedScorer
from ensemble.scorer.training import train_scorer
from shared.artifacts import read_json, write_json
from shared.catalog.copies import copy_of
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import label_codes, same_product
from shared.pipeline.catalog_stages import catalog_stages, sources_of
from shared.pipeline.pools import CATALOG_POOL, HOLDOUT_POOL, Pool, all_pools, fold_pools, load_catalog, load_set_aside
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig
from shared.schema import CandidatePairs, PairFeatures, ScoredPairs

SCORER, DECISION, MATCHES, EVALUATION = "ensemble/scorer", "ensemble/decision", "matches", "ensemble/evaluation"


def candidates_name(pool: str) -> str:
    """Return the name of the stage with the candidate pairs of a pool."""
    return f"ensemble/candidates/{pool}"


def features_name(pool: str) -> str:
    """Return the name of the stage with the described pairs of a pool."""
    return f"ensemble/features/{pool}"


def scores_name(pool: str) -> str:
    """Return the name of the stage with the scored pairs of the holdout or the catalog."""
    return f"ensemble/scores/{pool}"


def run_graph(run: RunFolder, settings: Settings) -> Graph:
    """Return all stages of a run, from the user's data to matches and metrics.

    Raises:
        MatcherError: There is no such data or no such branch, or settings contradict each other.
    """
    names, sources = settings[EnsembleConfig].branches, sources_of(run, settings)
    if settings[TuneConfig].quantity_veto and "attributes" not in settings[EnsembleConfig].features:
        raise MatcherError("tune.quantity_veto compares the quantities in titles: add attributes to ensemble.features")
    for name in names:
        registry.get(name)
    stages = [*catalog_stages(run, settings, sources), *extra_stages(names, settings)]
    for name in names:
        stages += branch_stages(name, settings, has_test=sources.test is not None)
    return Graph([*stages, *ensemble_stages(settings)])


def ensemble_stages(settings: Settings) -> list[Stage]:
    """Return the stages from the branches' candidates to matches and metrics."""
    names, folds = settings[EnsembleConfig].branches, fold_pools(settings[SplitConfig].folds)
    pools = all_pools(settings[SplitConfig].folds)
    return [
        *(candidates_stage(pool, names) for pool in pools),
        *(features_stage(pool, names) for pool in pools),
        scorer_stage(folds),
        decision_stage(folds, names),
        *(scores_stage(pool) for pool in (HOLDOUT_POOL, CATALOG_POOL)),
        _matches_stage(),
        _evaluation_stage(folds, names),
    ]


# --- candidates and features -----------------------------------------------------------------------------------------


def candidates_stage(pool: Pool, names: Sequence[str]) -> Stage:
    """Return the stage that unites the candidates of some branches in a pool."""
    return Stage(
        candidates_name(pool.name),
        unite_candidates,
        code=("ensemble.candidate_pairs", "shared.catalog.copies", "shared.metrics.matching"),
        reads=(pool.stage, *(candidates_stage_name(name, pool) for name in names)),
        parameters={"pool": pool.name, "branches": list(names)},
    )


def unite_candidates(
    inputs: Inputs, config: StageConfig, out: Path, pool: str, branches: Sequence[str]
) -> Mapping[str, Any]:
    """Unite the branches' candidates of a pool, and say how many true pairs they hold where labels are known."""
    catalog = load_catalog(inputs[f"pools/{pool}"])
    proposals = {name: load_candidates(inputs[f"{name}/candidates/{pool}"]) for name in branches}
    pairs = union(proposals.values(), len(catalog))
    pairs.save(out / "pairs.parquet")
    if not any(label is not None for label in catalog.labels):
        return {"pairs": len(pairs)}
    codes, copies = label_codes(catalog.labels), copy_of(catalog)
    recalls = recall_by_branch(proposals, pairs, codes, copies)
    write_json(out / "recall.json", recalls | {"by_rank": recall_by_rank(proposals, codes, copies)})
    return {"pairs": len(pairs), "recall_of_true_pairs": recalls["union"]}


def features_stage(pool: Pool, names: Sequence[str]) -> Stage:
    """Return the stage that describes the candidate pairs of a pool."""
    views = [part(name, pool) for name in names for part in (embeddings_stage_name, candidates_stage_name)]
    return Stage(
        features_name(pool.name),
        describe_pairs,
        code=("ensemble.features.assemble",),
        reads=(pool.stage, candidates_name(pool.name), *views),
        settings=(EnsembleConfig,),
        parameters={"pool": pool.name},
    )


def describe_pairs(inputs: Inputs, config: StageConfig, out: Path, pool: str) -> Mapping[str, Any]:
    """Describe the candidate pairs of a pool by their features."""
    compute, ensemble = config[ComputeConfig], config[EnsembleConfig]
    views = {
        name: BranchView(
            load_embeddings(inputs[f"{name}/embeddings/{pool}"]), load_candidates(inputs[f"{name}/candidates/{pool}"])
        )
        for name in ensemble.branches
    }
    listings = PoolViews(load_catalog(inputs[f"pools/{pool}"]), views, compute.xp(), compute.cpu_threads)
    pairs = CandidatePairs.load(inputs[f"ensemble/candidates/{pool}"] / "pairs.parquet")
    described = pair_features(listings, pairs, ensemble.features)
    described.save(out / "pairs.parquet")
    return {"pairs": len(described), "features": described.features.shape[1]}


def load_features(folder: Path) -> PairFeatures:
    """Return the described pairs that a stage wrote into its folder."""
    return PairFeatures.load(folder / "pairs.parquet")


# --- scorer and decision ---------------------------------------------------------------------------------------------


def scorer_stage(folds: Sequence[Pool]) -> Stage:
    """Return the stage that trains the scorer on the fold pools."""
    return Stage(
        SCORER,
        train_on_folds,
        code=("ensemble.scorer.training", "ensemble.features.assemble", "shared.metrics.matching"),
        reads=(*(pool.stage for pool in folds), *(features_name(pool.name) for pool in folds)),
        settings=(ScorerConfig, EnsembleConfig, ComputeConfig),
        parameters={"folds": [pool.name for pool in folds]},
    )


def train_on_folds(inputs: Inputs, config: StageConfig, out: Path, folds: Sequence[str]) -> Mapping[str, Any]:
    """Train the scorer; keep the out-of-fold scores of every fold pool beside it."""
    labeled = [
        (load_features(inputs[f"ensemble/features/{fold}"]), label_codes(load_catalog(inputs[f"pools/{fold}"]).labels))
        for fold in folds
    ]
    left_out = excluded_features(config[EnsembleConfig], config[ScorerConfig])
    scorer, scored, rounds = train_scorer(labeled, config[ScorerConfig], config[ComputeConfig], left_out)
    scorer.save(out)
    for fold, pairs in zip(folds, scored, strict=True):
        pairs.save(out / f"{fold}.parquet")
    write_json(out / "importance.json", {name: model.importance() for name, model in scorer.models().items()})
    true = sum(int(same_product(pairs.left, pairs.right, codes).sum()) for pairs, codes in labeled)
    return {"pairs": sum(map(len, scored)), "true": true, "rounds": " and ".join(map(str, rounds))}


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


def decision_stage(folds: Sequence[Pool], names: Sequence[str]) -> Stage:
    """Return the stage that tunes the decision on the out-of-fold scores.

    It reads the encoders for new catalogs only so that `match` can tell whether they are those it was tuned with.
    """
    return Stage(
        DECISION,
        tune_on_folds,
        code=("ensemble.decision.tuning", "shared.catalog.copies", "shared.metrics.matching"),
        reads=(SCORER, *(pool.stage for pool in folds), *new_catalog_encoders(names)),
        settings=(TuneConfig, ComputeConfig),
        parameters={"folds": [pool.name for pool in folds]},
    )


def tune_on_folds(inputs: Inputs, config: StageConfig, out: Path, folds: Sequence[str]) -> Mapping[str, Any]:
    """Tune the decision; keep the whole curve of every rule beside it."""
    pools = load_scored_folds(inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds])
    tuned = tune(pools, config[TuneConfig], config[ComputeConfig].seed)
    tuned.decision.save(out / "decision.json")
    write_json(out / "curves.json", tuned.to_json())
    return summarize(tuned, config[TuneConfig])


# --- scores, matches and metrics -------------------------------------------------------------------------------------


def scores_stage(pool: Pool) -> Stage:
    """Return the stage that scores the pairs of the holdout or the catalog."""
    return Stage(
        scores_name(pool.name),
        score_pairs,
        code=("ensemble.scorer.model",),
        reads=(SCORER, features_name(pool.name)),
        parameters={"features": features_name(pool.name)},
    )


def score_pairs(inputs: Inputs, config: StageConfig, out: Path, features: str) -> Mapping[str, Any]:
    """Score the described pairs of a pool."""
    compute = config[ComputeConfig]
    scorer = StackedScorer.load(inputs["ensemble/scorer"])
    scored = scorer.score(load_features(inputs[features]), compute.xp(), compute.cpu_threads)
    scored.save(out / "pairs.parquet")
    return {"pairs": len(scored)}


def load_scores(folder: Path) -> ScoredPairs:
    """Return the scored pairs that a stage wrote into its folder."""
    return ScoredPairs.load(folder / "pairs.parquet")


def load_decision(folder: Path) -> Decision:
    """Return the decision that the stage `DECISION` wrote."""
    return Decision.load(folder / "decision.json")


def _matches_stage() -> Stage:
    return Stage(
        MATCHES,
        match_listings,
        code=("ensemble.match_result", "ensemble.decision.decision"),
        reads=(CATALOG_POOL.stage, DECISION, scores_name(CATALOG_POOL.name)),
    )


def match_listings(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    """Decide the matches of the run's catalog, and write them."""
    decision = load_decision(inputs["ensemble/decision"])
    catalog, scored = load_catalog(inputs["pools/catalog"]), load_scores(inputs["ensemble/scores/catalog"])
    result = MatchResult.from_scores(decision, catalog, scored, load_set_aside(inputs["pools/catalog"]))
    result.save(out)
    return result.summary() | result.set_aside.metrics


def _evaluation_stage(folds: Sequence[Pool], names: Sequence[str]) -> Stage:
    measured = [*folds, HOLDOUT_POOL]
    return Stage(
        EVALUATION,
        evaluate_on_holdout,
        code=(
            "ensemble.evaluation.holdout",
            "ensemble.match_result",
            "shared.catalog.copies",
            "shared.metrics.matching",
        ),
        reads=(
            DECISION,
            SCORER,
            scores_name(HOLDOUT_POOL.name),
            candidates_name(HOLDOUT_POOL.name),
            *(pool.stage for pool in measured),
            *(candidates_stage_name(name, pool) for name in names for pool in measured),
        ),
        settings=(TuneConfig,),
        parameters={"folds": [pool.name for pool in folds], "branches": list(names)},
    )


def evaluate_on_holdout(
    inputs: Inputs, config: StageConfig, out: Path, folds: Sequence[str], branches: Sequence[str]
) -> Mapping[str, Any]:
    """Measure the ensemble and every branch alone on the holdout, and the out-of-fold scores as probabilities."""
    catalog = load_catalog(inputs["pools/holdout"])
    codes = label_codes(catalog.labels)
    decision = load_decision(inputs["ensemble/decision"])
    result = MatchResult.from_scores(decision, catalog, load_scores(inputs["ensemble/scores/holdout"]))
    holdout = evaluate_matches(result.match_rows, result.scored_pairs, codes)
    holdout["recall_by_rank"] = read_json(inputs["ensemble/candidates/holdout"] / "recall.json")["by_rank"]
    scored = load_scored_folds(inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds])
    fold_codes = [of_fold for _, of_fold in scored]
    alone = {
        name: evaluate_branch(
            [load_candidates(inputs[f"{name}/candidates/{fold}"]) for fold in folds],
            fold_codes,
            load_candidates(inputs[f"{name}/candidates/holdout"]),
            codes,
            config[TuneConfig],
            [pairs.copy_of for pairs, _ in scored],
            result.scored_pairs.copy_of,
        )
        for name in branches
    }
    write_json(
        out / "evaluation.json", {"holdout": holdout, "branches": alone, "calibration": evaluate_calibration(scored)}
    )
    return {"row_F1_on_the_holdout": holdout["row_f1"], "in_a_pool_of": holdout["pool_size"]}
