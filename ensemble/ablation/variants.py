"""The systems that an ablation compares: baselines, decision rules, and the scorer with one part left out.

A system is a way to score a pool's candidate pairs and a change of the settings. How a baseline scores is here; all
else is done by the stages of a run, and the decision is tuned and applied as in a run whatever the scores are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from branches import registry
from branches.stages import candidates_stage_name, load_candidates
from ensemble.candidate_pairs import union
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.decision import Decision
from ensemble.decision.tuning import best_threshold, tune
from ensemble.evaluation.holdout import evaluate_matches, similarity_as_score
from ensemble.features.assemble import FAMILIES
from ensemble.stages import SCORER, features_name, load_features, load_scored_folds, load_scores, scores_name
from shared.artifacts import write_json
from shared.catalog.split import SplitConfig
from shared.metrics.matching import label_codes, row_scores
from shared.pipeline.pools import HOLDOUT_POOL, fold_pools, load_catalog
from shared.pipeline.settings import Settings, Values
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import CandidatePairs, Candidates, Floats, PairFeatures, ScoredPairs, locate

FULL = "the whole system"
# A baseline is tuned in the plainest way, whatever the run's decision is tuned for.
SIMPLY = {"resamples": 2, "prior_shift": 0, "smoothing": 0}
PLAIN = TuneConfig().model_dump(mode="json", exclude={"thresholds", "max_matches"}) | SIMPLY
ONE_THRESHOLD = {"tune": PLAIN | {"rules": ["threshold"]}}
SWEEPS = 5  # times that the threshold of every branch is tuned with those of the others fixed


@dataclass(frozen=True)
class Material:
    """What a system may score by: a pool per entry, the fold pools first, then the half to be judged.

    Args:
        scores: The scorer's scores, out of fold in the fold pools.
        features: The described pairs.
        candidates: Branch → its candidates of each pool.
        codes: Label codes of the fold pools' listings.
        tuning: Section `tune`.
    """

    scores: list[ScoredPairs]
    features: list[PairFeatures]
    candidates: Mapping[str, list[Candidates]]
    codes: list[NDArray[np.integer]]
    tuning: TuneConfig


By = Literal["scorer", "similarity", "mean", "any"]  # how pairs are scored, see `SCORES`


@dataclass(frozen=True)
class System:
    """One row of the table.

    Args:
        name: What it is called.
        by: How its pairs are scored.
        changes: The settings in which it differs from the run's.
        branches: The branches that it scores by, where it scores by their similarities.
    """

    name: str
    by: By = "scorer"
    changes: Values = field(default_factory=dict)
    branches: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where its stages are."""
        return re.sub(r"\W+", "-", self.name)


# --- how pairs are scored --------------------------------------------------------------------------------------------


