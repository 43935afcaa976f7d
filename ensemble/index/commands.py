"""What `python -m ensemble.match` does with `--index`: add, update and remove listings, or ask about one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pyarrow.parquet as pq

from branches.stages import learns
from ensemble.config import EnsembleConfig
from ensemble.index.query import Questions
from ensemble.index.snapshots import Snapshot, Snapshots
from ensemble.index.state import CHANGES, State, write_changes
from ensemble.index.update import grow, plan
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher, matcher_digest
from shared.catalog.config import DataConfig
from shared.catalog.reader import catalog_of, unusable_images
from shared.catalog.source import Source
from shared.catalog.tables import Table, check_file, printable, read_table
from shared.compute import ComputeConfig
from shared.errors import MatcherError, raise_faults
from shared.pipeline.pools import new_catalog
from shared.pipeline.run import Run, digest, replaced_folder
from shared.pipeline.settings import Settings, merge
from shared.schema import Catalog


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of an index."""
    parser.add_argument("--index", type=Path, help="keep the listings in this index, and match all that it then holds")
    parser.add_argument("--remove", type=Path, help="with --index: table or .txt file with the posting ids to remove")
    parser.add_argument("--title", help="with --index: ask which listings sell the product of this title")
    parser.add_argument("--image", type=Path, help="with --index: ask which listings sell the product of this picture")


def uses_index(arguments: argparse.Namespace) -> bool:
    """Whether one of the options of an index is given.

    Raises:
        MatcherError: One is, and the index is not, or with one that says nothing for an index.
    """
    named = [name for name in ("remove", "title", "image") if getattr(arguments, name) is not None]
    if named and arguments.index is None:
        raise MatcherError(f"--{named[0]} is for an index; name it with --index FOLDER")
    if arguments.evaluate and arguments.index is not None:
        raise MatcherError("--evaluate judges a catalog that is matched by itself; leave --index or --evaluate away")
    return arguments.index is not None


