"""The quantities that a title states, read from the title as it is written.

Fractions, separators, quotes and multiplication signs say what a number means, and are gone from a normalized title; a
normalized title is read as far as it still says it. The units and their words are those of `shared.units`.

1. Inch and foot marks become words (`spelled_marks`).
2. Every number is found with the unit behind it (`_terms`).
3. Numbers that a sign joins ("6 x 330 ml", "120x80 cm", "250/500 ml") are read together (`_read_chain`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from shared.titles import fold
from shared.units import WORDS, Unit

Values = frozenset[str]

# Letters of scripts without spaces between words; a number may touch them ("洗发水500ml装").
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LETTER = rf"[^\W\d_{_UNSPACED}]"  # of any other script
_THAI_MARK = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_TIMES = "xх×*✕✖"  # the second one is Cyrillic
_SLASH = "[/\u2044]"  # the second one is what is left of "½"


def _any_of(words: list[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_IS_UNSPACED = re.compile(rf".*[{_UNSPACED}]")
_SPACED_WORDS = [word for word in WORDS if not _IS_UNSPACED.match(word) and word != "in"]
_UNSPACED_WORDS = [word for word in WORDS if _IS_UNSPACED.match(word)]
_END = rf"(?![\d_])(?!(?![{_TIMES}]\s?\d){_LETTER})(?!/s\b)"  # the unit ends, or "x6" follows; no "MB/s"
_UNIT = (
    rf"(?:(?P<spaced>fl\.?\s?oz|fluid\s(?:ounces?|oz)|{_any_of(_SPACED_WORDS)}"
    # "in" is a word more often than a unit: "3 in 1", "9 in box".
    rf"|(?:(?<=[\d-])in|in(?=\s?(?:[^\w\s-]|[{_TIMES}]\s?\d|$)))(?![\s-]*\d\b)){_END}"
    rf"|(?P<unspaced>{_any_of(_UNSPACED_WORDS)})(?![{_THAI_MARK}]))"
)
# A number is no part of a word, except behind "x" ("2x500ml") and "isi" ("isi10"), or glued to a whole word and a unit
# ("sabun500ml"), which `_is_part_of_word` checks.
_START = rf"(?<!\d)(?<!\d[.,])(?:(?<!{_LETTER})|(?<=[{_TIMES}])|(?<=isi)|(?<={_LETTER}{{4}}))"
_TERM = (
    rf"(?=[.\d]){_START}(?:"
    rf"(?:(?P<whole>\d{{1,3}})[ -])?(?<!{_SLASH})(?<!{_SLASH} )"
    rf"(?P<over>\d{{1,3}})\s?(?P<slash>{_SLASH})\s?(?P<under>\d{{1,3}})(?![.,]?\d)(?!\s?{_SLASH}\s?\d)"
    rf"|(?P<number>\d{{1,9}}(?!\d)(?:[.,]\d{{1,9}}(?!\d)){{0,3}}|(?<![\w.,])\.\d{{1,4}}(?!\d))"
    rf")(?:(?:\s{{0,2}}|-(?=\w\w)){_UNIT})?"
)
_JOINT = re.compile(rf"\s{{0,2}}(?:(?P<times>[{_TIMES}]|by)|{_SLASH})\s{{0,2}}")
_PACK = re.compile(r"(?<!\w)(?:isi|contents?|(?:pack|set|box|case|bundle|lot) (?:of|de|isi))\s{0,2}$")  # "isi 10"
_TIMES_BEFORE = re.compile(rf"(?<!\w)[{_TIMES}]\s{{0,2}}$")  # "tea x3"
_TIMES_BEHIND = re.compile(rf"\s{{0,2}}[{_TIMES}](?!\w)")  # "tea 3x"
_INCHES_BEHIND = re.compile(r"\s?in\b(?![\s-]*\d)")  # "8 x 10 in frame"
_LONG_WORD = re.compile(rf"{_LETTER}{{4}}$")
_MODEL_BEFORE = re.compile(rf"{_LETTER}-$")
_MODEL_BEHIND = re.compile(r"-\d+(?!\d)(?![^\W\d])(?! [^\W\d]{1,3}\b)")  # digits that have no unit
_LOOK_BACK = 16  # characters that hold any match of `_PACK`

_DOUBLE, _SINGLE = "\"”″|''|’’|′′", "'’′"
_MARK = re.compile(
    rf"(?<=\d)(?P<inch>[\"”″]|''|’’|′′)|(?<=\d)\s(?P<far_inch>[\"”″]|''|′′)(?!\w)"
    rf"|(?<=\d)(?P<foot>[{_SINGLE}])(?:(?![\w{_SINGLE}])|(?=\d{{1,2}}(?:[\"”″]|''|’’|′′)))"
    r"|(?P<double>[\"“”])|(?P<single>['‘’])"
)
_SYSTEMS = ("volume", "mass", "length")  # dimensions with metric and other units
_SIDES = ("length", "resolution")  # dimensions of which "120x80" states two, not 120 pieces


class _Term(NamedTuple):
    """A number of a title: where it stands with its unit, its value (None: unreadable), and the unit if it has one."""

    start: int
    end: int
    value: float | None
    unit: Unit | None


@lru_cache(maxsize=1 << 17)
def quantities(title: str) -> Values:
    """Return the quantities in a title, as `dimension:amount` in the dimension's base unit.

    Amounts have three significant digits where units of different systems meet (so that "16 oz" is "454 g"), else four.
    "6 x 330 ml" is six pieces and 330 ml; "120x80 cm" is two lengths; a title without a count states no count.

    Args:
        title: As written or normalized, of any length.

    Examples:
        >>> sorted(quantities("Sabun ½ L, isi 2")), sorted(quantities("cola 6x330ml"))
        (['count:2', 'volume:500'], ['count:6', 'volume:330'])
    """
    return read_quantities(title)[0]


def read_quantities(title: str) -> tuple[Values, str]:
    """Return the quantities in a title, and the folded title with a blank for each of them.

    Examples:
        >>> read_quantities("Lamp E27 5 watt")[1].split()
        ['lamp', 'e27']
    """
    folded = fold(title)
    text = replace_passages(folded, spelled_marks(folded))
    passages = quantity_passages(text)
    rest = replace_passages(text, ((start, end, " ") for start, end, _ in passages))
    return frozenset[str]().union(*(values for _, _, values in passages)), rest


def quantity_passages(text: str) -> list[tuple[int, int, Values]]:
    """Return the passages of a text that state quantities, in order: start, end, the quantities.

    Args:
        text: A folded title with inch and foot marks as words, see `spelled_marks`.

    Examples:
        >>> quantity_passages("tea 100 g, 2 pcs")
        [(4, 9, frozenset({'mass:100'})), (11, 16, frozenset({'count:2'}))]
    """
    read = ((chain[0].start, chain[-1].end, frozenset(_read_chain(text, chain))) for chain in _chains(text))
    return [(start, end, values) for start, end, values in read if values]


def replace_passages(text: str, passages: Iterable[tuple[int, int, str]]) -> str:
    """Return a text with other words in place of some passages.

    Args:
        text: The text.
        passages: Start, end and new words of each, in order and apart.

    Examples:
        >>> replace_passages("lamp 55 wide", [(5, 7, "60")])
        'lamp 60 wide'
    """
    parts, position = [], 0
    for start, end, words in passages:
        parts += [text[position:start], words]
        position = end
    return "".join([*parts, text[position:]])


def spelled_marks(text: str) -> list[tuple[int, int, str]]:
    """Return inch and foot marks as words: start and end of each mark, and its word.

    A mark that closes a quotation is none.

    Args:
        text: A folded title.

    Examples:
        >>> spelled_marks("tv 55″")
        [(5, 6, ' inch ')]
    """
    is_open, words = {"double": False, "single": False}, []
    for mark in _MARK.finditer(text):
        double, single = mark["inch"] or mark["far_inch"] or mark["double"], mark["foot"] or mark["single"]
        kind = "double" if double else "single"
        if not is_open[kind] and not mark["double"] and not mark["single"]:
            words.append((mark.start(), mark.end(), " inch " if double else " feet "))
            continue
        before = text[mark.start() - 1 : mark.start()]
        is_open[kind] = not is_open[kind] and not before.isalnum() and bool(double or single)
    return words


@cache
def _term_pattern() -> re.Pattern[str]:
    return re.compile(_TERM)  # takes a moment, with all the words of the units


def _terms(text: str) -> Iterator[_Term]:
    """Yield the numbers of a text in order."""
    end = None  # of the last number
    for match in _term_pattern().finditer(text):
        is_joined = end is not None and _JOINT.fullmatch(text, end, match.start()) is not None
        if not _is_part_of_word(text, match, is_joined):
            yield from _terms_of_match(text, match)
            end = match.end()


def _terms_of_match(text: str, match: re.Match[str]) -> Iterator[_Term]:
    """Yield the one number of a match, or the two or three that look like a fraction and are none."""
    word = _word(match)
    unit = WORDS["floz" if word.startswith("fl") else word] if word else None
    if match["number"]:
        yield _Term(match.start(), match.end(), _amount(match["number"], unit), unit)
        return
    whole, over, under = int(match["whole"] or 0), int(match["over"]), int(match["under"])
    if _is_fraction(over, under, match["slash"], unit):
        yield _Term(match.start(), match.end(), whole + over / under, unit)
        return
    if match["whole"]:
        yield _Term(match.start("whole"), match.end("whole"), float(whole), None)
    if not _MODEL_BEFORE.search(_before(text, match.start("over"))):
        yield _Term(match.start("over"), match.end("over"), float(over), None)
    yield _Term(match.start("under"), match.end(), float(under), unit)


def _word(match: re.Match[str]) -> str:
    return match["spaced"] or match["unspaced"] or ""


def _before(text: str, start: int) -> str:
    return text[max(start - _LOOK_BACK, 0) : start]


def _is_part_of_word(text: str, match: re.Match[str], is_joined: bool) -> bool:
    """Return whether a number, or the unit behind it, belongs to letters beside it, as in "BP-264", "811 CL-811"."""
    end, word, before = match.end(), _word(match), _before(text, match.start())
    is_glued = bool(word) and text[end - len(word) - 1].isdigit()
    if not word:
        behind = text[end : end + 1]
        if _MODEL_BEFORE.search(before) or (behind not in _TIMES and re.match(_LETTER, behind)):
            return True
    elif not is_glued and _MODEL_BEHIND.match(text, end):
        return True
    if is_joined or not re.match(_LETTER, before[-1:]) or _PACK.search(before):
        return False
    if before[-1:] in _TIMES:  # "x3" is a count, "x455lb" a model
        return bool(word) and not _LONG_WORD.search(before)
    return len(word) < 2 or not is_glued


def _amount(number: str, unit: Unit | None) -> float | None:
    """Return the value of a number that may have separators; None if they make no sense.

    The last of two different separators is the decimal one. Of equal ones, all part thousands. A single one parts
    decimals, unless three digits follow that are zeros or count a small unit: "1.000 kg", "1.500 g".
    """
    parts = re.split("[.,]", number)
    signs = re.findall("[.,]", number)
    if len(set(signs)) == 2:
        *parts, decimals = parts
        if signs[-1] in signs[:-1] or not _are_thousands(parts):
            return None
        return float(f"{''.join(parts)}.{decimals}")
    if len(signs) > 1:
        return float("".join(parts)) if _are_thousands(parts) else None
    is_small = unit is None or unit.has_thousands
    if signs and _are_thousands(parts) and (is_small or parts[1] == "000"):
        return float("".join(parts))
    return float(".".join(parts))


def _are_thousands(parts: list[str]) -> bool:
    return parts[0][:1] not in ("", "0") and len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:])


def _is_fraction(over: int, under: int, slash: str, unit: Unit | None) -> bool:
    """Return whether "a/b" is a fraction that people write; "250/500 ml" and "3/32 GB" are two amounts."""
    if slash != "/":
        return under > 0
    if unit and (unit.dimension not in (*_SYSTEMS, "count") or unit.expression == "count"):
        return False
    is_usual = under == 3 or (under in (2, 4, 8, 16, 32, 64) and over % 2 == 1)
    return is_usual and 0 < over < under


def _chains(text: str) -> Iterator[list[_Term]]:
    """Yield the numbers of a text, those together that signs join."""
    chain: list[_Term] = []
    for term in _terms(text):
        if chain and not _JOINT.fullmatch(text, chain[-1].end, term.start):
            yield chain
            chain = []
        chain.append(term)
    if chain:
        yield chain


def _read_chain(text: str, chain: list[_Term]) -> set[str]:
    """Return what numbers that signs join state; nothing if no unit and no word says what they are."""
    if len(chain) > 1 and _INCHES_BEHIND.match(text, chain[-1].end):
        chain = [*chain[:-1], chain[-1]._replace(unit=WORDS["in"])]
    if all(term.unit is None for term in chain):
        return _read_bare_count(text, chain)
    joints = [_JOINT.fullmatch(text, one.end, other.start) for one, other in pairwise(chain)]
    are_alternatives = any(joint and not joint["times"] for joint in joints)
    values, counts = set(), []
    for term, unit in zip(chain, _units(chain), strict=True):
        if term.value is None:
            continue
        if term.unit is None and not are_alternatives and unit.dimension not in _SIDES:
            counts.append(term.value)
        elif unit.dimension == "count":
            counts.append(unit.to_base(term.value))
        else:
            values.add(_written(unit, term.value))
    return values.union(*map(_count, counts))


def _units(chain: list[_Term]) -> list[Unit]:
    """Return the unit of each number; one without has that of the next number with a unit, or else of the last one."""
    unit = next(term.unit for term in reversed(chain) if term.unit)
    units = [unit := term.unit or unit for term in reversed(chain)]
    return units[::-1]


def _read_bare_count(text: str, chain: list[_Term]) -> set[str]:
    """Return the counts that words or signs beside numbers make them: "isi 10", "isi 10/15", "tea x3", "tea 3x"."""
    start, end = chain[0].start, chain[-1].end
    before = _before(text, start)
    is_times = _TIMES_BEFORE.search(before) or _TIMES_BEHIND.match(text, end)
    is_count = _PACK.search(before) or (is_times and len(chain) == 1 and end - start <= 3)
    return set().union(*(_count(term.value) for term in chain if is_count and term.value is not None))


def _count(value: float) -> set[str]:
    return {f"count:{value:.0f}"} if 1 <= value < 1e9 and value == int(value) else set()


def _written(unit: Unit, value: float) -> str:
    """Return a quantity in the base unit of its dimension, such as `volume:500`."""
    digits = 3 if unit.dimension in _SYSTEMS else 4
    return f"{unit.dimension}:{float(f'{unit.to_base(value):.{digits}g}'):.10g}"
