"""The commands `python -m ensemble.index add|remove|query|rebuild`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from branches.stages import learns
from ensemble.bundle.archive import Bundle
from ensemble.config import EnsembleConfig
from ensemble.index.index import Index
from ensemble.index.listings import question, read_ids
from ensemble.matcher import Matcher, matcher_digest
from shared.catalog.reader import DataConfig, without_pictures
from shared.catalog.tables import printable
from shared.errors import MatcherError
from shared.pipeline.cli import DEFAULT_RUN, command
from shared.pipeline.pools import new_catalog
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, merge

Work = Callable[[Run, Settings, argparse.Namespace], None]


def add(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Add or update the listings that `--data` names."""
    index = Index.open(arguments.index, Matcher.of_run(run, settings))
    catalog = new_catalog(settings)
    if line := without_pictures(catalog):
        run.say(line)
    _conclude(run, index, index.add(catalog), arguments.out)


def remove(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Remove the listings that `--ids` names."""
    index = Index.open(arguments.index, Matcher.of_run(run, settings))
    ids = read_ids(arguments.ids, settings[DataConfig].id_column)
    _conclude(run, index, index.remove(ids), arguments.out)


def rebuild(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Match all listings of an index at once."""
    index = Index.open(arguments.index, Matcher.of_run(run, settings))
    _conclude(run, index, index.rebuild(), arguments.out)


def query(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Say which listings of an index sell the product of one title, one image or both."""
    asked = question(settings, arguments.title, arguments.image)
    start = perf_counter()
    one_by_one = {name: {"embed_batch": 1} for name in settings[EnsembleConfig].branches if learns(name)}
    matcher = Matcher.of_run(run, Settings(merge(settings.values, one_by_one)))
    index = Index.open(arguments.index, matcher, made_with=matcher_digest(run, settings))
    index.load()
    loaded = perf_counter()
    hits = index.query(asked)[0]
    for hit in hits:
        verdict = "match" if hit.matches else "no match"
        run.say(f"{verdict:<9} {hit.score:.3f}  {hit.posting_id}  {printable(hit.title)}")
        run.say(f"{'':<16} group {hit.group_id} · {hit.reasons}")
    if not hits:
        run.say("no similar listing")
    run.say(f"loaded in {loaded - start:.1f} s, answered in {perf_counter() - loaded:.1f} s")


def _conclude(run: Run, index: Index, counts: dict[str, int], out: Path | None) -> None:
    told = {**counts, **index.state.result().summary()}
    run.say(" · ".join(f"{label} {count:,}" for label, count in told.items()))
    if due := index.state.rebuild_due:
        run.say(due)
    if out is not None:
        index.save(out)
        run.say(f"written to {out}")


# --- the command line ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verb:
    """One of the commands.

    Args:
        work: Does it.
        about: One sentence for `--help`.
        options: Its options: name → help, and whether they must be given.
        paths: Which of these are paths.
        data: Whether it reads listings.
    """

    work: Work
    about: str
    required: dict[str, str]
    optional: dict[str, str]
    data: bool = False


OUT = {"out": "folder for the matches of all listings of the index"}
VERBS = {
    "add": Verb(add, "Add listings to an index, or put them in the place of those with their ids.", {}, OUT, data=True),
    "remove": Verb(
        remove, "Remove listings from an index.", {"ids": "table, or text file with an id per line, to remove"}, OUT
    ),
    "query": Verb(
        query,
        "Say which listings of an index sell the product of a title, an image or both.",
        {},
        {"title": "title to look for", "image": "image file to look for"},
    ),
    "rebuild": Verb(rebuild, "Match all listings of an index at once, which is exact.", {}, OUT),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python -m ensemble.index`."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] not in VERBS:
        parser = argparse.ArgumentParser("python -m ensemble.index", description=__doc__)
        verbs = parser.add_subparsers(metavar="{" + ",".join(VERBS) + "}", required=True)
        for name, verb in VERBS.items():
            verbs.add_parser(name, help=verb.about)
        parser.parse_args(given)
    verb = VERBS[given[0]]

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, help="work with this bundle, and not with a run")
        parser.add_argument("--index", type=Path, required=True, help="folder of the index")
        for named, required in ((verb.required, True), (verb.optional, False)):
            for name, about in named.items():
                kind = str if name == "title" else Path
                parser.add_argument(f"--{name}", type=kind, required=required, help=about)

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if verb.data != (arguments.data is not None):
            raise MatcherError("--data NEW names the listings to add" if verb.data else "only `add` takes --data")
        verb.work(run, settings, arguments)

    return command(
        body,
        verb.about,
        ["data", "ensemble", "compute"],
        usage=f"python -m ensemble.index {given[0]}",
        new_data=True,
        only_reads=lambda arguments: True,
        options=options,
        opened=_opened,
        argv=given[1:],
    )


def _opened(arguments: argparse.Namespace) -> Run:
    if arguments.bundle is None:
        return Run(arguments.run)
    if arguments.run != DEFAULT_RUN:
        raise MatcherError("--run and --bundle both say what to match with; name one of them")
    return Bundle(arguments.bundle)


if __name__ == "__main__":
    raise SystemExit(main())
