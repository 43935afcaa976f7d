"""The systems that an ablation compares: baselines, decision rules, and the scorer with one part left out.

A system is a way to score a pool's candidate pairs and a change of the settings. How a baseline scores is here; all
else is done by the stages of a run, and the decision is tuned and applied as in a run whatever the scores are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from branches import stages as branch
from ensemble.candidates import union
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.decision import Decision
from ensemble.decision.tuning import best_threshold, fold_codes, tune
from ensemble.evaluate import metrics_of_matches, similarity_as_score
from ensemble.features import FAMILIES, load_features
from ensemble.score import load_scores
from ensemble.scorer.training import load_fold_scores
from shared.metrics.matching import label_codes, row_scores
from shared.pipeline.pools import HOLDOUT_POOL, fold_pools, pool_catalog
from shared.pipeline.run import Run, write_json
from shared.pipeline.settings import Settings, Values
from shared.schema import CandidatePairs, Candidates, Floats, ScoredPairs, locate

FULL = "the whole system"
# A baseline is tuned in the plainest way, whatever the run's decision is tuned for.
SIMPLY = {"resamples": 2, "prior_shift": 0, "smoothing": 0}
PLAIN = TuneConfig().model_dump(mode="json", exclude={"thresholds", "max_matches"}) | SIMPLY
ONE_THRESHOLD = {"tune": PLAIN | {"rules": ["threshold"]}}
SWEEPS = 5  # times that the threshold of every branch is tuned with those of the others fixed

Score = Callable[
    [Run, Settings], list[ScoredPairs]
]  # the scored pairs of the fold pools, then of the half to be judged


@dataclass(frozen=True)
class System:
    """One row of the table.

    Args:
        name: What it is called.
        score: How its pairs are scored.
        changes: The settings in which it differs from the run's.
    """

    name: str
    score: Score
    changes: Values = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where its stages are."""
        return re.sub(r"\W+", "-", self.name)


# --- how pairs are scored --------------------------------------------------------------------------------------------


def by_scorer(run: Run, settings: Settings) -> list[ScoredPairs]:
    """By the scorer, out of fold in the fold pools."""
    return [*(load_fold_scores(run, pool) for pool in fold_pools(settings)), load_scores(run, HOLDOUT_POOL)]


def by_similarity(name: str, run: Run, settings: Settings) -> list[ScoredPairs]:
    """A branch's own candidates by their similarity."""
    return [similarity_as_score(run, name, pool) for pool in (*fold_pools(settings), HOLDOUT_POOL)]


def by_mean(run: Run, settings: Settings) -> list[ScoredPairs]:
    """All candidates by the mean cosine of the branches that know both listings."""
    pools = [load_features(run, pool) for pool in (*fold_pools(settings), HOLDOUT_POOL)]
    return [_scored(p, np.nan_to_num(p.features["all_cosine"].to_numpy())) for p in pools]


def by_any(names: Sequence[str], run: Run, settings: Settings) -> list[ScoredPairs]:
    """Pairs that any of the branches finds, each at a threshold of its own.

    The thresholds are tuned on the fold pools: one at a time with the others fixed, until no row F1 is gained. Scores
    are such that .5 stands for a branch's threshold; a pair has the best one of any branch.
    """
    pools = (*fold_pools(settings), HOLDOUT_POOL)
    views = [[branch.load_candidates(run, name, pool) for name in names] for pool in pools]
    pairs = [union(found, found[0].n) for found in views]
    similarity = [np.stack([_spread(p, c) for c in found]) for p, found in zip(pairs, views, strict=True)]
    codes = fold_codes(run, settings)
    thresholds = any_thresholds([*zip(pairs, similarity, codes, strict=False)], settings[TuneConfig])
    return [_scored(p, best_scaled(s, thresholds)) for p, s in zip(pairs, similarity, strict=True)]


