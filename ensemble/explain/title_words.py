"""A title as it is written, cut into the passages that can be compared: quantities, words, and runs without blanks.

Everything is compared in its normalized form, and shown as it is written, so each passage keeps its place in the title.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from ensemble.features.attributes import COLORS, PARSERS, SIZES
from ensemble.features.marks import spelled_marks
from ensemble.features.quantities import Values, alternative_quantities, quantity_passages, replace_passages
from shared.titles import fold, normalize

KINDS = ("model", "size", "color", "number")  # of attributes that are single words
# First and last letters of scripts without blanks between words: Thai and Lao, Burmese, Khmer, kana and kanji.
_UNSPACED = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x30FF), (0x3400, 0x9FFF)]
_UNSPACED += [(0xF900, 0xFAFF), (0x20000, 0x3FFFF)]
_RUN = re.compile(r"u+|[wd]+(?:(?:'|(?<=d)\.(?=d))[wd]+)*")  # of letters' classes, see `_Classes`
_PART = re.compile("[^,'’]+")
_PIECE = re.compile(r"\S+")
_ESCAPE = re.compile(r"&#?\w{1,9};|\\[xu][0-9a-fA-F]{2}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Quantity:
    """A passage that states quantities.

    Args:
        start, end: Where it stands in the title.
        values: The quantities, such as `volume:500`.
    """

    start: int
    end: int
    values: Values


@dataclass(frozen=True)
class Word:
    """A word, or a run of letters of a script without blanks between words.

    Args:
        start, end: Where it stands in the title.
        key: Its normalized form, which equal words share.
        is_run: Whether it is of a script without blanks, and so is compared letter by letter.
    """

    start: int
    end: int
    key: str
    is_run: bool = False


@dataclass(frozen=True)
class TitleWords:
    """A title and its passages.

    Args:
        title: As written.
        quantities: What states quantities, in order.
        words: All other words, in order.

    Examples:
        >>> read = TitleWords.of("Tea ½ kg, RED")
        >>> [read.title[each.start : each.end] for each in read.quantities], [word.key for word in read.words]
        (['½ kg'], ['tea', 'red'])
    """

    title: str
    quantities: list[Quantity]
    words: list[Word]

    @classmethod
    def of(cls, title: str) -> TitleWords:
        """Return the passages of a title of any length."""
        quantities = list(_quantities(title))
        borders = [0, *(border for each in quantities for border in (each.start, each.end)), len(title)]
        gaps = zip(borders[::2], borders[1::2], strict=True)
        return cls(title, quantities, [word for start, end in gaps for word in _words(title, start, end)])

    @property
    def keys(self) -> set[str]:
        """Return the normalized words."""
        return {word.key for word in self.words}

    @property
    def joined_keys(self) -> set[str]:
        """Return each two words in a row as one, such as `powerbank` of "power bank"."""
        return {one.key + other.key for one, other in pairwise(self.words)}

    @property
    def attributes(self) -> set[str]:
        """Return the attributes that single words state, as `kind:value`."""
        return {value for word in self.words for value in attributes_of(word.key)}

    @property
    def alternative_quantities(self) -> Values:
        """Return what the quantities may be in other units."""
        return alternative_quantities(self.title)

    @property
    def all_quantities(self) -> set[str]:
        """Return the quantities that the title states."""
        return {value for quantity in self.quantities for value in quantity.values}


@lru_cache(maxsize=1 << 14)
def attributes_of(key: str) -> frozenset[str]:
    """Return the attributes that a normalized word states, as `kind:value`.

    Examples:
        >>> sorted(attributes_of("merah")), sorted(attributes_of("g950")), sorted(attributes_of("11"))
        (['color:red'], ['model:g950'], ['number:11'])
    """
    if _NUMBER.fullmatch(key):
        return frozenset([f"number:{key}"])
    kinds = [kind for kind, table in (("size", SIZES), ("color", COLORS)) if key in table]
    if any(map(str.isdigit, key)):
        kinds.append("model")
    return frozenset(f"{kind}:{value}" for kind in kinds for value in PARSERS[kind](key))


def plain(text: str) -> str:
    """Return a text of the same length in which look-alikes are equal: lower case, no full-width letters.

    Examples:
        >>> plain("ＡB")
        'ab'
    """
    return text.translate(_PLAIN)


def is_mark(char: str) -> bool:
    """Return whether a character belongs to the one before it, such as a vowel sign.

    Examples:
        >>> is_mark("ั"), is_mark("a")
        (True, False)
    """
    return unicodedata.category(char)[0] == "M"


class _Plain(dict[int, str]):
    """Table for `str.translate` from a character to its folded form, where that is one character."""

    def __missing__(self, code: int) -> str:
        folded = fold(chr(code))
        return self.setdefault(code, folded if len(folded) == 1 else chr(code))


class _Classes(dict[int, str]):
    """Table for `str.translate` from a character to its class.

    `d` is a digit, `u` a letter of a script without blanks, `w` any other part of a word, `'` an apostrophe, `.` a
    decimal separator, and a blank all else.
    """

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self._class(chr(code)))

    @staticmethod
    def _class(char: str) -> str:
        category = unicodedata.category(char)
        if char in "'’":
            return "'"
        if char in ".,":
            return "."
        if category[0] in "LNM" and any(first <= ord(char) <= last for first, last in _UNSPACED):
            return "u"
        if category == "Nd":
            return "d"
        return "w" if category[0] in "LNM" or category == "Cf" else " "


_PLAIN, _CLASSES = _Plain(), _Classes()


def _words(title: str, start: int, end: int) -> Iterator[Word]:
    """Yield the words between two places of a title."""
    for piece in _PIECE.finditer(title, start, end):
        if not _ESCAPE.search(piece[0]):
            yield from _runs(title, piece.start(), piece.end())
        elif key := normalize(piece[0]):  # a word with an escape is one word
            yield Word(piece.start(), piece.end(), key)


def _runs(title: str, start: int, end: int) -> Iterator[Word]:
    """Yield the words between two places of a title that hold no escapes."""
    for run in _RUN.finditer(title[start:end].translate(_CLASSES)):
        here, there = start + run.start(), start + run.end()
        key = _normalized(title[here:there])
        if " " in key:  # a list such as "38,39,40", or feet and inches
            parts = [(here + part.start(), here + part.end()) for part in _PART.finditer(title[here:there])]
            yield from (Word(a, b, form) for a, b in parts if (form := _normalized(title[a:b])))
        elif key:
            yield Word(here, there, key, run[0][0] == "u")


_normalized = lru_cache(maxsize=1 << 14)(normalize)


# --- quantities and their places --------------------------------------------------------------------------------------


def _quantities(title: str) -> Iterator[Quantity]:
    """Yield the passages of a title that state quantities; those that share a character are one."""
    text, start, end = _folded(title)
    marks = spelled_marks(text)
    text, start, end = replace_passages(text, marks), _spelled(start, marks, 0), _spelled(end, marks, -1)
    last: Quantity | None = None
    for begin, stop, values in quantity_passages(text):
        here = Quantity(start[begin], end[stop - 1], values)
        if last is not None and here.start < last.end:
            here = Quantity(last.start, max(here.end, last.end), last.values | values)
        elif last is not None:
            yield last
        last = here
    if last is not None:
        yield last


def _folded(title: str) -> tuple[str, list[int], list[int]]:
    """Return the folded title, and where each of its characters starts and ends in the title."""
    parts: list[str] = []
    start: list[int] = []
    end: list[int] = []
    for here, there in _cuts(title):
        part = fold(title[here:there])
        parts.append(part)
        if len(part) == there - here:
            start += range(here, there)
            end += range(here + 1, there + 1)
        else:
            start += [here] * len(part)
            end += [there] * len(part)
    return "".join(parts), start, end


def _cuts(title: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a title that are folded one by one: between blanks, or single characters with their marks.

    Characters are folded alone only where this gives the same text, and where a longer part changes its length.
    """
    for piece in re.finditer(r"\s+|\S+", title):
        text, folded = piece[0], fold(piece[0])
        borders = [0, len(text)]
        if len(folded) != len(text):
            letters = [*(index for index, char in enumerate(text) if index == 0 or not is_mark(char)), len(text)]
            if "".join(fold(text[a:b]) for a, b in pairwise(letters)) == folded:
                borders = letters
        yield from ((piece.start() + a, piece.start() + b) for a, b in pairwise(borders))


def _spelled(places: list[int], marks: list[tuple[int, int, str]], side: int) -> list[int]:
    """Return the places of the characters of a text after marks have become words.

    Args:
        places: Of each character before.
        marks: Start and end of each mark, and its word.
        side: Which of the places of a mark's characters the letters of the word have: 0, the first; -1, the last.
    """
    spelled: list[int] = []
    position = 0
    for start, end, word in marks:
        spelled += [*places[position:start], *[places[start:end][side]] * len(word)]
        position = end
    return spelled + places[position:]
