"""Opens what is to be reviewed: the matches of a run, or those of a new catalog by a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ensemble.answers.file import FILE, AnswerFile, answers_path
from ensemble.cli import update_matches, update_run
from ensemble.config import ReviewConfig
from ensemble.match import write
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher, check_current
from ensemble.pair_stages import features_name, load_features
from ensemble.result_stages import MATCHES, load_scores, scores_name
from ensemble.review.session import Matched, Subject
from ensemble.training_stages import load_decision
from ensemble.unlabeled_stages import scores_before_answers, start_settings
from ensemble.written_matches import load_match_rows
from shared.catalog.config import DataConfig
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import set_aside
from shared.catalog.reader import read_catalog
from shared.catalog.source import new_source
from shared.catalog.unusable_images import unusable_images
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import load_original
from shared.pipeline.pools import Pool, catalog_pool, load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import Catalog


def make_run(run: RunFolder, settings: Settings) -> None:
    """Bring the matches of a run up to date, and what a review reads beside them."""
    with run.locked():
        update_run(run, settings, [MATCHES])


def of_run(run: RunFolder, settings: Settings, source: str | None) -> Subject:
    """Return the matches of a finished run as something to review.

        of_run(RunFolder(Path("runs/mine")), settings, None)

    Args:
        run: The run.
        settings: Its settings.
        source: Name of the catalog, in a run of several.

    Raises:
        ArtifactError: A part of the run is missing, damaged, or older than what it was made from.
        MatcherError: It has several catalogs, and `source` names none of them.
    """
    sources = settings[DataConfig].sources
    if (source is None and len(sources) > 1) or (source is not None and source not in sources):
        raise MatcherError(f"the run has several catalogs; name one with --source: {', '.join(sources)}")
    pool = catalog_pool(source if source is not None else sources[0])
    features, scores = features_name(pool.name), scores_name(pool.name)
    settings = start_settings(settings)
    check_current(run, settings, [features, scores, MATCHES])
    catalog = load_catalog(run.open(pool.stage))
    quiet = RunFolder(run.folder, say=lambda line: None)

    def match() -> Matched:
        with quiet.locked():
            update_matches(quiet, settings)
            return read_matches(quiet, pool, catalog)

    return Subject(
        name=pool.source or run.folder.name,
        catalog=catalog,
        described=load_features(run.open(features)),
        start=load_scores(run.open(scores_before_answers(run, pool.name))).with_copies(copy_of(catalog)),
        answers=answers_path(run.folder, settings[ReviewConfig]),
        match=match,
        matched=read_matches(run, pool, catalog),
        max_pixels=settings[DataConfig].max_pixels,
        original=load_original(run, pool.source),
    )


def read_matches(run: RunFolder, pool: Pool, catalog: Catalog) -> Matched:
    """Return the matches that a run has written of the catalog of a pool.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    matches = load_match_rows(run.open(MATCHES) / pool.source, catalog.ids)
    manifest = run.manifest(MATCHES) or {}
    decision = load_decision(run.open(manifest["key"]["parameters"]["decision"]))
    pairs = load_scores(run.open(scores_name(pool.name))).with_copies(copy_of(catalog))
    return Matched(matches, in_words(manifest["metrics"]), pairs, decision)


def of_bundle(matcher: Matcher, settings: Settings, out: Path | None, answers: Path | None) -> Subject:
    """Return a new catalog that a bundle matches as something to review.

        of_bundle(matcher, settings, Path("matches"), None)

    Args:
        matcher: Of the bundle.
        settings: Its settings, with the catalog.
        out: Folder that the matches are written into; None: nowhere.
        answers: File of answers; None: in `out`, or else beside the catalog.

    Raises:
        MatcherError: The catalog cannot be read.
    """
    data = settings[DataConfig]
    catalog = read_catalog(new_source(data), data, settings[ComputeConfig], labeled=False)
    if line := unusable_images(catalog):
        print(line)
    original, (catalog, report) = catalog, set_aside(catalog)
    pool = matcher.embedded_pool(catalog, matcher.embed(catalog))
    described = matcher.describe(pool, matcher.proposed(pool))
    scored = matcher.scorer.score(described, pool.xp, pool.threads).with_copies(copy_of(catalog))
    unlikeness = matcher.experience.compare(described, matcher.scorer.first.importance())
    path = Path(data.paths[0])
    file = answers or (out / FILE if out else path.with_name(f"{path.name}.{FILE}"))

    def match() -> Matched:
        holding = AnswerFile(file).read().on(catalog, original)
        decided = matcher.decision, catalog, scored, report, data.duplicates, unlikeness, holding.pins
        result = replace(MatchResult.from_scores(*decided), answers=holding)
        if out is not None:
            write(result, None, out)
        return Matched(result.match_rows, in_words(result.summary()), scored, matcher.decision)

    return Subject(path.name, catalog, described, scored, file, match, max_pixels=data.max_pixels, original=original)


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return counts of matches as a line.

    Examples:
        >>> in_words({"listings": 1200, "groups_of_two_or_more": 300, "largest_group": 7})
        '300 groups of two or more · 7 in the largest group'
    """
    words = {
        "groups_of_two_or_more": "groups of two or more",
        "listings_without_a_match": "listings without a match",
        "largest_group": "in the largest group",
    }
    return " · ".join(f"{metrics[name]:,} {text}" for name, text in words.items() if name in metrics)
