"""The commands `python -m ensemble.index add|remove|query|rebuild`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from branches import registry
from ensemble.bundle.settings import check_bundled
from ensemble.config import EnsembleConfig
from ensemble.index.index import Index
from ensemble.index.listings import question, read_ids
from ensemble.match import open_matcher, open_store
from ensemble.matcher import Matcher, check_current, matcher_digest
from ensemble.sections import sections
from shared.catalog.config import DataConfig
from shared.catalog.not_used import in_words
from shared.catalog.reader import read_catalog
from shared.catalog.source import new_source
from shared.catalog.tables import printable
from shared.catalog.unusable_images import unusable_images
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import require_labeled_run
from shared.pipeline.cli import Arguments, Command, Parser, run_subcommand
from shared.pipeline.settings import Settings

USAGE = "python -m ensemble.index"
Work = Callable[[Any, Settings, Arguments], None]


def add(store: Any, settings: Settings, arguments: Arguments) -> None:
    """Add the listings that `--data` names; each replaces the one in the index that has its id."""
    index, data = _open(store, settings, arguments), settings[DataConfig]
    catalog = read_catalog(new_source(data), data, settings[ComputeConfig], labeled=False)
    if line := unusable_images(catalog):
        print(line)
    if line := in_words(catalog):
        print(f"not used: {line}")
    _conclude(index, index.add(catalog, answers=arguments.answers), arguments.out)


def remove(store: Any, settings: Settings, arguments: Arguments) -> None:
    """Remove the listings that `--ids` names."""
    index = _open(store, settings, arguments)
    ids = read_ids(arguments.ids, settings[DataConfig].id_column)
    _conclude(index, index.remove(ids, arguments.answers), arguments.out)


def rebuild(store: Any, settings: Settings, arguments: Arguments) -> None:
    """Match all listings of an index at once."""
    index = _open(store, settings, arguments)
    _conclude(index, index.rebuild(arguments.answers), arguments.out)


def query(store: Any, settings: Settings, arguments: Arguments) -> None:
    """Print the listings of an index that sell the product of a title, an image or both."""
    listing, start = question(settings, arguments.title, arguments.image), perf_counter()
    learning = [name for name in settings[EnsembleConfig].branches if registry.get(name).learns]
    one_by_one = settings.changed({name: {"embed_batch": 1} for name in learning})
    if arguments.bundle is None:
        require_labeled_run(store)
        check_current(store, settings)
    else:
        check_bundled(store, settings)
    matcher = Matcher(store, one_by_one)
    index = Index.open(arguments.index, matcher, made_with=matcher_digest(store, settings))
    index.load()
    load_end = perf_counter()
    hits = index.query(listing)[0]
    for hit in hits:
        verdict = "match" if hit.matches else "no match"
        print(f"{verdict:<9} {hit.score:.3f}  {hit.posting_id}  {printable(hit.title)}")
        print(f"{'':<16} group {hit.group_id} · {hit.reasons}")
    if not hits:
        print("no similar listing")
    print(f"loaded in {load_end - start:.1f} s, answered in {perf_counter() - load_end:.1f} s")


def _open(store: Any, settings: Settings, arguments: Arguments) -> Index:
    return Index.open(arguments.index, open_matcher(store, settings, arguments))


def _checked(name: str, work: Work) -> Work:
    """Return the work of a command after a check that `--data` is there for `add` and for no other command."""

    def body(store: Any, settings: Settings, arguments: Arguments) -> None:
        if name == "add" and arguments.data is None:
            raise MatcherError("name the listings to add with --data (a folder or a table)")
        if name != "add" and arguments.data is not None:
            raise MatcherError("only `add` takes --data")
        if name == "add" and settings[DataConfig].duplicates != "unknown":
            raise MatcherError("an index takes no data.duplicates; ensemble.match decides a whole catalog with it")
        work(store, settings, arguments)

    return body


def _conclude(index: Index, counts: dict[str, int], out: Path | None) -> None:
    result = index.state.result()
    if line := result.set_aside.line:
        print(line)
    if result.answers is not None and (line := result.answers.line):
        print(line)
    summary = {**counts, **result.summary()}
    print(" · ".join(f"{label.replace('_', ' ')} {count:,}" for label, count in summary.items()))
    for line in result.warnings:
        print(line)
    if due := index.state.rebuild_due:
        print(due)
    if out is not None:
        index.save(out)
        print(f"written to {out}")


# --- the command line ------------------------------------------------------------------------------------------------


def _of_index(parser: Parser) -> None:
    parser.add_argument("--bundle", type=Path, help="use this bundle instead of a run")
    parser.add_argument("--index", type=Path, required=True, help="folder of the index")


def _with_out(parser: Parser) -> None:
    _of_index(parser)
    parser.add_argument("--out", type=Path, help="folder for the matches of all listings of the index")
    what = "file of people's answers about pairs of listings; the index takes them over and keeps to them"
    parser.add_argument("--answers", type=Path, help=what)


def _of_remove(parser: Parser) -> None:
    _with_out(parser)
    parser.add_argument("--ids", type=Path, required=True, help="table, or .txt file with an id per line")


def _of_query(parser: Parser) -> None:
    _of_index(parser)
    parser.add_argument("--title", help="title to look for")
    parser.add_argument("--image", type=Path, help="image file to look for")


def commands() -> dict[str, Command]:
    """Return the commands by name.

    Examples:
        >>> sorted(commands())
        ['add', 'query', 'rebuild', 'remove']
    """
    parts = {
        "add": (add, "Add listings to an index; each replaces the one in the index that has its id.", _with_out),
        "remove": (remove, "Remove listings from an index.", _of_remove),
        "query": (
            query,
            "Show the listings of an index that sell the product of a title, an image or both.",
            _of_query,
        ),
        "rebuild": (
            rebuild,
            "Match all listings of an index at once; the result is exactly that of a match.",
            _with_out,
        ),
    }
    return {
        name: Command(
            f"{USAGE} {name}",
            about,
            sections(),
            ["data", "ensemble", "compute"],
            _checked(name, work),
            options=options,
            new_data=True,
            opened=open_store,
            holds=lambda arguments: False,
            force=False,
        )
        for name, (work, about, options) in parts.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands of an index."""
    return run_subcommand(USAGE, commands(), argv)


if __name__ == "__main__":
    raise SystemExit(main())