def by_scorer(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Score by the scorer, out of fold in the fold pools."""
    return material.scores


def by_similarity(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Score the candidates of the one branch by their similarity."""
    return [similarity_as_score(candidates) for candidates in material.candidates[branches[0]]]


def by_mean(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Score all candidates by the mean cosine of the branches that know both listings."""
    return [_scored(p, np.nan_to_num(p.features["all_cosine"].to_numpy())) for p in material.features]


def by_any(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Score pairs that any of some branches proposes, each at a threshold of its own.

    The thresholds are tuned on the fold pools: one at a time with the others fixed, until no row F1 is gained. Scores
    are such that .5 stands for a branch's threshold; a pair has the best one of any branch.
    """
    views = list(zip(*(material.candidates[name] for name in branches), strict=True))
    pairs = [union(candidates, candidates[0].n) for candidates in views]
    similarity = [np.stack([_spread(p, c) for c in candidates]) for p, candidates in zip(pairs, views, strict=True)]
    thresholds = any_thresholds([*zip(pairs, similarity, material.codes, strict=False)], material.tuning)
    return [_scored(p, best_scaled(s, thresholds)) for p, s in zip(pairs, similarity, strict=True)]


SCORES: Mapping[By, Callable[[Material, Sequence[str]], list[ScoredPairs]]] = {
    "scorer": by_scorer,
    "similarity": by_similarity,
    "mean": by_mean,
    "any": by_any,
}


def any_thresholds(
    pools: Sequence[tuple[CandidatePairs, Floats, NDArray[np.integer]]], tuning: TuneConfig
) -> NDArray[np.float64]:
    """The thresholds of branches that are united, float64 [branches].

    Args:
        pools: Of each fold pool the pairs, their similarities [branches, p] in [0, 1], and label codes.
        tuning: Section `tune`.
    """
    thresholds = np.full(len(pools[0][1]), 2.0)  # no similarity reaches it: every branch begins without a match
    best = -1.0
    for _ in range(SWEEPS):
        before = best
        for at in range(len(thresholds)):
            others = np.delete(np.arange(len(thresholds)), at)
            found = [(s[others] >= thresholds[others, None]).any(axis=0) for _, s, _ in pools]
            scored = [_scored(p, np.where(f, 1, s[at])) for (p, s, _), f in zip(pools, found, strict=True)]
            labeled = [(p, codes) for p, (_, _, codes) in zip(scored, pools, strict=True)]
            tuned = best_threshold(labeled, "threshold", count=tuning.thresholds, max_matches=tuning.max_matches)
            if tuned.row_f1 > best:
                best, thresholds[at] = tuned.row_f1, tuned.threshold
        if best <= before:
            break
    return thresholds


def best_scaled(similarity: Floats, thresholds: NDArray[np.float64]) -> Floats:
    """The best of any branch, .5 where it is at its threshold, float32 [p] in [0, 1].

    Args:
        similarity: float32 [branches, p] in [0, 1].
        thresholds: float64 [branches], none of them 0 or 1.
    """
    t = thresholds[:, None]
    above = 0.5 + 0.5 * (similarity - t) / (1 - t)
    scaled: Floats = np.where(similarity >= t, above, 0.5 * similarity / t).max(axis=0).astype(np.float32)
    return scaled


def _spread(pairs: CandidatePairs, found: Candidates) -> Floats:
    """A branch's similarity of each pair, float32 [p]; 0 where it did not propose it."""
    at, known = locate(pairs.key, found.key)
    out = np.zeros(len(pairs), dtype=np.float32)
    out[known] = np.clip(found.similarity, 0, 1)[at[known]]
    return out


def _scored(pairs: CandidatePairs, score: NDArray[Any]) -> ScoredPairs:
    return ScoredPairs.of(pairs, np.clip(score, 0, 1).astype(np.float32))


def systems(settings: Settings) -> dict[str, System]:
    """Return every row of the table by name, the whole system first."""
    names, scorer = settings[EnsembleConfig].branches, settings[ScorerConfig]
    rows = [System(FULL)]
    rows += [System(f"{name} alone", "similarity", ONE_THRESHOLD, (name,)) for name in names]
    unlearned = tuple(name for name in names if not registry.get(name).learns)
    united = [group for group in dict.fromkeys((unlearned, tuple(names))) if len(group) > 1]
    rows += [System(" or ".join(group), "any", ONE_THRESHOLD, group) for group in united]
    rows += [System("mean cosine", "mean", ONE_THRESHOLD)]
    tuning = settings[TuneConfig]
    rows += [System(f"scorer, {rule}", changes={"tune": {"rules": [rule]}}) for rule in tuning.rules]
    if tuning.prior_shift and tuning.pool_size is None:
        rows += [System("threshold as tuned", changes={"tune": {"prior_shift": 0}})]
    if tuning.smoothing:
        rows += [System("the highest point of the curve", changes={"tune": {"smoothing": 0}})]
    if not tuning.quantity_veto:
        rows += [System("with the quantity veto", changes={"tune": {"quantity_veto": True}})]
    for name in names if len(names) > 1 else []:
        rest = [other for other in names if other != name]
        rows.append(System(f"without {name}", changes={"ensemble": {"branches": rest}}))
    used = settings[EnsembleConfig].features
    for family in used if len(used) > 1 else []:
        left_out = {"exclude_features": [*scorer.exclude_features, family]}
        rows.append(System(f"without the features of {family}", changes={"scorer": left_out}))
    for family in [family for family in FAMILIES if family not in used]:
        more = {"features": [*used, family]}
        rows.append(System(f"with the features of {family}", changes={"ensemble": more}))
    rows.append(System("without the second model", changes={"scorer": {"models": 1}}))
    rows.append(System("without row weights", changes={"scorer": {"group_size_power": 0}}))
    return {row.name: row for row in rows}


# --- the decision -----------------------------------------------------------------------------------------------------


def judge_stage(settings: Settings, system: System) -> Stage:
    """Return the stage that tunes a system's decision on the fold pools, and decides on the half to be judged."""
    names, folds = settings[EnsembleConfig].branches, fold_pools(settings[SplitConfig].folds)
    pools = [*folds, HOLDOUT_POOL]
    views = [candidates_stage_name(name, pool) for name in names for pool in pools]
    features = [features_name(pool.name) for pool in pools]
    return Stage(
        "judged",
        judge_system,
        code=("ensemble.ablation.variants",),
        reads=(SCORER, scores_name(HOLDOUT_POOL.name), *(pool.stage for pool in pools), *features, *views),
        settings=(TuneConfig, EnsembleConfig, ScorerConfig),
        parameters={"by": system.by, "branches": list(system.branches), "folds": [pool.name for pool in folds]},
    )


def judge_system(
    inputs: Inputs, config: StageConfig, out: Path, by: By, branches: Sequence[str], folds: Sequence[str]
) -> Mapping[str, Any]:
    """Tune the decision of a system, decide by it, and measure what came of it."""
    tuning, pools = config[TuneConfig], [*folds, HOLDOUT_POOL.name]
    catalog = load_catalog(inputs["pools/holdout"])
    scored = load_scored_folds(inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds])
    material = Material(
        [*(pairs for pairs, _ in scored), load_scores(inputs["ensemble/scores/holdout"])],
        [load_features(inputs[f"ensemble/features/{pool}"]) for pool in pools],
        {
            name: [load_candidates(inputs[f"{name}/candidates/{pool}"]) for pool in pools]
            for name in config[EnsembleConfig].branches
        },
        [codes for _, codes in scored],
        tuning,
    )
    *of_folds, pairs = SCORES[by](material, branches)
    decision = tune([*zip(of_folds, material.codes, strict=True)], tuning).decision
    codes = label_codes(catalog.labels)
    matches = decision.apply(pairs, catalog.ids)
    metrics = evaluate_matches(matches, pairs, codes)
    metrics |= {"rule": decision.rule, "threshold": decision.threshold_for(pairs.n)}
    metrics["at_best"] = max(metrics["row_f1"], _best(decision, pairs, codes, tuning))
    write_json(out / "metrics.json", metrics)
    columns = {"posting_id": pa.array(catalog.ids, pa.string()), "row_f1": row_scores(matches, codes)[:, 2]}
    pq.write_table(pa.table(columns), out / "row_f1.parquet")
    return {"row_F1": metrics["row_f1"], "in_a_pool_of": metrics["pool_size"]}


def _best(decision: Decision, pairs: ScoredPairs, codes: NDArray[np.integer], tuning: TuneConfig) -> float:
    """Return the row F1 of the decision's rule at the best threshold on the very pairs that are judged."""
    most, veto = decision.max_matches, decision.quantity_veto
    best = best_threshold(
        [(pairs, codes)], decision.rule, count=tuning.thresholds, max_matches=most, quantity_veto=veto
    )
    return best.row_f1
