"""The commands `python -m ensemble.answers export|import|labels|contradictions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ensemble.answers.answer import Answer, time_after
from ensemble.answers.file import AnswerFile, answers_path
from ensemble.answers.tables import export, imported, label_groups, write_labels
from ensemble.config import ReviewConfig
from ensemble.sections import sections
from shared.catalog.config import DataConfig
from shared.catalog.tables import printable
from shared.errors import ArtifactError, MatcherError
from shared.folders import require_place
from shared.pipeline.catalog_stages import load_original
from shared.pipeline.cli import Arguments, Command, Parser, run_subcommand
from shared.pipeline.pools import catalog_pool, load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import Catalog

USAGE = "python -m ensemble.answers"


def write_export(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    """Write the answers about the catalog of a run as CSV."""
    require_place(arguments.out, [("the file of answers", _file(run, settings).path)])
    count = export(_file(run, settings).read(), arguments.out)
    run.say(f"{count:,} answers written to {arguments.out}")


def add_import(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    """Append the answers of a table to those of a run, but for those that it holds or that were taken back.

    An answer of the same person about the same pair at the same time, but with another verdict, is one that was changed
    in the table: it is appended as an answer of now.
    """
    file = _file(run, settings)
    answers = imported(arguments.table, [load_original(run, source) for source in settings[DataConfig].sources])
    held = file.read()
    present, standing = {event.identity for event in held.events}, {each.identity: each for each in held.standing}
    new = [answer for answer in answers if answer.identity not in present]
    time, changed = time_after(held.latest_time), list[Answer]()
    for answer in answers:
        before, latest = standing.get(answer.identity), held.verdicts.get(answer.pair, {}).get(answer.by)
        if before is not None and latest is not None and answer.verdict not in (before.verdict, latest.verdict):
            changed.append(replace(answer, at=time))
    if new or changed:
        file.append(*new, *changed)
    told = f", {len(changed):,} changed" if changed else ""
    rest = len(answers) - len(new) - len(changed)
    run.say(f"{len(new):,} answers added to {file.path}{told}, {rest:,} were there or taken back")


def make_labels(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    """Write the listings of a run that have a label, with the groups of its yes answers as labels."""
    if len(settings[DataConfig].sources) > 1:
        raise MatcherError(f"{run.folder} is a run of several catalogs; make labels in a run of one catalog")
    require_place(arguments.out, [("the file of answers", _file(run, settings).path)])
    pool, catalog = _pool(run, ""), load_original(run, "")
    answers = _file(run, settings).read().on(pool, catalog)
    labels, left_out = label_groups(catalog, answers)
    labeled = [label for label in labels if label is not None]
    if not labeled:
        raise MatcherError(f"no answer about the catalog of {run.folder} is yes, so there are no labels to write")
    rows = np.flatnonzero([label is not None for label in labels])
    write_labels(arguments.out, catalog.take(rows), labeled)
    contradicted = f", {left_out:,} contradicted groups left out" if left_out else ""
    groups = f"{len(set(labeled)):,} label groups{contradicted}"
    run.say(f"{len(labeled):,} of {len(labels):,} listings have a label, in {groups}")
    images = f" --data.images={catalog.image_folder}" if catalog.image_folder and catalog.has_image.any() else ""
    run.say(f"written to {arguments.out}; train on it: ./run_all.sh --data {arguments.out}{images} --run NEW")


def show_contradictions(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    """Print the answers about the catalog of a run that contradict each other."""
    answers = _file(run, settings).read()
    holding = (answers.on(_pool(run, each), load_original(run, each)) for each in settings[DataConfig].sources)
    found = [contradiction for pool in holding for contradiction in pool.contradictions()]
    for each in found:
        run.say(printable(each.line))
    run.say(f"{len(found):,} contradictions" if found else "no contradictions")


def _file(run: RunFolder, settings: Settings) -> AnswerFile:
    if not run.folder.is_dir():
        raise ArtifactError(f"there is no run folder {run.folder}")
    return AnswerFile(answers_path(run.folder, settings[ReviewConfig]))


def _pool(run: RunFolder, source: str) -> Catalog:
    return load_catalog(run.open(catalog_pool(source).stage))


# --- the command line ------------------------------------------------------------------------------------------------


def _with_out(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="file to write")


def _with_table(parser: Parser) -> None:
    what = "table with the columns left, right, verdict, by, at"
    parser.add_argument("--from", dest="table", type=Path, required=True, help=what)


def commands() -> dict[str, Command]:
    """Return the commands by name.

    Examples:
        >>> sorted(commands())
        ['contradictions', 'export', 'import', 'labels']
    """
    parts = {
        "export": (write_export, "Write the answers about a run's catalog as CSV.", _with_out),
        "import": (add_import, "Add the answers of a table to those about a run's catalog.", _with_table),
        "labels": (
            make_labels,
            "Write the labeled listings of a run, with the groups of its yes answers as labels.",
            _with_out,
        ),
        "contradictions": (
            show_contradictions,
            "Show the answers about a run's catalog that contradict each other.",
            lambda parser: None,
        ),
    }
    return {
        name: Command(
            f"{USAGE} {name}",
            about,
            sections(),
            ["review"],
            work,
            options=options,
            holds=lambda arguments: False,
            force=False,
            makes_file=True,
        )
        for name, (work, about, options) in parts.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands about answers."""
    return run_subcommand(USAGE, commands(), argv)


if __name__ == "__main__":
    raise SystemExit(main())
