"""The systems that an ablation compares: baselines, decision rules, and the scorer with one part left out.

A system is a way to score a pool's candidate pairs (`scoring.py`) and a change of the settings; all else is done by the
stages of a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from branches import registry
from branches.pool_stages import load_candidates
from branches.stage_names import candidates_stage_name
from ensemble.ablation.scoring import By, Material, judge
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.features.assemble import FAMILIES
from ensemble.pair_stages import features_name, load_features
from ensemble.result_stages import load_scores, scores_name
from ensemble.training_stages import SCORER, load_scored_folds, load_scored_thinned, thinned_stages
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.catalog.split import SplitConfig
from shared.pipeline.pools import HOLDOUT_POOL, fold_pools, load_catalog
from shared.pipeline.settings import Settings, Values
from shared.pipeline.stage import Inputs, Stage, StageConfig

FULL = "the whole system"
# A baseline is tuned in the simplest way, whatever objective the run has.
SIMPLY = {"forbid": ["none"], "resamples": 2, "prior_shift": 0, "smoothing": 0}
PLAIN = TuneConfig().model_dump(mode="json", exclude={"thresholds", "max_matches"}) | SIMPLY
ONE_THRESHOLD = {"tune": PLAIN | {"rules": ["threshold"]}}


@dataclass(frozen=True)
class System:
    """A system to compare: one row of the table.

    Args:
        name: The name of its row.
        by: The way in which its pairs are scored.
        changes: The settings in which it differs from the run's.
        branches: The branches that it scores by, if it scores by their similarities.

    Examples:
        >>> System("tfidf or phash", by="any", branches=("tfidf", "phash")).folder
        'tfidf-or-phash'
    """

    name: str
    by: By = "scorer"
    changes: Values = field(default_factory=dict)
    branches: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Return the name of the folder of its stages."""
        return re.sub(r"\W+", "-", self.name)


def systems(settings: Settings) -> dict[str, System]:
    """Return every row of the table by name, the whole system first.

    Examples:
        >>> from ensemble.sections import sections
        >>> next(iter(systems(Settings({}, sections()))))
        'the whole system'
    """
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
    used = settings[EnsembleConfig].features
    forbidden = {"no attribute forbids a match": ["none"]}
    forbidden |= {"quantities forbid a match": ["quantity"]} if "attributes" in used else {}
    rows += [System(n, changes={"tune": {"forbid": f}}) for n, f in forbidden.items() if f != tuning.forbid]
    for name in names if len(names) > 1 else []:
        rest = [other for other in names if other != name]
        rows.append(System(f"without {name}", changes={"ensemble": {"branches": rest}}))
    scored_by = [family for family in used if family not in scorer.exclude_features]
    for family in scored_by if len(scored_by) > 1 else []:
        left_out = {"exclude_features": [*scorer.exclude_features, family]}
        rows.append(System(f"without the features of {family}", changes={"scorer": left_out}))
    for family in [family for family in FAMILIES if family not in used]:
        more = {"features": [*used, family]}
        rows.append(System(f"with the features of {family}", changes={"ensemble": more}))
    if scorer.thinned:
        rows.append(System("without thinned pools", changes={"scorer": {"thinned": []}}))
    rows.append(System("without the second model", changes={"scorer": {"models": 1}}))
    rows.append(System("without row weights", changes={"scorer": {"group_size_power": 0}}))
    return {row.name: row for row in rows}


# --- the decision -----------------------------------------------------------------------------------------------------


def judge_stage(settings: Settings, system: System) -> Stage:
    """Return the stage that tunes a system's decision on the fold pools and measures it on the holdout."""
    names, folds = settings[EnsembleConfig].branches, fold_pools(settings[SplitConfig].folds)
    pools = [*folds, HOLDOUT_POOL]
    views = [candidates_stage_name(name, pool) for name in names for pool in pools]
    features = [features_name(pool.name) for pool in pools]
    thinned = [stage.name for stage in thinned_stages(folds, settings)]
    return Stage(
        "judged",
        judge_system,
        code=("ensemble.ablation.scoring", "shared.catalog.copies"),
        reads=(
            SCORER,
            scores_name(HOLDOUT_POOL.name),
            *(pool.stage for pool in pools),
            *thinned,
            *features,
            *views,
        ),
        settings=(TuneConfig, EnsembleConfig, ScorerConfig),
        parameters={
            "by": system.by,
            "branches": list(system.branches),
            "folds": [pool.name for pool in folds],
            "thinned": thinned,
        },
    )


def judge_system(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    by: By,
    branches: Sequence[str],
    folds: Sequence[str],
    thinned: Sequence[str],
) -> Mapping[str, Any]:
    """Measure a system, and write its metrics and the row F1 of every listing."""
    pools, catalog = [*folds, "holdout"], load_catalog(inputs["pools/holdout"])
    folds_with_scores = load_scored_folds(inputs["ensemble/scorer"], [inputs[f"pools/{fold}"] for fold in folds])
    material = Material(
        [
            *(pairs for pairs, _ in folds_with_scores),
            load_scores(inputs["ensemble/scores/holdout"]).with_copies(copy_of(catalog)),
        ],
        [load_features(inputs[f"ensemble/features/{pool}"]) for pool in pools],
        {
            name: [load_candidates(inputs[f"{name}/candidates/{pool}"]) for pool in pools]
            for name in config[EnsembleConfig].branches
        },
        [codes for _, codes in folds_with_scores],
        config[TuneConfig],
        [
            load_scored_thinned(inputs["ensemble/scorer"], inputs[f"pools/{folds[index]}"], inputs[name])
            for index, name in enumerate(thinned)
        ],
    )
    metrics, row_f1 = judge(by, branches, material, catalog)
    write_json(out / "metrics.json", metrics)
    columns = {"posting_id": pa.array(catalog.ids, pa.string()), "row_f1": row_f1}
    pq.write_table(pa.table(columns), out / "row_f1.parquet")
    return {"row_F1": metrics["row_f1"], "in_a_pool_of": metrics["pool_size"]}
