"""All stages of a run, in the order of the data: what each reads, which settings it depends on, what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from ensemble.decision.siblings import count_siblings, describe_siblings
from ensemble.decision.tuning import ScoredPool, summarize, tune
from ensemble.evaluation.holdout import (
    branch_threshold,
    evaluate_branch,
    evaluate_calibration,
    evaluate_matches,
    mean_metrics,
)
from ensemble.features.assemble import excluded_features, pair_features
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView, PoolViews
from ensemble.scorer.experience import Experience, Unlikeness
from ensemble.scorer.model import StackedScorer
from ensemble.scorer.training import LabeledPool, train_scorer
from ensemble.thinned_pools import load_thinned_pairs, load_thinned_rows, thinned_name, thinned_stage
from ensemble.thinning import score_files
from shared.artifacts import read_json, write_json
from shared.catalog.config import DataConfig, Known
from shared.catalog.copies import copy_of
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import label_codes, same_product
from shared.pipeline.catalog_stages import catalog_stages, sources_of
from shared.pipeline.pools import (
    Pool,
    all_pools,
    catalog_pool,
    fold_pools,
    holdout_pool,
    load_catalog,
    load_set_aside,
)
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
    if settings[TuneConfig].forbidden and "attributes" not in settings[EnsembleConfig].features:
        raise MatcherError("tune.forbid compares the attributes in titles: add attributes to ensemble.features")
    for name in names:
        registry.get(name)
    stages = [*catalog_stages(run, settings, sources), *extra_stages(names, settings)]
    for name in names:
        stages += branch_stages(name, settings, with_test=[each.name for each in sources if each.test is not None])
    return Graph([*stages, *ensemble_stages(settings)])


def ensemble_stages(settings: Settings) -> list[Stage]:
    """Return the stages from the branches' candidates to matches and metrics."""
    names, sources = settings[EnsembleConfig].branches, settings[DataConfig].sources
    folds, pools = fold_pools(settings[SplitConfig].folds, sources), all_pools(settings[SplitConfig].folds, sources)
    return [
        *(candidates_stage(pool, names) for pool in pools),
        *(features_stage(pool, names) for pool in pools),
        *thinned_stages(folds, settings),
        scorer_stage(folds, settings),
        decision_stage(folds, names, settings),
        *(scores_stage(pool) for pool in (*map(holdout_pool, sources), *map(catalog_pool, sources))),
        _matches_stage(sources, settings[DataConfig].known),
        _evaluation_stage(folds, names, sources, settings[DataConfig].known),
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


def thinned_stages(folds: Sequence[Pool], settings: Settings) -> list[Stage]:
    """Return the stages with the pools thinned from the fold pools; none where the settings ask for none."""
    shares, seed = settings[ScorerConfig].thinned, settings[ComputeConfig].seed
    names = settings[EnsembleConfig].branches
    return [thinned_stage(pool, names, shares, seed) for pool in folds] if shares else []


def _thinned_names(folds: Sequence[Pool], settings: Settings) -> list[str]:
    return [thinned_name(pool.name) for pool in folds] if settings[ScorerConfig].thinned else []


def scorer_stage(folds: Sequence[Pool], settings: Settings) -> Stage:
    """Return the stage that trains the scorer on the fold pools and on those thinned from them."""
    return Stage(
        SCORER,
        train_on_folds,
        code=(
            "ensemble.scorer.training",
            "ensemble.scorer.experience",
            "ensemble.features.assemble",
            "ensemble.thinning",
            "shared.metrics.matching",
        ),
        reads=(
            *(pool.stage for pool in folds),
            *(features_name(pool.name) for pool in folds),
            *_thinned_names(folds, settings),
        ),
        settings=(ScorerConfig, EnsembleConfig, ComputeConfig),
        parameters={"folds": [(pool.name, pool.fold, pool.source) for pool in folds]},
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


def train_on_folds(
    inputs: Inputs, config: StageConfig, out: Path, folds: Sequence[tuple[str, int, str]]
) -> Mapping[str, Any]:
    """Train the scorer; keep the out-of-fold scores of every pool and the experience beside it."""
    thinned = len(config[ScorerConfig].thinned)
    labeled = labeled_pools(inputs.__getitem__, folds, thinned=thinned > 0)
    left_out = excluded_features(config[EnsembleConfig], config[ScorerConfig])
    scorer, scored, rounds = train_scorer(labeled, config[ScorerConfig], config[ComputeConfig], left_out)
    scorer.save(out)
    pools, numbers = [pool.pairs for pool in labeled], [pool.fold for pool in labeled]
    Experience.of_pools(pools, numbers, scorer.first.importance()).save(out)
    files = [file for name, _, _ in folds for file in score_files(name, thinned)]
    for file, pairs in zip(files, scored, strict=True):
        pairs.save(out / file)
    write_json(out / "importance.json", {name: model.importance() for name, model in scorer.models().items()})
    true = sum(int(same_product(pool.pairs.left, pool.pairs.right, pool.codes).sum()) for pool in labeled)
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
        code=("ensemble.decision.tuning", "shared.catalog.copies", "shared.metrics.matching"),
        reads=(SCORER, *(pool.stage for pool in folds), *thinned, *new_catalog_encoders(names)),
        settings=(TuneConfig, ComputeConfig),
        parameters={"folds": [pool.name for pool in folds], "thinned": thinned},
    )


def tune_on_folds(
    inputs: Inputs, config: StageConfig, out: Path, folds: Sequence[str], thinned: Sequence[str]
) -> Mapping[str, Any]:
    """Tune the decision; keep the whole curve of every rule and the number of siblings beside it."""
    scorer, folders = inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds]
    parts = [load_scored_thinned(scorer, folders[index], inputs[name]) for index, name in enumerate(thinned)]
    pools = load_scored_folds(scorer, folders)
    tuned = tune(pools, config[TuneConfig], config[ComputeConfig].seed, parts)
    tuned.decision.save(out / "decision.json")
    titles = [load_catalog(inputs[f"pools/{fold}"]).normalized_titles for fold in folds]
    siblings = count_siblings(pools, titles)
    write_json(out / "curves.json", tuned.to_json() | {"siblings": siblings})
    line = {} if siblings is None else {"siblings:": describe_siblings(siblings)}
    return summarize(tuned, config[TuneConfig]) | line


