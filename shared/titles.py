"""The form of a title that words, encoders and the equal-title test see; `Catalog` has it as a column.

The order of the steps matters: escapes are decoded before punctuation goes, numbers are put in shape while their
separators still stand, and a unit is glued to its number once single spaces are left between words.

Of a title, the first 10,000 characters are read: everything that is done with titles takes the time of these at most.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from html.entities import html5
from itertools import dropwhile, groupby, islice

from shared.units import GLUED_WORDS

LONGEST = 10_000  # characters of a title that are read

_BYTES_LITERAL = re.compile(r"""\s*b(["'])(.*)\1\s*""", re.DOTALL)
_BYTE_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
# Without ";" a name would be part of a word as often: "pen&notebook", "grill&microwave".
_REFERENCE = re.compile(r"&(?:#(?P<number>[0-9]+);?|(?:#[xX][0-9a-fA-F]+|(?P<name>[a-zA-Z][a-zA-Z0-9]*));)")
_CODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_THOUSANDS = re.compile(r"(?<!\d)(?<!\d[.,])[1-9]\d{0,2}(?:[.,]\d{3})*[.,]000(?!\d)")
_SEVERAL = re.compile(r"(?<!\d)\d+(?:[.,]\d+){2,}")  # numbers with several separators: a list, or thousands
_WITH_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[.,]\d{3})+(?:[.,]\d+)?")
_DECIMAL = re.compile(r"(?<=\d)[.,](?=\d)")
# Between digits it parts thousands, or feet and inches: "1'500", "5'10".
_APOSTROPHE = re.compile(r"(?<=[^\W_])['\u2019](?:(?=[^\W\d_])|(?<!\d.)(?=\d)|(?=\d{3}(?!\d)))")
_PLUS = re.compile(r"(?<=[^\W_])\+(?![^\W_])")
_PERCENT = re.compile(r"(?<=\d) ?%")
_UNIT = re.compile(rf"(?<![^ ])(\d+(?:\.\d+)?) ({'|'.join(GLUED_WORDS)})(?![^ ])")

_BEFORE_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215f\u2189])")  # "1½" is not eleven halves
_MAX_MARKS = 30  # combining marks in a row, as in the Stream-Safe Text Format of Unicode (UAX #15, section 13)
_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{_MAX_MARKS + 1},}}")  # holds every longer run of marks

# Signs that stay, as private characters while everything else that is not a word character goes.
_KEPT = {"\ue000": ".", "\ue001": "+", "\ue002": "%"}
_DOT, _PLUS_SIGN, _PERCENT_SIGN = _KEPT
_FILLERS = "\u115f\u1160\u034f\u17b4\u17b5"  # letters and marks that show nothing
_DOTTED = re.compile("i\u0307+")  # what is left of the Turkish "İ" in lower case


class _Characters(dict[int, str]):
    """Table for `str.translate` that fills itself by a rule."""

    def __init__(self, rule: Callable[[str], str], fixed: dict[str, str]) -> None:
        super().__init__({ord(char): text for char, text in fixed.items()})
        self.rule = rule

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self.rule(chr(code)))


def _visible(char: str) -> str:
    """Return "" for joiners, directions, variation selectors, skin tones, surrogates and private characters.

    Digits of any script become those of ASCII.
    """
    hidden = "\ufe00" <= char <= "\ufe0f" or "\U0001f3fb" <= char <= "\U0001f3ff" or char in _FILLERS
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    return "" if hidden or category in ("Cf", "Cs", "Cn", "Co", "Me") else char


def _word_character(char: str) -> str:
    """Return a space for punctuation, symbols, emoji and control characters."""
    return char if unicodedata.category(char)[0] in "LNM" else " "


_VISIBLE = _Characters(_visible, {"\u066b": ".", "\u066c": ","})  # as Arabic titles part digits
_WORD_CHARACTERS = _Characters(_word_character, _KEPT)


def _decode_bytes(escapes: re.Match[str]) -> str:
    return bytes.fromhex(escapes[0].replace("\\x", "")).decode("utf-8", errors="replace")


def _decode(title: str) -> str:
    r"""Undo what exports leave behind: `b'...'`, `\xe2\x80\x9c`, `\u2019`, `&amp;`."""
    if literal := _BYTES_LITERAL.fullmatch(title):
        title = literal[2]
    if "\\" in title:
        title = _CODE_ESCAPE.sub(lambda m: chr(int(m[1], 16)), _BYTE_ESCAPES.sub(_decode_bytes, title))
    for _ in range(2):  # exports escape twice at most
        if "&" in title:
            title = _REFERENCE.sub(_referenced, title)
    return title


