"""Faults of a table of listings: all of them at once, each with its row and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.catalog.cells import is_missing
from shared.catalog.config import DataConfig
from shared.catalog.tables import Table, printable
from shared.errors import raise_faults

COLUMN_SETTINGS = ("id_column", "title_column", "image_column", "phash_column", "label_column")

# What other exports call a column, in lower case and without punctuation.
_OTHER_NAMES = {
    "id_column": ("id", "listingid", "itemid", "productid", "offerid", "sku"),
    "title_column": ("name", "productname", "producttitle", "itemname", "listingtitle", "description"),
    "image_column": ("img", "picture", "photo", "file", "filename", "imagename", "imagefile", "imagepath"),
    "label_column": ("label", "labels", "group", "groupid", "product", "productgroup", "cluster", "clusterid"),
}


@dataclass(frozen=True)
class Advice:
    """What to do about a fault, in words for people with a table or for people with a frame.

    Args:
        rename: Where a column seems to have another name.
        drop: Added to `rename` where a catalog can do without the column.
        name: Where a column is missing.
        name_any: Where there is nothing to compare listings by.
        find_images: Where no image of the table is in the image folder.
        follow_links: Where all of them are links out of it.
        fetch_images: Where the table holds URLs.
        inside: Where all names are absolute or climb out of the image folder.
    """

    rename: str
    drop: str
    name: str
    name_any: str
    find_images: str
    follow_links: str
    fetch_images: str
    inside: str


TABLE_ADVICE = Advice(
    rename="say --data.{setting}={near}",
    drop=", or --data.{setting}= if there is none",
    name="; name it with --data.{setting}=",
    name_any="; see --data.title_column, --data.image_column",
    find_images="name their folder with --data.images=, or use --data.image_column= to do without",
    follow_links="if you trust them, say --data.follow_links=true, or use --data.image_column= to do without",
    fetch_images="download them into a folder `images` beside the table and write their file names, such as {name}, "
    "into the column {column}; or use --data.image_column= to do without",
    inside="write the names as they are seen from that folder, name another one with --data.images=, or use "
    "--data.image_column= to do without",
)
FRAME_ADVICE = Advice(
    rename="rename it to {name!r}",
    drop=", or leave it out if it is not",
    name="",
    name_any="",
    find_images="give the folder they lie in, or none to do without",
    follow_links="if you trust them, say follow_links=True (Matcher.match, Matcher.read), or give no folder to do "
    "without",
    fetch_images="download them into a folder, write their file names, such as {name}, into the column {column}, and "
    "give the folder; or leave the column out",
    inside="write the names as they are seen from that folder, give another one, or none to do without",
)


def check_table(table: Table, place: str, config: DataConfig, labeled: bool, advice: Advice = TABLE_ADVICE) -> None:
    """Raise one error that names all faults of a table, or return when there is none.

    Args:
        table: The listings.
        place: The table in words, for the first line of the error.
        config: Names of the columns.
        labeled: Whether label groups are needed.
        advice: Words for what to do.

    Raises:
        MatcherError: A row has faults, an id is empty or occurs twice, all labels are missing where `labeled`, or a
            column is missing that is needed or named in the settings.

    Examples:
        >>> table = Table({"posting_id": ["1", "1", ""], "title": ["Mug", "Fan", "Lamp"]})
        >>> check_table(table, "t.csv", DataConfig(), labeled=False)
        Traceback (most recent call last):
        shared.errors.MatcherError: t.csv: 2 faults
          - row 2: id '1' stands in row 1 already
          - row 3: empty posting_id
    """
    faults = [*table.faults, *_column_faults(table, config, labeled, advice), *_value_faults(table, config, labeled)]
    lines = [f"row {row}: {fault}" if row else fault for row, fault in sorted(faults, key=lambda pair: pair[0])]
    raise_faults(place, lines)


def has_labels(table: Table, config: DataConfig) -> bool:
    """Return whether a table is to be read as a labeled one, so that listings with a label are learned from.

    It is not where `data.label_column` is empty, where no row has a value in that column, and where the table has
    neither the column nor one that it may be by another name. A column that was named and is missing is a fault of a
    labeled table.

    Args:
        table: The listings.
        config: Names of the columns.

    Examples:
        >>> titles, none, some = {"title": ["Mug", "Fan"]}, {"label_group": ["", "nan"]}, {"label_group": ["1", ""]}
        >>> [has_labels(Table(titles | labels), DataConfig()) for labels in ({}, none, some)]
        [False, False, True]
    """
    name = config.label_column
    if name in table.columns:
        return any(not is_missing(label) for label in table.columns[name])
    return bool(name) and (_is_named(config, "label_column") or _namesake(table, config, "label_column") is not None)


def missing_column(table: Table, config: DataConfig, setting: str, advice: Advice = TABLE_ADVICE) -> str | None:
    """Return why a column that is not there is a fault, and what to do; None where it is there or not needed.

    Args:
        table: The listings.
        config: Names of the columns.
        setting: One of `COLUMN_SETTINGS`.
        advice: Words for what to do.
    """
    name, columns = getattr(config, setting), list(table.columns)
    if not name or name in columns:
        return None
    near = _namesake(table, config, setting)
    if setting in ("id_column", "label_column") or near or _is_named(config, setting):
        return f"no column {name!r}{_about_column(setting, name, near, advice)} (columns: {_shown(columns)})"
    return None


def _is_named(config: DataConfig, setting: str) -> bool:
    """Return whether a user named the column of a setting."""
    return bool(getattr(config, setting) != DataConfig.model_fields[setting].default)


def _namesake(table: Table, config: DataConfig, setting: str) -> str | None:
    """Return the column that no setting names and that most likely is the one of a setting, by another name."""
    in_use = {getattr(config, other) for other in COLUMN_SETTINGS} - {""}
    # A name that holds several of them is a header that nothing parts.
    others = [each for each in table.columns if each not in in_use and sum(name in each for name in in_use) < 2]
    return _nearest(setting, getattr(config, setting), others)


def _column_faults(table: Table, config: DataConfig, labeled: bool, advice: Advice) -> Iterator[tuple[int, str]]:
    columns = list(table.columns)
    if not columns:  # what no row holds is told by the faults of the rows
        yield from [] if table.faults else [(0, "the file is empty")]
        return
    for setting in COLUMN_SETTINGS:
        fault = missing_column(table, config, setting, advice)
        if fault and (labeled or setting != "label_column"):
            yield 0, fault
    if not {config.title_column, config.image_column} & set(columns):
        yield 0, f"neither a title nor an image column (columns: {_shown(columns)}){advice.name_any}"
    if not len(table):
        yield 0, "no rows"


def _shown(columns: list[str]) -> str:
    return ", ".join(printable(name) for name in columns) or "none"


def _nearest(setting: str, name: str, columns: list[str]) -> str | None:
    """Return the column that most likely is the one that a setting names, by other exports' names or by spelling."""
    plain = {re.sub(r"[\W_]", "", column.casefold()): column for column in columns}
    others = (re.sub(r"[\W_]", "", name.casefold()), *_OTHER_NAMES.get(setting, ()))
    close = difflib.get_close_matches(others[0], plain, n=1, cutoff=0.75)
    return next((plain[other] for other in (*others, *close) if other in plain), None)


def _about_column(setting: str, name: str, near: str | None, advice: Advice) -> str:
    if near is None:
        return advice.name.format(setting=setting)
    drop = "" if setting == "id_column" else advice.drop.format(setting=setting)
    rename = advice.rename.format(setting=setting, near=printable(near), name=name)
    return f"; if it is {printable(near)!r}, {rename}{drop}"


def _value_faults(table: Table, config: DataConfig, labeled: bool) -> Iterator[tuple[int, str]]:
    broken = {row for row, _ in table.faults}

    def values(column: str) -> Iterator[tuple[int, str]]:
        rows = enumerate(table.columns.get(column, []), start=1)
        return ((row, value) for row, value in rows if row not in broken)

    first: dict[str, int] = {}
    for row, posting_id in values(config.id_column):
        if not posting_id.strip():
            yield row, f"empty {config.id_column}"
        elif first.setdefault(posting_id, row) != row:
            yield row, f"id {printable(posting_id)!r} stands in row {first[posting_id]} already"
    labels = table.columns.get(config.label_column, [])
    if labeled and labels and all(map(is_missing, labels)):
        yield 0, f"no row has a {config.label_column}; label some, or start without labels: --data.label_column="