# --- scores, matches and metrics -------------------------------------------------------------------------------------


def scores_stage(pool: Pool) -> Stage:
    """Return the stage that scores the pairs of the holdout or the catalog."""
    return Stage(
        scores_name(pool.name),
        score_pairs,
        code=("ensemble.scorer.model", "ensemble.scorer.experience"),
        reads=(SCORER, features_name(pool.name)),
        parameters={"features": features_name(pool.name)},
    )


def score_pairs(inputs: Inputs, config: StageConfig, out: Path, features: str) -> Mapping[str, Any]:
    """Score the described pairs of a pool, and compare them with those of the training."""
    compute = config[ComputeConfig]
    scorer, described = StackedScorer.load(inputs["ensemble/scorer"]), load_features(inputs[features])
    scored = scorer.score(described, compute.xp(), compute.cpu_threads)
    scored.save(out / "pairs.parquet")
    unlikeness = Experience.load(inputs["ensemble/scorer"]).compare(described, scorer.first.importance())
    write_json(out / "unlikeness.json", unlikeness.to_json())
    return {"pairs": len(scored)}


def load_scores(folder: Path) -> ScoredPairs:
    """Return the scored pairs that a stage wrote into its folder."""
    return ScoredPairs.load(folder / "pairs.parquet")


def load_unlikeness(folder: Path) -> Unlikeness:
    """Return how far a pool is from the training, from the folder of the stage that scored it."""
    return Unlikeness.from_json(read_json(folder / "unlikeness.json"))


def load_decision(folder: Path) -> Decision:
    """Return the decision that the stage `DECISION` wrote."""
    return Decision.load(folder / "decision.json")


def _matches_stage(sources: Sequence[str], known: Known) -> Stage:
    pools = [catalog_pool(source) for source in sources]
    several = {"pools": {pool.source: pool.name for pool in pools}} if len(sources) > 1 else {}
    return Stage(
        MATCHES,
        match_sources if several else match_listings,
        code=("ensemble.match_result", "ensemble.decision.decision"),
        reads=(*(pool.stage for pool in pools), DECISION, *(scores_name(pool.name) for pool in pools)),
        parameters={**several, "known": known},
    )


def match_listings(inputs: Inputs, config: StageConfig, out: Path, known: Known) -> Mapping[str, Any]:
    """Decide the matches of the run's catalog, and write them."""
    decision = load_decision(inputs["ensemble/decision"])
    result = _match_pool(inputs, decision, "catalog", known)
    result.save(out)
    return result.summary() | result.set_aside.metrics | result.unlike_metrics


