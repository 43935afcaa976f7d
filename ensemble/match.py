"""The command `python -m ensemble.match`: match a catalog with a bundle or a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.answers.answers import Answers
from ensemble.answers.file import read_answers
from ensemble.bundle.archive import Bundle
from ensemble.bundle.settings import check_bundled
from ensemble.cli import update_run
from ensemble.config import ReviewConfig
from ensemble.evaluation.holdout import evaluate_matches
from ensemble.evaluation.summary import summarize_labeled
from ensemble.match_result import NOT_USED, MatchResult
from ensemble.matcher import Matcher
from ensemble.memory import matching_need
from ensemble.result_stages import MATCHES
from ensemble.sections import sections
from ensemble.written_matches import METRICS, new_matches
from shared.artifacts import write_json
from shared.catalog.config import DataConfig
from shared.catalog.not_used import in_words
from shared.catalog.reader import read_catalog, read_labels
from shared.catalog.source import new_source
from shared.catalog.unusable_images import unusable_images
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.memory import shortage
from shared.metrics.matching import label_codes
from shared.pipeline.cli import DEFAULT_RUN, Arguments, Command, Parser
from shared.pipeline.run import ArtifactStore, RunFolder, remembered
from shared.pipeline.settings import Settings


def open_store(arguments: Arguments) -> ArtifactStore:
    """Return the bundle or the run folder that the options name.

    Raises:
        MatcherError: Both are named.
        ArtifactError: The folder is no bundle, or a file in it was altered.
    """
    if arguments.bundle is None:
        if arguments.data is not None and not arguments.run.exists():
            raise ArtifactError(f"there is no run folder {arguments.run}: name a bundle (--bundle) or a run (--run)")
        return RunFolder(arguments.run)
    if arguments.run != DEFAULT_RUN:
        raise MatcherError("--run and --bundle cannot be used together; name one of them")
    return Bundle(arguments.bundle)


def open_matcher(store: Any, settings: Settings, arguments: Arguments) -> Matcher:
    """Return the matcher of what `open_store` returned.

    Raises:
        ArtifactError: A part of it is missing, damaged, or was made again since the decision was tuned.
        MatcherError: It is a bundle, and settings were given that it was not made with; or `--review.answers` was.
    """
    check_answers(store, settings)
    if arguments.bundle is None:
        return Matcher.of_run(store, settings)
    check_bundled(store, settings)
    return Matcher(store, settings)


def check_answers(store: ArtifactStore, settings: Settings) -> None:
    """Refuse another file of answers about the run's own catalog: with a new one it would have no effect.

    Raises:
        MatcherError: `--review.answers` was given.
    """
    own = remembered(store.folder).get("review", {}).get("answers", ReviewConfig().answers)
    if settings[ReviewConfig].answers != own:
        raise MatcherError(
            "--review.answers names answers about the run's own catalog; name those about a new one with --answers FILE"
        )


def match_new(
    matcher: Matcher, settings: Settings, out: Path, *, evaluate: bool, answers: Answers | None = None
) -> None:
    """Match the catalog that `--data` names, and write the matches.

        match_new(Matcher.load("bundle"), settings, Path("matches"), evaluate=False)

    Args:
        matcher: Of a bundle or a finished run.
        settings: Its settings, with the data to match.
        out: Folder to write into.
        evaluate: Whether to measure the matches by the catalog's labels; the matcher never sees them.
        answers: People's answers about pairs of the catalog; None: there are none.

    Raises:
        MatcherError: The catalog cannot be read, or it is to be evaluated and has no labels.
    """
    data, source = settings[DataConfig], new_source(settings[DataConfig])
    labels = read_labels(source, data) if evaluate else None
    catalog = read_catalog(source, data, settings[ComputeConfig], labeled=False)
    if line := unusable_images(catalog):
        print(line)
    if line := in_words(catalog):
        print(f"not used: {line}")
    if line := shortage(matching_need(len(catalog), settings), f"matching {len(catalog):,} listings"):
        print(line)
    result = matcher.match_catalog(catalog, data.duplicates, answers)
    if line := result.set_aside.line:
        print(line)
    if result.answers is not None and result.answers.line:
        print(result.answers.line)
    metrics: dict[str, Any] | None = None
    if labels is not None:
        codes = label_codes(labels)
        metrics = evaluate_matches(result.match_rows, result.scored_pairs, codes) | {"labeled": int(np.sum(codes >= 0))}
        print(summarize_labeled(metrics) + "\n")
        result = replace(result, catalog=result.catalog.with_columns({"label_group": labels.tolist()}))
    write(result, metrics, out)
    threshold = f"{result.threshold:.3f}" if result.threshold is not None else "an unknown threshold"
    print(f"{matcher.decision.rule} at {threshold}, in a pool of {len(catalog):,}")
    counts = " · ".join(f"{label.replace('_', ' ')} {count:,}" for label, count in result.summary().items())
    print(f"{counts}\nwritten to {out}; to look at them: python -m ensemble.report --out {out}")
    if len(result.not_used):
        print(f"what was not used, and why: {out / NOT_USED} ({len(result.not_used):,} rows)")
    for line in result.warnings:
        print(line)


def write(result: MatchResult, metrics: Mapping[str, Any] | None, out: Path) -> None:
    """Write matches and their metrics into a folder; metrics and report of earlier matches do not stay."""
    with new_matches(out) as folder:
        result.save(folder)
        if metrics is not None:
            write_json(folder / METRICS, metrics)


def main() -> int:
    """Match a new catalog, or the run's own."""

    def options(parser: Parser) -> None:
        parser.add_argument("--bundle", type=Path, help="with --data: match with this bundle instead of a run")
        parser.add_argument("--out", type=Path, help="with --data: folder to write the matches into")
        parser.add_argument("--answers", type=Path, help="with --data: file of people's answers about its pairs")
        what = f"with --data: also measure the matches by the catalog's labels ({METRICS})"
        parser.add_argument("--evaluate", action="store_true", help=what)

    def body(store: Any, settings: Settings, arguments: Arguments) -> None:
        if (arguments.data is None) != (arguments.out is None):
            raise MatcherError("--data NEW and --out FOLDER go together: the catalog to match, and where to write")
        if arguments.out is not None:
            answers = None if arguments.answers is None else read_answers(arguments.answers)
            matcher = open_matcher(store, settings, arguments)
            match_new(matcher, settings, arguments.out, evaluate=arguments.evaluate, answers=answers)
            return
        if arguments.answers is not None:
            raise MatcherError("--answers is for a new catalog; name those of the run's own with --review.answers=FILE")
        if arguments.bundle is not None or arguments.evaluate:
            raise MatcherError("--bundle and --evaluate are for a new catalog: add --data NEW --out FOLDER")
        update_run(store, settings, [MATCHES], force=arguments.force)

    return Command(
        "python -m ensemble.match",
        "Match a new catalog with a run or a bundle (--data NEW --out FOLDER), or the run's own catalog.",
        sections(),
        ["data", "ensemble", "review", "compute"],
        body,
        options=options,
        new_data=True,
        opened=open_store,
        holds=lambda arguments: arguments.data is None and arguments.bundle is None,
        stages="shared",
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
