"""What of a catalog's listings was not used, and why, so that nothing is set aside in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from shared.catalog.tables import printable
from shared.schema import NORMALIZED_TITLE, UNUSED, Catalog

TITLE, IMAGE, HASH, LABEL = "title", "image", "image_phash", "label_group"  # what was not used
MISSING_WORD = "a word for a missing value"
NO_HASH = "not a perceptual hash of 64 bits"
HALF = "half a surrogate pair in it"
BLANKS = "blanks at its ends"
UNREADABLE, NOTHING_LEFT = "cannot be read", "no letter or digit in it"
SHARED = "many unlike listings share it"
_SCHEMA = pa.schema([pa.field("posting_id", pa.string()), *UNUSED])

Note = dict[str, str]  # what, value, reason


def note(what: str, value: str, reason: str) -> Note:
    """Return an element of a catalog's column `not_used`.

    Examples:
        >>> note("image_phash", "xyz", NO_HASH)
        {'what': 'image_phash', 'value': 'xyz', 'reason': 'not a perceptual hash of 64 bits'}
    """
    return {"what": what, "value": printable(value, 200), "reason": reason}


def with_notes(column: Iterable[Any], more: dict[int, list[Note]]) -> list[Any]:
    """Return the values of a catalog's column `not_used` with more notes.

    Args:
        column: The column, n values.
        more: Row → its notes.

    Examples:
        >>> with_notes([None, None], {1: [note("title", "nan", MISSING_WORD)]})[1][0]["value"]
        'nan'
    """
    return [[*(notes or []), *more[row]] if row in more else notes for row, notes in enumerate(column)]


def not_used(catalog: Catalog) -> pa.Table:
    """Return what was not used: columns `posting_id`, `what`, `value` and `reason`, in the order of the listings.

    These are images and hashes that cannot be read, titles of which nothing or only a part can be read, words for a
    missing value, blanks at the ends of labels, and evidence that many unlike listings share.

    Args:
        catalog: n listings, as they were matched.

    Examples:
        >>> listings = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["Mug", "!!"]})
        >>> not_used(listings).to_pylist()
        [{'posting_id': 'b', 'what': 'title', 'value': '!!', 'reason': 'no letter or digit in it'}]
    """
    rows = sorted([*_unread_images(catalog), *_unread_titles(catalog), *_noted(catalog)], key=lambda pair: pair[0])
    ids = catalog.ids
    return pa.Table.from_pylist([{"posting_id": ids[row], **what} for row, what in rows], schema=_SCHEMA)


def in_words(catalog: Catalog) -> str | None:
    """Return how much was not used and why, with an example each; None where there is nothing.

    Images that cannot be used and evidence that many listings share have lines of their own
    (`shared.catalog.unusable_images`, `shared.catalog.placeholders.SetAside`).

    Examples:
        >>> in_words(Catalog.from_columns({"posting_id": ["a", "b"], "title": ["Mug", "!!"]}))
        "title: no letter or digit in it 1 (such as '!!' of b)"
    """
    notes = not_used(catalog).to_pylist()
    return counted(
        [of for of in notes if of["what"] != IMAGE or of["reason"] == MISSING_WORD if of["reason"] != SHARED]
    )


def counted(notes: Iterable[Note]) -> str | None:
    """Return rows of `not_used` in words: how many there are of each kind, with an example; None where there are none.

    Examples:
        >>> counted([{"posting_id": "b", "what": "title", "value": "nan", "reason": MISSING_WORD}] * 2)
        "title: a word for a missing value 2 (such as 'nan' of b)"
    """
    kinds: dict[tuple[str, str], list[Note]] = {}
    for of in notes:
        kinds.setdefault((of["what"], of["reason"]), []).append(of)
    words = [
        f"{what}: {reason} {len(of_kind):,} (such as {printable(of_kind[0]['value'], 30)!r} of "
        f"{printable(of_kind[0]['posting_id'])})"
        for (what, reason), of_kind in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
    return " · ".join(words) or None


def _unread_images(catalog: Catalog) -> Iterator[tuple[int, Note]]:
    names, faults = catalog.column("image"), catalog.column("image_fault")
    for row in np.flatnonzero(catalog.table.column("image_fault").is_valid().to_numpy()).tolist():
        yield row, note(IMAGE, names[row] or "", faults[row])


def _unread_titles(catalog: Catalog) -> Iterator[tuple[int, Note]]:
    read = catalog.table.column(NORMALIZED_TITLE.name).is_valid().to_numpy()
    titles, is_unreadable = catalog.titles, catalog.has_unreadable_title
    for row in np.flatnonzero(~read).tolist():
        if titles[row].strip():
            yield row, note(TITLE, titles[row], UNREADABLE if is_unreadable[row] else NOTHING_LEFT)


def _noted(catalog: Catalog) -> Iterator[tuple[int, Note]]:
    column = catalog.table.column("not_used")
    rows = np.flatnonzero(column.is_valid().to_numpy())
    for row, notes in zip(rows.tolist(), column.take(pa.array(rows)).to_pylist(), strict=True):
        yield from ((row, of) for of in notes)
