"""The stages after the decision: scores of the holdout and the catalog, matches, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from branches.pool_stages import load_candidates
from branches.stage_names import candidates_stage_name
from ensemble.answers.answers import Answers, summary
from ensemble.answers.file import answers_digest, read_answers
from ensemble.config import TuneConfig
from ensemble.evaluation.holdout import (
    branch_threshold,
    evaluate_branch,
    evaluate_calibration,
    evaluate_matches,
    mean_metrics,
)
from ensemble.features.files import described_files, read_blocks
from ensemble.match_result import MatchResult
from ensemble.pair_stages import candidates_name, features_name
from ensemble.scorer.blocks import FirstScores, rescore, score_blocks
from ensemble.scorer.experience import Experience, Unlikeness
from ensemble.scorer.model import StackedScorer
from ensemble.training_stages import DECISION, SCORER, load_decision, load_scored_folds
from shared.artifacts import read_json, reading, write_json
from shared.catalog.config import Duplicates
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.pools import (
    Pool,
    catalog_pool,
    holdout_pool,
    load_catalog,
    load_set_aside,
)
from shared.pipeline.stage import Inputs, Shards, Stage, StageConfig
from shared.schema import ScoredPairs

MATCHES, EVALUATION = "matches", "ensemble/evaluation"


def scores_name(pool: str) -> str:
    """Return the name of the stage with the scored pairs of the holdout or the catalog."""
    return f"ensemble/scores/{pool}"


def scores_stage(pool: Pool) -> Stage:
    """Return the stage that scores the pairs of the holdout or the catalog."""
    return Stage(
        scores_name(pool.name),
        score_pairs,
        code=("ensemble.scorer.blocks", "ensemble.features.files"),
        reads=(SCORER, features_name(pool.name)),
        parameters={"features": features_name(pool.name)},
        shards=SCORE_SHARDS,
    )


def score_pairs(inputs: Inputs, config: StageConfig, out: Path, features: str) -> Mapping[str, Any]:
    """Score the described pairs of a pool, and compare them with those of the training."""
    compute = config[ComputeConfig]
    scorer, experience = StackedScorer.load(inputs["ensemble/scorer"]), Experience.load(inputs["ensemble/scorer"])
    blocks = read_blocks(inputs[features])
    scored, unlikeness = score_blocks(blocks, scorer, experience, compute.xp(), compute.cpu_threads)
    scored.save(out / "pairs.parquet")
    write_json(out / "unlikeness.json", unlikeness.to_json())
    return {"pairs": len(scored)}


def plan_files(inputs: Inputs, config: StageConfig, features: str) -> Sequence[Any]:
    """Return the names of the files with the described pairs of a pool."""
    return [file.name for file in described_files(inputs[features])]


def open_scorer(inputs: Inputs, config: StageConfig, features: str) -> Callable[[str, Path], object]:
    """Load the scorer; return the function that gives the pairs of a file their first scores."""
    scorer, folder, threads = StackedScorer.load(inputs["ensemble/scorer"]), inputs[features], config[ComputeConfig]

    def score(name: str, out: Path) -> None:
        FirstScores.of_blocks(read_blocks(folder, name), scorer, threads.cpu_threads).save(out)

    return score


def join_scores(
    inputs: Inputs, config: StageConfig, out: Path, shards: Sequence[Path], features: str
) -> Mapping[str, Any]:
    """Score all pairs of a pool by the first scores around them, and compare them with those of the training."""
    compute = config[ComputeConfig]
    scorer, experience = StackedScorer.load(inputs["ensemble/scorer"]), Experience.load(inputs["ensemble/scorer"])
    first = FirstScores.concat([FirstScores.load(shard) for shard in shards])
    scored, unlikeness = rescore(first, scorer, experience, compute.xp(), compute.cpu_threads)
    scored.save(out / "pairs.parquet")
    write_json(out / "unlikeness.json", unlikeness.to_json())
    return {"pairs": len(scored)}


SCORE_SHARDS = Shards(plan_files, open_scorer, join_scores)


def load_scores(folder: Path) -> ScoredPairs:
    """Return the scored pairs that a stage wrote into its folder."""
    return ScoredPairs.load(folder / "pairs.parquet")


def load_unlikeness(folder: Path) -> Unlikeness | None:
    """Return how far a pool is from the training, from the folder of the stage that scored it; None without one."""
    path = folder / "unlikeness.json"
    with reading(path):
        return Unlikeness.from_json(read_json(path)) if path.exists() else None


def matches_stage(
    originals: Mapping[str, str], duplicates: Duplicates, decision: str = DECISION, answers: Path | None = None
) -> Stage:
    """Return the stage that decides the matches of each catalog of a run.

    Args:
        originals: Name of each catalog → name of the stage with its listings as they were read.
        duplicates: What the user knows of them.
        decision: Name of the stage that wrote the decision.
        answers: File of people's answers; None: there is none.
    """
    pools = [catalog_pool(source) for source in originals]
    read = {} if answers is None else originals
    return Stage(
        MATCHES,
        match_pools,
        code=("ensemble.match_result", "ensemble.decision.decision", "ensemble.answers.file"),
        reads=tuple(
            dict.fromkeys(
                [*(pool.stage for pool in pools), decision, *(scores_name(pool.name) for pool in pools), *read.values()]
            )
        ),
        parameters={
            "pools": {pool.source: pool.name for pool in pools},
            "duplicates": duplicates,
            "decision": decision,
            "has_expectation": decision == DECISION,  # of labels, whose scores are probabilities
            "answers": None if answers is None else str(answers),
            **({"originals": dict(read)} if read else {}),
        },
        sources=partial(answers_digest, answers),
    )


def match_pools(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    pools: Mapping[str, str],
    duplicates: Duplicates,
    decision: str,
    has_expectation: bool,
    answers: str | None,
    originals: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, Any]:
    """Decide the matches of each catalog of the run alone, source → pool, by scores and answers, and write them.

    Those of a run of several catalogs are in one folder for each. Answers are about listings as they were read
    (`originals`, source → stage), and about the pool, where evidence was set aside.
    """
    rule, results = load_decision(inputs[decision]), list[MatchResult]()
    given = Answers() if answers is None else read_answers(Path(answers))
    for source, pool in pools.items():
        catalog, scores = load_catalog(inputs[f"pools/{pool}"]), inputs[f"ensemble/scores/{pool}"]
        report, unlikeness = load_set_aside(inputs[f"pools/{pool}"]), load_unlikeness(scores)
        holding = given.on(catalog, *(load_catalog(inputs[stage]) for stage in [originals.get(source)] if stage))
        decided = rule, catalog, load_scores(scores), report, duplicates, unlikeness, holding.pins
        result = replace(MatchResult.from_scores(*decided), answers=holding, has_expectation=has_expectation)
        (out / source).mkdir(exist_ok=True)
        result.save(out / source)
        results.append(result)
    answered = summary([result.answers for result in results if result.answers is not None])
    if len(results) == 1:
        return results[0].summary() | answered | results[0].set_aside.metrics | results[0].unlike_metrics
    summaries = [result.summary() for result in results]
    names = dict.fromkeys(name for summary in summaries for name in summary)
    totals = {name: sum(summary.get(name, 0) for summary in summaries) for name in names}
    totals["largest_group"] = max(summary["largest_group"] for summary in summaries)
    of_catalogs = zip(pools, (result.set_aside.metrics | result.unlike_metrics for result in results), strict=True)
    return (
        totals
        | answered
        | {f"{source}: {name}": value for source, doubts in of_catalogs for name, value in doubts.items()}
    )


def evaluation_stage(folds: Sequence[Pool], names: Sequence[str], sources: Sequence[str]) -> Stage:
    """Return the stage that measures a run on its holdouts."""
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
        },
    )


def evaluate_on_holdout(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    folds: Sequence[str],
    branches: Sequence[str],
    holdouts: Mapping[str, str],
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
        result = MatchResult.from_scores(decision, catalog, scores)
        holdout = evaluate_matches(result.match_rows, result.scored_pairs, codes)
        holdout |= {"threshold": result.threshold, "threshold_raised": result.is_unlike}
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
