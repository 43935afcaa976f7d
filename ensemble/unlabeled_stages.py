"""The stages of a run without labels: from a catalog to start scores, to what answers teach, to matches.

    catalog ─ encoders as they come, or of a bundle ─ features ─ start scores ─ what answers teach ─ matches

Nothing is trained before the matches and nothing is measured after them. People's answers repeat the last two stages.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from branches.stage_names import encoder_stage_name
from branches.stages import pretrained_stage, unlabeled_stages
from ensemble.answers.answers import Answers
from ensemble.answers.file import answers_digest, read_answers, run_answers
from ensemble.bundle.archive import Bundle
from ensemble.bundle.settings import check_bundled
from ensemble.config import EnsembleConfig, ReviewConfig, StartConfig, TuneConfig
from ensemble.pair_stages import candidates_stage, features_name, features_stage, load_features
from ensemble.result_stages import SCORE_SHARDS, load_scores, matches_stage, score_pairs, scores_name
from ensemble.review.learner import Learner, learned_decision, with_answers
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.questions import FIRST
from ensemble.review.start import careful_decision, start_scores
from ensemble.training_stages import DECISION, SCORER, load_decision
from shared.catalog.config import DataConfig
from shared.catalog.copies import copy_of
from shared.catalog.source import Sources
from shared.pipeline.catalog_stages import catalog_stages, matched_stage
from shared.pipeline.pools import ALL, CATALOG_POOL, load_catalog
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig

START = "ensemble/start"
LEARNED = scores_name(CATALOG_POOL.name)  # where the scores of the catalog are in every run
OF_TRAINING = ("data", "demo", "split", "start", "review")  # sections of a bundle that are about what it was trained on


def start_settings(settings: Settings) -> Settings:
    """Return settings in which those of the bundle that a run starts from stand in for the defaults.

    Settings about the bundle's own data are left out. Without a bundle, the settings are returned as they are.

    Raises:
        ArtifactError: The bundle is none, or a file in it was altered.
    """
    if not settings[StartConfig].bundle:
        return settings
    values = remembered(Bundle(Path(settings[StartConfig].bundle)).folder)
    return settings.over({section: keys for section, keys in values.items() if section not in OF_TRAINING})


def unlabeled_graph(run: RunFolder, settings: Settings, sources: Sequence[Sources]) -> Graph:
    """Return all stages of a run without labels.

        unlabeled_graph(run, start_settings(settings), sources_of(run, settings))

    Args:
        run: The run folder.
        settings: From `start_settings`.
        sources: Where the one catalog is read from.

    Raises:
        MatcherError: There is no such branch, or settings were given that the bundle was not made with.
        ArtifactError: The bundle is none, or a file in it was altered.
    """
    names, path = settings[EnsembleConfig].branches, settings[StartConfig].bundle
    bundle = Bundle(Path(path)) if path else None
    if bundle is not None:
        check_bundled(bundle, settings)
    stages = catalog_stages(run, settings, sources, labeled=False)
    for name in names:
        stages += unlabeled_stages(name, _encoder_stage(name, settings, bundle))
    stages += [candidates_stage(CATALOG_POOL, names), features_stage(CATALOG_POOL, names)]
    answers = run_answers(run.folder, settings[ReviewConfig])
    stages += [_start_stage()] if bundle is None else _bundled_stages(bundle)
    source = sources[0].name
    original = matched_stage(source, [] if sources[0].test is None else [source])
    duplicates = settings[DataConfig].duplicates
    matches = matches_stage({source: original}, duplicates, decision=LEARNED, answers=answers)
    return Graph([*stages, _learned_stage(bundle, answers, original), matches])


def scores_before_answers(run: RunFolder, pool: str) -> str:
    """Return the name of the stage with the scores of a pool that no answer changed.

    In a run without labels these are the start, from which answers teach the scores of the pool; in others the scores
    themselves, which no answer changes.

    Args:
        run: A finished run.
        pool: The pool.

    Examples:
        >>> scores_before_answers(RunFolder(Path("no/such/run")), "catalog")
        'ensemble/scores/catalog'
    """
    manifest = run.manifest(scores_name(pool))
    return START if manifest is not None and START in manifest["key"]["inputs"] else scores_name(pool)


# --- the start -------------------------------------------------------------------------------------------------------


def _encoder_stage(name: str, settings: Settings, bundle: Bundle | None) -> Stage | None:
    pretrained = pretrained_stage(name, settings)
    return pretrained if pretrained is None or bundle is None else _copy_stage(encoder_stage_name(name, ALL), bundle)


def _start_stage() -> Stage:
    features = features_name(CATALOG_POOL.name)
    return Stage(
        START,
        score_by_similarity,
        code=("ensemble.review.start",),
        reads=(features,),
        parameters={"features": features},
    )


def score_by_similarity(inputs: Inputs, config: StageConfig, out: Path, features: str) -> Mapping[str, Any]:
    """Score the described pairs of a catalog by the similarities that the branches see."""
    scored = start_scores(load_features(inputs[features]))
    scored.save(out / "pairs.parquet")
    return {"pairs": len(scored)}


def _bundled_stages(bundle: Bundle) -> list[Stage]:
    """Return the stages with scorer and decision of a bundle, and with the scores by them."""
    features = features_name(CATALOG_POOL.name)
    start = Stage(
        START,
        score_pairs,
        code=("ensemble.scorer.blocks", "ensemble.features.files"),
        reads=(SCORER, features),
        parameters={"features": features},
        shards=SCORE_SHARDS,
    )
    return [_copy_stage(SCORER, bundle), _copy_stage(DECISION, bundle), start]


def _copy_stage(name: str, bundle: Bundle) -> Stage:
    return Stage(
        name,
        copy_of_bundle,
        code=("ensemble.bundle.archive",),
        parameters={"bundle": str(bundle.folder), "stage": name},
        sources=partial(bundle.files, name),
    )


def copy_of_bundle(inputs: Inputs, config: StageConfig, out: Path, bundle: str, stage: str) -> Mapping[str, Any]:
    """Copy what a bundle holds of a stage."""
    store = Bundle(Path(bundle))
    for name in store.files(stage):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.open(stage) / name, out / name)
    return {"from_the_bundle": bundle}


# --- what answers teach ----------------------------------------------------------------------------------------------


def _learned_stage(bundle: Bundle | None, answers: Path | None, original: str) -> Stage:
    features, read = features_name(CATALOG_POOL.name), [] if answers is None else [original]
    return Stage(
        LEARNED,
        learn_scores,
        code=(
            "ensemble.answers.file",
            "ensemble.decision.decision",
            "ensemble.review.learner",
            "ensemble.review.pair_answers",
            "ensemble.review.start",
            "shared.catalog.copies",
        ),
        reads=(CATALOG_POOL.stage, features, START, *([] if bundle is None else [DECISION]), *read),
        settings=(TuneConfig,),
        parameters={
            "features": features,
            "answers": None if answers is None else str(answers),
            "decision": None if bundle is None else DECISION,
            "least": FIRST,
            **({"original": original} if read else {}),
        },
        sources=partial(answers_digest, answers),
    )


def learn_scores(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    features: str,
    answers: str | None,
    decision: str | None,
    least: int,
    original: str = "",
) -> Mapping[str, Any]:
    """Learn scores and a decision from people's answers; before there are enough of them, pass the start on."""
    catalog, tune = load_catalog(inputs["pools/catalog"]), config[TuneConfig]
    start = load_scores(inputs["ensemble/start"]).with_copies(copy_of(catalog))
    answered = Answers() if answers is None else read_answers(Path(answers))
    read = [load_catalog(inputs[original])] if original else []
    given = PairAnswers.of(answered.on(catalog, *read), start)
    bundled = load_decision(inputs[decision]) if decision else None
    limits: dict[str, Any] = {"max_matches": tune.max_matches, "max_group": tune.max_group, "forbid": tune.forbidden}
    if bundled:  # its tuning may have chosen what forbids a match
        limits = {name: getattr(bundled, name) for name in limits}
    if learns := len(given) >= least:
        described = load_features(inputs[features])
        scored = Learner(start, described).learn(given.positions, given.is_match)
        rule = learned_decision(with_answers(scored, given.positions, given.is_match))
    else:
        scored, rule = start, bundled or careful_decision(start)
    rule = replace(rule, **limits)
    scored.save(out / "pairs.parquet")
    rule.save(out / "decision.json")
    unlikeness = inputs["ensemble/start"] / "unlikeness.json"
    if unlikeness.exists() and not learns:
        shutil.copyfile(unlikeness, out / unlikeness.name)
    return {"answers_learned_from": len(given) if learns else 0, "threshold": rule.threshold}
