"""The quantities that a title states, read from the title as it is written.

Fractions, separators, quotes and multiplication signs say what a number means, and are gone from a normalized title; a
normalized title is read as far as it still says it. The units and their words are those of `shared.units`.

1. Inch and foot marks become words (`spelled_marks`).
2. Every number is found with the unit behind it (`_terms`).
3. Numbers that a sign joins ("6 x 330 ml", "120x80 cm", "250/500 ml") are read together (`_read_chain`).

What can be read in two ways is read as both if either is likely ("100-200 g" states 100 g and 200 g), else as nothing
("1.000 kg"): a quantity that a title does not state could forbid a match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from ensemble.features.amounts import SYSTEMS, alternatives, amount_of, count, is_fraction, written
from ensemble.features.marks import spelled_marks
from shared.titles import LONGEST, fold
from shared.units import WORDS, Unit

Values = frozenset[str]

# Letters of scripts without spaces between words; a number may touch them ("洗发水500ml装").
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LETTER = rf"[^\W\d_{UNSPACED}]"  # of any other script
_THAI_MARK = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_TIMES = "xх×*✕✖⨯∗"  # the second one is Cyrillic
_SLASH = "[/\u2044]"  # the second one is what is left of "½"
_SEPARATORS = str.maketrans("،·", ",.")  # as Arabic and British titles part digits


def _any_of(words: list[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_IS_UNSPACED = re.compile(rf".*[{UNSPACED}]")
_SPACED_WORDS = [word for word in WORDS if not _IS_UNSPACED.match(word) and word != "in"]
_UNSPACED_WORDS = [word for word in WORDS if _IS_UNSPACED.match(word)]
_END = rf"(?!\d)(?!(?![{_TIMES}]\s?\d){_LETTER})(?!/s\b)"  # the unit ends, or "x6" follows; no "MB/s"
_UNIT = (
    rf"(?:(?P<spaced>fl\.?\s?oz|fluid\s(?:ounces?|oz)|{_any_of(_SPACED_WORDS)}"
    # "in" is a word more often than a unit: "3 in 1", "9 in box".
    rf"|(?:(?<=[\d-])in|in(?=\s?(?:[^\w\s-]|[{_TIMES}]\s?\d|$)))(?![\s-]*\d\b)){_END}"
    # One Thai letter is no unit in front of others: "2 ก.ย." is a day. Two carats ("2克拉") are no grams.
    rf"|(?P<unspaced>{_any_of(_UNSPACED_WORDS)})(?![{_THAI_MARK}])(?!(?<=[\d\s_][กลม])\.?[\u0e01-\u0e4e])(?!(?<=克)拉|(?<=升)[级級降]))"
)
# A number is no part of a word, except behind "x" ("2x500ml") and "isi" ("isi10"), or glued to a whole word and a unit
# ("sabun500ml"), which `_is_part_of_word` checks.
_START = rf"(?<!\d)(?<!\d[.,:_])(?<!\d[.,][.,])(?:(?<!{_LETTER})|(?<=[{_TIMES}])|(?<=isi)|(?<={_LETTER}{{4}}))"
_TERM = (
    rf"(?=[.\d]){_START}(?:"
    rf"(?:(?P<whole>\d{{1,3}})(?:[ -]|\.(?=(?:1/[248]|3/[48])(?!\d))))?(?<!{_SLASH})(?<!{_SLASH} )"
    rf"(?P<over>\d{{1,3}})\s?(?P<slash>{_SLASH})\s?(?P<under>\d{{1,3}})(?![.,]?\d)(?!\s?{_SLASH}\s?\d)"
    r"|(?<![\w-])(?P<groups>[1-9]\d{0,2}(?: \d{3}(?![.,]?\d)){1,2})"
    rf"|(?P<number>\d{{1,9}}(?!\d)(?:[.,'’]\d{{1,9}}(?!\d)){{0,3}}|(?<![\w.,])\.\d{{1,4}}(?!\d))"
    rf")(?:(?:[\s_]{{0,4}}|-(?=\w\w)){_UNIT})?"
)
_JOINT = re.compile(rf"\s{{0,2}}(?:(?P<times>[{_TIMES}]|by)|{_SLASH})\s{{0,2}}")
_RANGE = re.compile(r"[-–~]|(?P<plus>\+| \+ )")  # "100-200 g", "8+128 GB"
_WIDEST = 100  # times the smaller number; "Art 2-8886 M" and "stage 1+900 g" are no ranges
_PACK = re.compile(r"(?<!\w)(?:isi|contents?|(?:pack|set|box|case|bundle|lot) (?:of|de|isi))\s{0,2}[:=]?\s{0,2}$")
_NET = re.compile(rf"(?:^|[(\[:=~]|\b(?:nett?o?|berat|weight|вес|масса)|\d\s?[{_TIMES}])\s{{0,2}}$")  # "net 1 500 g"
_TIMES_BEFORE = re.compile(rf"(?<!\w)[{_TIMES}]\s{{0,2}}$")  # "tea x3"
_TIMES_BEHIND = re.compile(rf"\s{{0,2}}[{_TIMES}](?!\w)")  # "tea 3x"
_PARTED = re.compile(r"\d+[.,]\d{3}")
_TIMES_GLUED = re.compile(rf"\d[{_TIMES}]$")
_INCHES_BEHIND = re.compile(r"\s?in\b(?![\s-]*\d)")  # "8 x 10 in frame"
_LONG_WORD = re.compile(rf"{_LETTER}{{4}}$")
_SHORT_BEFORE = re.compile(r"(?<![^\s(])\d{1,2} $")
_DIGIT_BEFORE = re.compile(r"\d\s?$")
_MODEL_BEFORE = re.compile(rf"{_LETTER}-$")
_MODEL_BEHIND = re.compile(r"-\d+(?!\d)(?![^\W\d])(?! [^\W\d]{1,3}\b)")  # digits that have no unit
_LOOK_BACK = 16  # characters that hold any match of `_PACK`
_GENERATION = re.compile(
    r"(?:(?:[2-5]|2[.,]4|5[.,]8)g?(?:/(?!$)|$))+(?<=g)"
)  # of mobile networks, in titles with such words
_MOBILE = re.compile(
    r"\b(?:\d+ ?[gt]b|\d+ ?mah|lte|volte|wi-?fi|wireless|sim|phone|smartphone|handphone|hp|modem|router)\b"
)

_SIDES = ("length", "resolution")  # dimensions of which "120x80" states two, not 120 pieces
_ABOUT = "~"  # before what the title does not state, but may mean


class _Term(NamedTuple):
    """A number of a title: where it stands with its unit, its value (None: unreadable), and the unit if it has one."""

    start: int
    end: int
    value: float | None
    unit: Unit | None


def quantities(title: str) -> Values:
    """Return the quantities in a title, as `dimension:amount` in the dimension's base unit.

    Amounts have three significant digits where units of different systems meet (so that "16 oz" is "454 g"), else four.
    "6 x 330 ml" is six pieces and 330 ml; "120x80 cm" is two lengths; a title without a count states no count.

    Args:
        title: As written or normalized, of any length.

    Returns:
        None of a title that cannot be read.

    Examples:
        >>> sorted(quantities("Sabun ½ L, isi 2")), sorted(quantities("cola 6x330ml"))
        (['count:2', 'volume:500'], ['count:6', 'volume:330'])
    """
    return _quantities(title[:LONGEST])[0]


def alternative_quantities(title: str) -> Values:
    """Return what the ounces, inches, terabytes and the like of a title may be in other units, see `alternatives`.

    Examples:
        >>> sorted(alternative_quantities('TV 55"')), alternative_quantities("TV 139 cm")
        (['length:139', 'length:140'], frozenset())
    """
    return _quantities(title[:LONGEST])[1]


@lru_cache(maxsize=1 << 17)
def _quantities(title: str) -> tuple[Values, Values]:
    """Return the quantities of a title, and their alternatives."""
    values = _read(title)[0]
    return _stated(values), frozenset(value[1:] for value in values if value[0] == _ABOUT)


def read_quantities(title: str) -> tuple[Values, str]:
    """Return the quantities in a title, and the folded title without them; nothing if it cannot be read.

    A blank stands for each number with a unit, also for one that can be read in two ways and so states nothing.

    Examples:
        >>> read_quantities("Lamp E27 5 watt")[1].split()
        ['lamp', 'e27']
    """
    values, rest = _read(title)
    return _stated(values), rest


def _read(title: str) -> tuple[Values, str]:
    try:
        folded = fold(title)
        text = replace_passages(folded, spelled_marks(folded))
        passages = list(_passages(text))
    except Exception:  # of any kind: a title must not end the run of its catalog
        return frozenset(), ""
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
    passages = ((start, end, _stated(values)) for start, end, values in _passages(text))
    return [passage for passage in passages if passage[2]]


def _passages(text: str) -> Iterator[tuple[int, int, Values]]:
    """Yield the passages that state quantities, and those whose number has a unit and no value, with their values."""
    text = text.translate(_SEPARATORS)
    is_mobile = _MOBILE.search(text) is not None
    for chain in _chains(text):
        start, end = chain[0].start, chain[-1].end
        values = frozenset(_read_chain(text, chain))
        has_unit = any(term.unit for term in chain)
        if (values or has_unit) and not (is_mobile and _GENERATION.fullmatch(text, start, end)):
            yield start - (_TIMES_GLUED.match(text, max(start - 2, 0), start) is not None), end, values


def _stated(values: Values) -> Values:
    return frozenset(value for value in values if value[0] != _ABOUT)


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
    """Yield the one number of a match, or the several that look like one."""
    word = _word(match)
    unit = WORDS["floz" if word.startswith("fl") else word] if word else None
    if match["number"]:
        is_half = unit is not None and unit.dimension in SYSTEMS and _is_decimals(text, match)
        yield _Term(match.start(), match.end(), None if is_half else amount_of(match["number"], unit), unit)
    elif match["groups"]:
        yield from _terms_of_groups(text, match, unit)
    else:
        yield from _terms_of_fraction(text, match, unit)


def _is_decimals(text: str, match: re.Match[str]) -> bool:
    """Return whether a number may be the decimals of the one before it, whose separator is lost ("5 5 inch")."""
    return len(match["number"]) == 1 and _SHORT_BEFORE.search(_before(text, match.start())) is not None


def _terms_of_groups(text: str, match: re.Match[str], unit: Unit | None) -> Iterator[_Term]:
    """Yield the one number that blanks part ("1 500 g"), or several numbers ("iphone 7 128 GB").

    It is one where nothing stands before that the first digits could number, or three zeros would be the amount. With a
    blank before the unit it may be either, and has no value. Else it is several.
    """
    start, end = match.span("groups")
    first, *others = match["groups"].split(" ")
    before = _before(text, start)
    if unit and unit.has_thousands and unit.dimension != "memory" and not _DIGIT_BEFORE.search(before):
        if others[-1] == "000" or _NET.search(before):
            yield _Term(start, match.end(), float("".join([first, *others])), unit)
            return
        if text[end] == " " and len(others) == 1 and (len(first) == 1 or unit.dimension == "charge"):
            yield _Term(start, match.end(), None, unit)
            return
    for part in (first, *others[:-1]):
        yield _Term(start, start + len(part), float(part), None)
        start += len(part) + 1
    yield _Term(start, match.end(), float(others[-1]), unit)


def _terms_of_fraction(text: str, match: re.Match[str], unit: Unit | None) -> Iterator[_Term]:
    """Yield the one number of a fraction, or the two or three that look like a fraction and are none."""
    whole, over, under = int(match["whole"] or 0), int(match["over"]), int(match["under"])
    if _word(match) == "pk":  # horsepower in Indonesian, packs in English
        yield _Term(match.start(), match.end(), None, unit)
        return
    if is_fraction(over, under, match["slash"], unit):
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
    if before[-1:] in _TIMES:  # "x3" is a count, "x455lb" a model, "m6x20mm" a model and a length
        is_side = _TIMES_GLUED.search(before) and word in WORDS and WORDS[word].dimension in _SIDES
        return bool(word) and not is_side and not _LONG_WORD.search(before)
    return len(word) < 2 or not is_glued


def _chains(text: str) -> Iterator[list[_Term]]:
    """Yield the numbers of a text, those together that signs join."""
    chain: list[_Term] = []
    for term in _terms(text):
        if chain and not _are_joined(text, chain[-1], term):
            yield chain
            chain = []
        chain.append(term)
    if chain:
        yield chain


def _are_joined(text: str, one: _Term, other: _Term) -> bool:
    """Return whether a sign joins two numbers; "-" and "+" do if only the second has a unit, "-" if it is larger."""
    if _JOINT.fullmatch(text, one.end, other.start):
        return True
    sign = _RANGE.fullmatch(text, one.end, other.start)
    if not sign or one.unit or not other.unit or not one.value or not other.value:
        return False
    ratio = other.value / one.value
    return (ratio > 1 or sign["plus"] is not None) and 1 / _WIDEST < ratio < _WIDEST


def _read_chain(text: str, chain: list[_Term]) -> set[str]:
    """Return what numbers that signs join state; nothing if no unit and no word says what they are."""
    if len(chain) > 1 and _INCHES_BEHIND.match(text, chain[-1].end):
        chain = [*chain[:-1], chain[-1]._replace(unit=WORDS["in"])]
    if all(term.unit is None for term in chain):
        return _read_bare_count(text, chain)
    values = set[str]()
    units = iter(_units(chain))
    for factor in _factors(text, chain):
        has_unit = any(term.unit for term in factor)
        is_sum = any("+" in text[one.end : other.start] for one, other in pairwise(factor))
        for term, unit in zip(factor, units, strict=False):
            number = text[term.start : term.end]  # with no unit of its own, it may be read by the one it is lent
            value = amount_of(number, unit) if not term.unit and _PARTED.fullmatch(number) else term.value
            if value is None:
                continue
            if not has_unit and unit.dimension not in _SIDES:
                values |= count(value)
            elif unit.dimension != "count":
                values |= written(unit, value)
                values |= {_ABOUT + each for each in alternatives(unit, value)}
            elif not is_sum:  # "6+1 pcs" may be six, one or seven
                values |= count(unit.to_base(value), unit)
    return values


def _factors(text: str, chain: list[_Term]) -> Iterator[list[_Term]]:
    """Yield the parts of a chain between multiplication signs; the numbers of a part are alternatives."""
    factor = [chain[0]]
    for one, other in pairwise(chain):
        joint = _JOINT.fullmatch(text, one.end, other.start)
        if joint and joint["times"]:
            yield factor
            factor = []
        factor.append(other)
    yield factor


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
    return set().union(*(count(term.value) for term in chain if is_count and term.value is not None))
