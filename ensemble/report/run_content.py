"""The content of the report of a run, and of matches that `ensemble.match` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from branches.pool_stages import load_candidates
from branches.stage_names import candidates_stage_name
from ensemble.ablation.state import state_of_run
from ensemble.config import EnsembleConfig
from ensemble.decision.decision import Decision
from ensemble.decision.siblings import describe_forbidden, describe_siblings
from ensemble.evaluation.holdout import evaluate_matches
from ensemble.evaluation.run_metrics import ancestors, metrics_of, stages_behind
from ensemble.match_result import MatchResult
from ensemble.matcher import check_current
from ensemble.pair_stages import features_name
from ensemble.report.branches import contribution
from ensemble.report.cards import Explain, no_reasons
from ensemble.report.content import Answered, CatalogContent, Judged, Report, Sample, StageCost, catalog_content
from ensemble.report.intervals import Estimate
from ensemble.report.pool import Index, MatchedPool, labels_by_id, load_matches
from ensemble.report.reasons import explainer
from ensemble.report.reliability import reliability_bins
from ensemble.report.threshold_curve import is_labeled
from ensemble.result_stages import EVALUATION, MATCHES, load_scores, scores_name
from ensemble.scorer.model import StackedScorer
from ensemble.training_stages import DECISION, SCORER, load_decision
from ensemble.unlabeled_stages import START, start_settings
from shared.artifacts import read_json
from shared.catalog.config import DataConfig
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.catalog_stages import TRAIN, original_stage
from shared.pipeline.pools import Pool, catalog_pool, holdout_pool, load_catalog, of_source
from shared.pipeline.run import ABLATION, RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.schema import Catalog

LONGEST_VALUE = 60  # characters of a setting's value


def run_content(run: RunFolder, settings: Settings) -> Report:
    """Return the content of the report of a finished run.

    Args:
        run: The run.
        settings: Its settings.

    Raises:
        ArtifactError: The run has no matches, a file of it is missing or altered, or its stages do not fit each other.
    """
    sources, seed = settings[DataConfig].sources, settings[ComputeConfig].seed
    sample = Sample.of_catalogs(len(sources), seed)
    measured = is_measured(run)
    require_current(run, settings, measured=measured)
    metrics = metrics_of(run) if measured else {}
    decision = load_decision(run.open(DECISION)) if measured else None
    catalogs = [_catalog(run, settings, source, metrics, decision, sample) for source in sources]
    out_of_fold = metrics.get("out_of_fold", {})
    ablation, is_earlier = _ablation(run) if measured else ({}, False)
    siblings = out_of_fold.get("siblings")
    stages = _stages(run, metrics if measured else _unlabeled_metrics(run))
    costs = [StageCost(name, of["seconds"], of["peak_memory_mb"]) for name, of in stages.items()]
    return Report(
        f"run {run.folder.absolute().name}",
        catalogs,
        sample,
        reliability_bins(out_of_fold.get("reliability", [])),
        out_of_fold,
        ablation,
        decision_in_words(decision or catalogs[0].pool.facts.decision),
        "" if siblings is None else f"{describe_siblings(siblings)}.",
        changed_settings(settings),
        costs,
        None if measured else answered(run),
        is_earlier,
    )


def _ablation(run: RunFolder) -> tuple[Mapping[str, Any], bool]:
    """Return what each part of the run is worth, and whether that was measured in an earlier state of the run alone."""
    path = run.folder / "ensemble" / ABLATION / "ablation.json"
    content = read_json(path) if path.exists() else None
    if content is None:
        return {}, False
    is_current = content.get("state") == state_of_run(run)
    return (content["systems"], False) if is_current else ({}, True)


def answered(run: RunFolder) -> Answered | None:
    """Return how good the matches of a run without labels are by people's answers; None where that is not known."""
    quality = _unlabeled_metrics(run).get("quality")
    if not isinstance(quality, dict):
        return None
    parts = (Estimate(**quality[name]) for name in ("precision", "recall", "f1"))
    return Answered(quality["answers"], *parts)


def _unlabeled_metrics(run: RunFolder) -> Mapping[str, Any]:
    """Return what `metrics.json` holds of a run without labels; nothing where it is of earlier matches."""
    path, manifest = run.folder / "metrics.json", run.manifest(MATCHES)
    metrics = read_json(path) if path.exists() else {}
    if metrics.get("labels") is not False or manifest is None:
        return {}
    is_current = all(manifest["metrics"].get(name) == value for name, value in metrics["matches"].items())
    return metrics if is_current else {}


def is_measured(run: RunFolder) -> bool:
    """Return whether the matches of a run were measured by labels.

    Examples:
        >>> is_measured(RunFolder(Path("no/such/run")))
        False
    """
    return bool(run.manifest(EVALUATION)) and START not in ancestors(run, MATCHES)


def require_current(run: RunFolder, settings: Settings, *, measured: bool) -> None:
    """Raise an error unless all that a report reads of a run fits each other and the settings.

        require_current(run, settings, measured=True)

    Args:
        run: A finished run.
        settings: Its settings; with another seed, the report of the same run shows other samples.
        measured: Whether it was measured by labels.

    Raises:
        ArtifactError: A stage is missing, damaged, made with other settings, or older than what it was made from.
    """
    own = start_settings(Settings(remembered(run.folder), settings.sections))
    made_with = start_settings(settings).changed({"compute": {"seed": own[ComputeConfig].seed}})
    check_current(run, made_with, [EVALUATION, MATCHES] if measured else [MATCHES])