def _match_pool(inputs: Inputs, decision: Decision, pool: str, known: Known) -> MatchResult:
    """Return the matches of a pool that was scored."""
    folder, scores = inputs[f"pools/{pool}"], inputs[f"ensemble/scores/{pool}"]
    catalog, scored, report = load_catalog(folder), load_scores(scores), load_set_aside(folder)
    return MatchResult.from_scores(decision, catalog, scored, report, known, load_unlikeness(scores))


def match_sources(
    inputs: Inputs, config: StageConfig, out: Path, pools: Mapping[str, str], known: Known
) -> Mapping[str, Any]:
    """Decide the matches of each catalog of the run alone, source → pool, and write them into a folder of its name."""
    decision, summaries, unlike = load_decision(inputs["ensemble/decision"]), [], []
    for source, pool in pools.items():
        result = _match_pool(inputs, decision, pool, known)
        (out / source).mkdir()
        result.save(out / source)
        summaries.append(result.summary())
        unlike += [source] if result.unlike_metrics else []
    totals = {name: sum(summary[name] for summary in summaries) for name in summaries[0]}
    told = {"unlike_the_training": ", ".join(unlike)} if unlike else {}
    return totals | {"largest_group": max(summary["largest_group"] for summary in summaries)} | told


def _evaluation_stage(folds: Sequence[Pool], names: Sequence[str], sources: Sequence[str], known: Known) -> Stage:
    holdouts = [holdout_pool(source) for source in sources]
    measured = [*folds, *holdouts]
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
            *(scores_name(pool.name) for pool in holdouts),
            *(candidates_name(pool.name) for pool in holdouts),
            *(pool.stage for pool in measured),
            *(candidates_stage_name(name, pool) for name in names for pool in measured),
        ),
        settings=(TuneConfig,),
        parameters={
            "folds": [pool.name for pool in folds],
            "branches": list(names),
            "holdouts": {pool.source: pool.name for pool in holdouts},
            "known": known,
        },
    )


def evaluate_on_holdout(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    folds: Sequence[str],
    branches: Sequence[str],
    holdouts: Mapping[str, str],
    known: Known,
) -> Mapping[str, Any]:
    """Measure the ensemble and every branch alone on the holdout, and the out-of-fold scores as probabilities.

    Each holdout pool, source → pool, is measured alone; the metrics of a run with several are their means.
    """
    decision = load_decision(inputs["ensemble/decision"])
    scored = load_scored_folds(inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds])
    thresholds = {
        name: branch_threshold(
            [load_candidates(inputs[f"{name}/candidates/{fold}"]) for fold in folds],
            [codes for _, codes in scored],
            [pairs.copy_of for pairs, _ in scored],
            config[TuneConfig],
        )
        for name in branches
    }
    by_source: dict[str, Any] = {}
    for source, pool in holdouts.items():
        catalog = load_catalog(inputs[f"pools/{pool}"])
        codes = label_codes(catalog.labels)
        scores = load_scores(inputs[f"ensemble/scores/{pool}"])
        result = MatchResult.from_scores(decision, catalog, scores, known=known)
        holdout = evaluate_matches(result.match_rows, result.scored_pairs, codes)
        holdout["recall_by_rank"] = read_json(inputs[f"ensemble/candidates/{pool}"] / "recall.json")["by_rank"]
        proposed = {name: load_candidates(inputs[f"{name}/candidates/{pool}"]) for name in branches}
        copies = result.scored_pairs.copy_of
        alone = {
            name: evaluate_branch(proposed[name], codes, threshold, config[TuneConfig], copies)
            for name, threshold in thresholds.items()
        }
        by_source[source] = {"holdout": holdout, "branches": alone}
    of_run = mean_metrics(list(by_source.values()))
    several = {"by_source": by_source} if len(by_source) > 1 else {}
    write_json(out / "evaluation.json", {**of_run, **several, "calibration": evaluate_calibration(scored)})
    sizes = " and ".join(f"{of['holdout']['pool_size']:,}" for of in by_source.values())
    size = {"mean_over_pools_of": sizes} if several else {"in_a_pool_of": of_run["holdout"]["pool_size"]}
    return {"row_F1_on_the_holdout": of_run["holdout"]["row_f1"], **size}