def any_thresholds(
    pools: Sequence[tuple[CandidatePairs, Floats, NDArray[np.integer]]], tuning: TuneConfig
) -> NDArray[np.float64]:
    """The thresholds of branches that are united, float64 [branches].

    Args:
        pools: Of each fold pool the pairs, their similarities [branches, p] in [0, 1], and label codes.
        tuning: ConfigSection `tune`.
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
    """Every row of the table by name, the whole system first."""
    names, scorer = settings[EnsembleConfig].branches, settings[ScorerConfig]
    found = [System(FULL, by_scorer)]
    found += [System(f"{name} alone", partial(by_similarity, name), ONE_THRESHOLD) for name in names]
    unlearned = tuple(name for name in names if not branch.learns(name))
    united = [group for group in dict.fromkeys((unlearned, tuple(names))) if len(group) > 1]
    found += [System(" or ".join(group), partial(by_any, group), ONE_THRESHOLD) for group in united]
    found += [System("mean cosine", by_mean, ONE_THRESHOLD)]
    found += [System(f"scorer, {rule}", by_scorer, {"tune": {"rules": [rule]}}) for rule in settings[TuneConfig].rules]
    if settings[TuneConfig].prior_shift and settings[TuneConfig].pool_size is None:
        found += [System("threshold as tuned", by_scorer, {"tune": {"prior_shift": 0}})]
    if settings[TuneConfig].smoothing:
        found += [System("the highest point of the curve", by_scorer, {"tune": {"smoothing": 0}})]
    if not settings[TuneConfig].quantity_veto:
        found += [System("with the quantity veto", by_scorer, {"tune": {"quantity_veto": True}})]
    for name in names if len(names) > 1 else []:
        rest = [other for other in names if other != name]
        found.append(System(f"without {name}", by_scorer, {"ensemble": {"branches": rest}}))
    used = settings[EnsembleConfig].features
    for family in used if len(used) > 1 else []:
        left_out = {"exclude_features": [*scorer.exclude_features, family]}
        found.append(System(f"without the features of {family}", by_scorer, {"scorer": left_out}))
    for family in [family for family in FAMILIES if family not in used]:
        more = {"features": [*used, family]}
        found.append(System(f"with the features of {family}", by_scorer, {"ensemble": more}))
    found.append(System("without the second model", by_scorer, {"scorer": {"models": 1}}))
    found.append(System("without row weights", by_scorer, {"scorer": {"group_size_power": 0}}))
    return {system.name: system for system in found}


# --- the decision -----------------------------------------------------------------------------------------------------


def judge_stage(run: Run, settings: Settings, system: System) -> Path:
    """Tune a system's decision on the fold pools, and decide on the half to be judged."""

    def work(out: Path) -> dict[str, Any]:
        *folds, pairs = system.score(run, settings)
        decision = tune([*zip(folds, fold_codes(run, settings), strict=True)], settings[TuneConfig]).decision
        catalog = pool_catalog(run, settings, HOLDOUT_POOL)
        codes = label_codes(catalog.labels)
        matches = decision.apply(pairs, catalog.ids)
        figures = metrics_of_matches(matches, pairs, codes)
        figures |= {"rule": decision.rule, "threshold": decision.threshold_for(pairs.n)}
        figures["at_best"] = max(figures["row_f1"], _best(decision, pairs, codes, settings[TuneConfig]))
        write_json(out / "figures.json", figures)
        columns = {"posting_id": pa.array(catalog.ids, pa.string()), "row_f1": row_scores(matches, codes)[:, 2]}
        pq.write_table(pa.table(columns), out / "row_f1.parquet")
        return {"row F1": figures["row_f1"], "in a pool of": figures["pool_size"]}

    pools = [pool.name for pool in (*fold_pools(settings), HOLDOUT_POOL)]
    names = settings[EnsembleConfig].branches
    reads = ["split", "catalog/train", "ensemble/scorer", "ensemble/scores/holdout"]
    reads += [
        f"{stage}/{pool}" for stage in ("ensemble/features", *(f"{n}/candidates" for n in names)) for pool in pools
    ]
    keys = {"system": system.name, "tune": settings[TuneConfig].model_dump(mode="json")}
    return run.stage("judged", "ensemble.ablation.variants", {name: run.digest_of(name) for name in reads}, keys, work)


def _best(decision: Decision, pairs: ScoredPairs, codes: NDArray[np.integer], tuning: TuneConfig) -> float:
    """Return the row F1 of the decision's rule at the best threshold on the very pairs that are judged."""
    most, veto = decision.max_matches, decision.quantity_veto
    best = best_threshold(
        [(pairs, codes)], decision.rule, count=tuning.thresholds, max_matches=most, quantity_veto=veto
    )
    return best.row_f1
