"""The command that matches a catalog with a bundle or a finished run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.bundle.archive import Bundle
from ensemble.evaluate import figures_of
from ensemble.evaluation.summary import judged
from ensemble.match_result import Result
from ensemble.matcher import Matcher
from ensemble.score import match_all
from shared.catalog.reader import DataConfig, read_labels, without_pictures
from shared.errors import MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.cli import DEFAULT_RUN, command
from shared.pipeline.pools import new_catalog, new_source
from shared.pipeline.run import Run, replaced_folder, write_json
from shared.pipeline.settings import Settings

METRICS = "metrics.json"


def match_new(run: Run, settings: Settings, out: Path, *, evaluate: bool) -> None:
    """Match the catalog that `--data` names, and write what was found.

    Args:
        run: A bundle or a finished run; it is only read.
        settings: Its settings, with the data to match.
        out: Folder to write into.
        evaluate: Whether to judge the matches by the catalog's labels; the matcher never sees them.

    Raises:
        MatcherError: The catalog cannot be read, or it is to be judged and has no labels.
        ArtifactError: The run is not finished, or damaged.
    """
    matcher = Matcher.of_run(run, settings)
    labels = read_labels(new_source(settings), settings[DataConfig]) if evaluate else None
    catalog = new_catalog(settings)
    if line := without_pictures(catalog):
        run.say(line)
    result = matcher.match_catalog(catalog)
    figures: dict[str, Any] | None = None
    if labels is not None:
        codes = label_codes(labels)
        figures = figures_of(result.matches, result.pairs, codes) | {"labeled": int(np.sum(codes >= 0))}
        run.say(judged(figures) + "\n")
    write(result, figures, out)
    shown = " · ".join(f"{label} {count:,}" for label, count in result.summary().items())
    run.say(f"{shown}\nwritten to {out}")


def write(result: Result, figures: Mapping[str, Any] | None, out: Path) -> None:
    """Write matches into a folder, and their figures; without any, those of earlier matches there are removed."""
    earlier = (out / "matches.parquet").exists()
    with replaced_folder(out) as folder:
        result.save(folder)
        if figures is not None:
            write_json(folder / METRICS, figures)
        elif earlier:
            (out / METRICS).unlink(missing_ok=True)


def _opened(arguments: argparse.Namespace) -> Run:
    if arguments.bundle is None:
        return Run(arguments.run)
    if arguments.run != DEFAULT_RUN:
        raise MatcherError("--run and --bundle both say what to match with; name one of them")
    return Bundle(arguments.bundle)


def main() -> int:
    """The command `python -m ensemble.match`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, help="with --data: match with this bundle, and not with a run")
        parser.add_argument("--out", type=Path, help="with --data: folder to write the matches into")
        what = f"with --data: judge the matches by the catalog's labels, too ({METRICS})"
        parser.add_argument("--evaluate", action="store_true", help=what)

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if (arguments.data is None) != (arguments.out is None):
            raise MatcherError("--data NEW and --out FOLDER go together: the catalog to match, and where to write")
        if arguments.out is not None:
            match_new(run, settings, arguments.out, evaluate=arguments.evaluate)
            return
        if arguments.bundle is not None or arguments.evaluate:
            raise MatcherError("--bundle and --evaluate are for a new catalog: add --data NEW --out FOLDER")
        run.force = ("matches",) if arguments.force else ()
        match_all(run, settings)

    about = "Match a new catalog with a run or a bundle (--data NEW --out FOLDER), or the run's own catalog."
    return command(
        body,
        about,
        ["data", "ensemble", "compute"],
        usage="python -m ensemble.match",
        new_data=True,
        options=options,
        opened=_opened,
    )


if __name__ == "__main__":
    raise SystemExit(main())
