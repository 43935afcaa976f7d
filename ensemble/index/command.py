"""What `python -m ensemble.match` does with `--index`: add, update and remove listings, or ask about one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ensemble.index.grow import grow, plan
from ensemble.index.state import CHANGES, State, write_changes
from ensemble.matcher import Matcher
from ensemble.result import Result
from shared.catalog import DataConfig
from shared.errors import MatcherError, raise_faults
from shared.pools import new_catalog
from shared.run import Run, digest, replaced_folder
from shared.schema import Catalog
from shared.settings import Settings
from shared.snapshots import Snapshot, Snapshots
from shared.table import printable, read_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of an index."""
    parser.add_argument("--index", type=Path, help="keep the listings in this index, and match all that it then holds")
    parser.add_argument("--remove", type=Path, help="with --index: table or .txt file with the posting ids to remove")


def change_index(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    """Add, update and remove listings of an index, and write the matches of all that it then holds.

    Args:
        run: A bundle or a finished run; it is only read.
        settings: Its settings, with the data to add.
        arguments: `index`, `data`, `remove`, `out`.

    Raises:
        MatcherError: The listings cannot be read, or an id to remove is not in the index; nothing has changed then.
        ArtefactError: The run or the index is damaged, or the index was made with another one.
    """
    if arguments.out is None or (arguments.data is None and arguments.remove is None):
        raise MatcherError("--index takes --data NEW, --remove IDS or both, and --out FOLDER for the matches of it all")
    matcher, snapshots = Matcher.of_run(run, settings), Snapshots(arguments.index)
    removed = read_ids(arguments.remove, settings[DataConfig].id_column) if arguments.remove else []
    with snapshots.locked():
        present = opened(snapshots, matcher)
        given = None if arguments.data is None else new_catalog(settings)
        asked = _digest(given, removed)
        state, number = (State.load(present.folder), present.number) if present else (State(), 0)
        if present and present.about["asked"] == asked:
            run.say("the index holds what was asked for already")
            removed, given = [], None
        planned = plan(state.catalog, given, removed)
        if not removed and not len(planned.added):
            result = Result.decided(matcher.decision, state.catalog, state.pairs)
        else:
            state, result = grow(matcher, state, number + 1, planned)
            snapshots.write(number, {"matcher": matcher.digest, "asked": asked}, state.save)
        _write(state, result, arguments.out)
    run.say(" · ".join(f"{label} {count:,}" for label, count in {**planned.counts, **result.summary()}.items()))
    run.say(f"written to {arguments.out}")


def opened(snapshots: Snapshots, matcher: Matcher) -> Snapshot | None:
    """The present snapshot of an index; None where there is none yet.

    Raises:
        MatcherError: It was made with another matcher.
        ArtefactError: It is damaged.
    """
    present = snapshots.current()
    if present and present.about["matcher"] != matcher.digest:
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


def _write(state: State, result: Result, out: Path) -> None:
    with replaced_folder(out) as folder:
        result.save(folder)
        pq.write_table(state.groups(), folder / "groups.parquet")
        write_changes(folder / CHANGES, state.changes)