def use_index(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Change an index, or ask it.

    Args:
        run: A bundle or a finished run; it is only read.
        settings: Its settings, with the data to add.
        arguments: `index`, and `data`, `remove` and `out`, or `title` and `image`.
    """
    if arguments.title is None and arguments.image is None:
        change_index(run, settings, arguments)
    elif arguments.data is None and arguments.remove is None and arguments.out is None:
        ask_index(run, settings, arguments)
    else:
        raise MatcherError("--title and --image ask an index and change nothing; leave --data, --remove and --out away")


def change_index(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Add, update and remove listings of an index, and write the matches of all that it then holds.

    Args:
        run: A bundle or a finished run; it is only read.
        settings: Its settings, with the data to add.
        arguments: `index`, `data`, `remove`, `out`.

    Raises:
        MatcherError: The listings cannot be read, a listing would lose its picture, or an id to remove is not in the
            index; nothing has changed then.
        ArtifactError: The run or the index is damaged, or the index was made with another one.
    """
    if arguments.out is None or (arguments.data is None and arguments.remove is None):
        raise MatcherError("--index takes --data NEW, --remove IDS or both, and --out FOLDER for the matches of it all")
    matcher, snapshots = Matcher.of_run(run, settings), Snapshots(arguments.index)
    removed = read_ids(arguments.remove, settings[DataConfig].id_column) if arguments.remove else []
    with snapshots.locked():
        present = opened(snapshots, matcher.digest)
        if present is None and arguments.data is None:
            raise MatcherError(_no_index(arguments.index))
        given = None if arguments.data is None else new_catalog(settings)
        if given and (line := unusable_images(given)):
            run.say(line)
        asked = _digest(given, removed)
        state, number = (State.load(present.folder), present.number) if present else (State(), 0)
        if present and present.about["asked"] == asked:
            run.say("the index holds what was asked for already")
            removed, given = [], None
        planned = plan(state.catalog, given, removed)
        if not removed and not len(planned.added):
            result = MatchResult.from_scores(matcher.decision, state.catalog, state.pairs.scored())
        else:
            state, result = grow(matcher, state, number + 1, planned)
            snapshots.write(number, {"matcher": matcher.digest, "asked": asked}, state.save)
        _write(state, result, arguments.out)
    run.say(" · ".join(f"{label} {count:,}" for label, count in {**planned.counts, **result.summary()}.items()))
    run.say(f"written to {arguments.out}")


def ask_index(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Say which listings of an index sell the product of one title, one picture or both.

    Raises:
        MatcherError: There is no such index, or the picture cannot be used.
        ArtifactError: The run or the index is damaged.
    """
    start = perf_counter()
    present = opened(Snapshots(arguments.index), matcher_digest(run, settings))
    if present is None:
        raise MatcherError(_no_index(arguments.index))
    asked = question(settings, arguments.title, arguments.image)
    one_by_one = {name: {"embed_batch": 1} for name in settings[EnsembleConfig].branches if learns(name)}
    matcher = Matcher.of_run(run, Settings(merge(settings.values, one_by_one)))
    questions = Questions(matcher, State.load(present.folder))
    loaded = perf_counter()
    answers = questions.ask(asked)
    for answer in answers:
        verdict = "match" if answer.matches else "no match"
        run.say(f"{verdict:<9} {answer.score:.3f}  {answer.posting_id}  {printable(answer.title)}")
        run.say(f"{'':<16} group {answer.group_id} · {answer.reasons}")
    if not answers:
        run.say("the index holds nothing like it")
    run.say(f"loaded in {loaded - start:.1f} s, answered in {perf_counter() - loaded:.1f} s")


def _no_index(folder: Path) -> str:
    return f"there is no index {folder}; --data NEW --out FOLDER makes one"


def question(settings: Settings, title: str | None, image: Path | None) -> Catalog:
    """The listing that an index is asked about, its posting id empty.

    Raises:
        MatcherError: It has no title and no picture, or the picture cannot be used.
    """
    config = DataConfig(max_pixels=settings[DataConfig].max_pixels)
    if image is not None:
        check_file(image)
    picture = "" if image is None else image.name
    table = Table({"posting_id": [""], "title": [title or ""], "image": [picture]})
    folder = None if image is None else image.absolute().parent
    source = Source(Path("--image"), folder)
    catalog = catalog_of(table, source, config, settings[ComputeConfig], labeled=False, progress=False)
    if fault := catalog.column("image_fault")[0]:
        raise MatcherError(f"{image}: {fault}")
    if not catalog.normalized_titles[0] and not image:
        raise MatcherError("an empty title says nothing; name a --title or an --image")
    return catalog


def opened(snapshots: Snapshots, matcher: str) -> Snapshot | None:
    """The present snapshot of an index; None where there is none yet.

    Args:
        snapshots: The index.
        matcher: Digest of the matcher that it is to be used with.

    Raises:
        MatcherError: It was made with another matcher.
        ArtifactError: It is damaged.
    """
    present = snapshots.current()
    if present and present.about["matcher"] != matcher:
        raise MatcherError(
            f"{snapshots.folder} was made with another bundle or run, or other settings: its embeddings and groups are "
            "not comparable; use what it was made with, or make a new index of all listings"
        )
    return present


def read_ids(path: Path, column: str) -> list[str]:
    """Posting ids of a table, from one of its columns, or of a text file, a line each; as written, each once.

    Raises:
        MatcherError: The file cannot be read or has faults; all are named.
    """
    if path.suffix == ".txt":
        check_file(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MatcherError(f"{path}: cannot be read: {error}") from None
        return list(dict.fromkeys(filter(None, lines)))
    table = read_table(path)
    faults = [f"row {row}: {what}" for row, what in table.faults]
    if column not in table.columns:
        faults.append(f"no column {column!r} (columns: {', '.join(map(printable, table.columns)) or 'none'})")
    raise_faults(str(path), faults)
    return list(dict.fromkeys(filter(None, table.columns[column])))


def _digest(given: Catalog | None, removed: Sequence[str]) -> str:
    """What is asked for; asking for the same again, after a kill, say, changes nothing."""
    return digest([given.table.to_pydict() if given else None, sorted(removed)])


def _write(state: State, result: MatchResult, out: Path) -> None:
    with replaced_folder(out) as folder:
        result.save(folder)
        pq.write_table(state.groups(), folder / "groups.parquet")
        write_changes(folder / CHANGES, state.changes)