def _stages(run: RunFolder, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("stages") or {name: run.manifest(name) for name in stages_behind(run, [MATCHES])}


def _catalog(
    run: RunFolder,
    settings: Settings,
    source: str,
    metrics: Mapping[str, Any],
    decision: Decision | None,
    sample: Sample,
) -> CatalogContent:
    """Return what the report says of one catalog of a run."""
    explain, train = _explainer(run, settings, catalog_pool(source)), of_source(TRAIN, source)
    pool = load_matches(run.open(MATCHES) / source)
    if original_stage(run, source) == train:  # labels are of these listings, not of test ones with the same ids
        pool = replace(pool, codes=_codes(pool.catalog, load_catalog(run.open(train))))
    judged = None
    if decision is not None and metrics:
        of_pool = metrics.get("by_source", {}).get(source, metrics)
        judged = _holdout(run, settings, source, of_pool, decision)
    decision = decision or pool.facts.decision
    return catalog_content(source, pool, judged, decision, sample, settings[DataConfig].max_pixels, explain)


def _explainer(run: RunFolder, settings: Settings, pool: Pool) -> Explain:
    """Return a function that says why pairs of a pool have their scores; no reasons where no scorer gave them."""
    if SCORER not in ancestors(run, scores_name(pool.name)):
        return no_reasons
    compute = settings[ComputeConfig]
    scorer, described = StackedScorer.load(run.open(SCORER)), run.open(features_name(pool.name))
    return explainer(scorer, described, compute.xp(), compute.cpu_threads)


def _codes(catalog: Catalog, labeled: Catalog) -> Index | None:
    """Return the label codes of listings that are among the labeled ones; None if none of them is."""
    labels = dict(zip(labeled.ids, labeled.labels, strict=True))
    codes = label_codes(labels_by_id(catalog, labels))
    return codes if is_labeled(codes) else None


def _holdout(
    run: RunFolder, settings: Settings, source: str, metrics: Mapping[str, Any], decision: Decision
) -> Judged | None:
    """Return the holdout of a catalog of a run; None where it has no labels."""
    holdout, names = holdout_pool(source), settings[EnsembleConfig].branches
    catalog = load_catalog(run.open(holdout.stage))
    codes = label_codes(catalog.labels)
    if not is_labeled(codes):
        return None
    result = MatchResult.from_scores(decision, catalog, load_scores(run.open(scores_name(holdout.name))))
    pool = MatchedPool.of_result(result, codes)
    proposals = {name: load_candidates(run.open(candidates_stage_name(name, holdout))) for name in names}
    shares = contribution(proposals, metrics["branches"], codes, pool.pairs.copy_of)
    explain = _explainer(run, settings, holdout)
    return Judged(pool, metrics["holdout"], f"a holdout of {len(pool):,} listings", explain, shares)


def decision_in_words(decision: Decision | None) -> str:
    """Return a decision as a sentence; "" if it is not known.

    Examples:
        >>> decision_in_words(Decision("average_link", 0.35, pool_size=500))
        'Rule average_link at threshold 0.350 for pools of 500 listings; no attribute forbids a match.'
        >>> decision_in_words(Decision("threshold", 0.5, pool_size=500, prior_shift=0.4)).partition(";")[0]
        'Rule threshold at threshold 0.500 for pools of 500 listings, corrected for the size of each pool'
    """
    if decision is None:
        return ""
    size = f" for pools of {decision.pool_size:,} listings" if decision.pool_size else ""
    size += ", corrected for the size of each pool" if size and decision.prior_shift else ""
    return f"Rule {decision.rule} at threshold {decision.threshold:.3f}{size}; {describe_forbidden(decision.forbid)}."


def changed_settings(settings: Settings) -> list[tuple[str, str, str]]:
    """Return the settings that differ from their defaults: name, value, default; of a path its last part.

    Examples:
        >>> changed_settings(Settings({"compute": {"seed": 3}}, {"compute": ComputeConfig}))
        [('compute.seed', '3', '0')]
    """
    changed = []
    for section, keys in settings.values.items():
        if section not in settings.sections:
            continue
        present, default = settings[settings.sections[section]], settings.sections[section]()
        for key in keys:
            value, usual = getattr(present, key), getattr(default, key)
            if value != usual:
                changed.append((f"{section}.{key}", _value(value), _value(usual)))
    return sorted(changed)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(_value(each) for each in value) or "none"
    elif isinstance(value, str) and value.startswith("/"):
        text = Path(value).name
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def matches_content(out: Path, max_pixels: int, seed: int) -> Report:
    """Return the content of the report of a folder that `ensemble.match` wrote.

    Args:
        out: The folder.
        max_pixels: Larger images are not shown.
        seed: Of the samples.

    Raises:
        ArtifactError: A file is missing, or not as it was written.
    """
    pool = load_matches(out)
    codes = label_codes(pool.catalog.labels)
    judged = None
    if is_labeled(codes):
        pool = load_matches(out, codes)
        metrics = evaluate_matches(pool.matches, pool.pairs, codes)
        judged = Judged(pool, metrics, f"this catalog of {len(pool):,} listings")
    decision, sample = pool.facts.decision, Sample.of_catalogs(1, seed)
    content = catalog_content("", pool, judged, decision, sample, max_pixels)
    return Report(f"matches in {out.absolute().name}", [content], sample, decision=decision_in_words(decision))