def _referenced(reference: re.Match[str]) -> str:
    """Return the characters that a reference stands for; the reference as it is if its name stands for none."""
    if reference["name"]:
        return html5.get(f"{reference['name']};", reference[0])
    if reference["number"]:  # Python refuses to read thousands of digits
        return html.unescape(f"&#{reference['number'].lstrip('0')[:8] or '0'};")
    return html.unescape(reference[0])


def _compose(text: str) -> str:
    """Return the text in NFKC, without the marks after the first 30 in a row: their order takes quadratic time."""
    return unicodedata.normalize("NFKC", _MARKS.sub(_limit_marks, text))


def _limit_marks(marks: re.Match[str]) -> str:
    runs = groupby(marks[0], lambda char: unicodedata.combining(char) > 0)
    return "".join("".join(islice(run, _MAX_MARKS if combines else None)) for combines, run in runs)


def fold(title: str) -> str:
    """Return a title with its signs: lower case, escapes decoded, nothing invisible, one code for look-alikes.

    Look-alikes are full-width letters, ligatures, accents, digits of other scripts, and the Turkish "İ" and "ı", which
    become "i". A fraction such as "½" becomes "1⁄2", apart from a number before it. What follows the first `LONGEST`
    characters of the title is left out.

    Examples:
        >>> fold("Tas &amp; ＤＯＭＰＥＴ 1,5 L")
        'tas & dompet 1,5 l'
    """
    text = _decode(title[:LONGEST])
    if text.isascii():
        return text.lower()
    text = _compose(_BEFORE_FRACTION.sub(" ", text)).translate(_VISIBLE).casefold()
    text = _DOTTED.sub("i", text.replace("ı", "i"))
    return _compose(text)[:LONGEST]  # one character may have become eighteen


def _mark_signs(text: str) -> str:
    text = _SEVERAL.sub(_part_list, _APOSTROPHE.sub("", text))
    text = _THOUSANDS.sub(lambda m: re.sub("[.,]", "", m[0]), text)
    text = _DECIMAL.sub(_DOT, text)
    return _PERCENT.sub(_PERCENT_SIGN, _PLUS.sub(_PLUS_SIGN, text))


def _part_list(numbers: re.Match[str]) -> str:
    """Return a list such as "38,39,40" with blanks between its numbers; any other number as it is."""
    return numbers[0] if _WITH_THOUSANDS.fullmatch(numbers[0]) else numbers[0].replace(",", " ")


def _word(token: str) -> str:
    """Return the token without leading combining marks, which have nothing to combine with."""
    if token[0].isalnum():
        return token
    return "".join(dropwhile(lambda c: unicodedata.category(c)[0] == "M", token))


def normalize(title: str) -> str:
    """Return a title in the form in which equal titles are equal strings.

    Lower case, NFKC, escapes and HTML entities decoded, emoji, control characters and punctuation gone. Decimals
    ("1,5" and "1.5", but not "38,39,40"), "%" after a number and "+" after a word stay; a unit is glued to its number
    ("500 ML" is "500ml"). Applying it twice changes nothing.

    Args:
        title: Any text, of any length; its first `LONGEST` characters are read.

    Returns:
        Words separated by single spaces; "" when nothing is left, which means: no title.

    Examples:
        >>> normalize("Tas &amp; Dompet -- 1,5 L / 100 % KULIT!!")
        'tas dompet 1.5l 100% kulit'
        >>> normalize("...")
        ''
    """
    words = _mark_signs(fold(title)).translate(_WORD_CHARACTERS).split()
    text = " ".join(words)
    if not text.isascii():  # letters that met when an apostrophe went may be one character
        text = _compose(" ".join(filter(None, map(_word, words))))
    return _UNIT.sub(r"\1\2", text)


def normalize_all(titles: Iterable[str]) -> list[str | None]:
    """Return every title as `normalize` writes it; equal titles are worked on once.

    Args:
        titles: n titles.

    Returns:
        n forms, in the order of the titles: "" where nothing is left of a title, None where a title cannot be read.
        Such a title ends nothing, whatever error it raises; its listing counts as one without a title.

    Examples:
        >>> normalize_all(["Red MUG", "", "red mug!"])
        ['red mug', '', 'red mug']
    """
    titles = list(titles)
    forms = {title: _normalized(title) for title in dict.fromkeys(titles)}
    return [forms[title] for title in titles]


def _normalized(title: str) -> str | None:
    try:
        return normalize(title)
    except Exception:  # of any kind: a title must not end the run of its catalog
        return None
