"""The value of a number that a title states, by its separators or its slash and by its unit, and how it is written."""

from __future__ import annotations

import math
import re

from shared.units import Unit

SYSTEMS = ("volume", "mass", "length")  # dimensions with metric and other units
_IMPERIAL = ("fluid_ounce", "quart", "gallon", "ounce", "pound", "inch", "foot", "yard")
_NEAR = 0.02  # part of an amount that people leave out as they write it in another system
# Size of a unit of memory by the rule that counts in thousands, as part of its size by the rule that counts in 1024s.
_DECIMAL = {"tebibyte": 1000 / 1024, "mebibyte": 1024 / 1000}
_FINE = ("millimeter", "megahertz")  # units with thousands of which decimals with three digits are written as well
_APOSTROPHES = re.compile(r"[1-9]\d{0,2}(?:['’]\d{3})+(?:[.,]\d+)?")


def amount_of(number: str, unit: Unit | None) -> float | None:
    """Return the value of a number that may have separators; None if it has none or two.

    - Of two different separators, the last one is decimal: "1.234,5". Equal ones part thousands: "1.234.567". So does
      an apostrophe: "1'500".
    - A single one with three digits behind it parts thousands of a unit so small that a thousandth of it is not sold:
      "1.500 g", "1,500 ml", "12.500 mAh". Of a larger unit it parts decimals: "1.500 kg" are 1.5 kg.
    - "1.500 mm" and "1.500 MHz" are thousands, but "3.175 mm" and "433.920 MHz" may be either, and have no value.
    - "1.000 kg" may be one kilogram to the gram or a thousand, and has no value; "1.000 g" are a thousand.
    - In all other cases a single one is decimal: "1,5 l", "0.500 g", "2.25 kg".

    Args:
        number: Digits with points, commas or apostrophes between them.
        unit: The unit behind it; None: there is none.

    Examples:
        >>> from shared.units import WORDS
        >>> amount_of("1.500", WORDS["g"]), amount_of("1.500", WORDS["kg"]), amount_of("1.000", WORDS["kg"])
        (1500.0, 1.5, None)
    """
    if "'" in number or "’" in number:
        return float(re.sub("['’]", "", number).replace(",", ".")) if _APOSTROPHES.fullmatch(number) else None
    parts = re.split("[.,]", number)
    signs = re.findall("[.,]", number)
    if len(set(signs)) == 2:
        *parts, decimals = parts
        if signs[-1] in signs[:-1] or not _are_thousands(parts):
            return None
        return float(f"{''.join(parts)}.{decimals}")
    if len(signs) > 1:
        return float("".join(parts)) if _are_thousands(parts) else None
    if signs and _are_thousands(parts):
        if unit is None or unit.has_thousands:
            is_either = unit is not None and unit.expression in _FINE and not parts[1].endswith("00")
            return None if is_either else float("".join(parts))
        if parts[1] == "000":
            return None
    return float(".".join(parts))


def _are_thousands(parts: list[str]) -> bool:
    return parts[0][:1] not in ("", "0") and len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:])


def is_fraction(over: int, under: int, slash: str, unit: Unit | None) -> bool:
    """Return whether "a/b" is a fraction that people write; "250/500 ml" and "3/32 GB" are two amounts.

    Args:
        over: What stands before the slash.
        under: What stands behind it.
        slash: The slash; the one that "½" leaves always makes a fraction.
        unit: The unit behind it; None: there is none.

    Examples:
        >>> is_fraction(1, 2, "/", None), is_fraction(250, 500, "/", None)
        (True, False)
    """
    if slash != "/":
        return under > 0
    if unit and (unit.dimension not in (*SYSTEMS, "count") or unit.expression == "count"):
        return False
    is_usual = under == 3 or (under in (2, 4, 8, 16, 32, 64) and over % 2 == 1)
    return is_usual and 0 < over < under


def count(value: float, unit: Unit | None = None) -> set[str]:
    """Return a count, such as `count:2`; nothing for a part of a piece, and for one container.

    Args:
        value: Number of what is counted, in pieces.
        unit: The unit behind the number; None: there is none.

    Examples:
        >>> from shared.units import WORDS
        >>> count(2), count(1.5), count(1, WORDS["pcs"]), count(1, WORDS["box"]), count(2, WORDS["box"])
        ({'count:2'}, set(), {'count:1'}, set(), {'count:2'})
    """
    least = 2 if unit and unit.is_container else 1
    return {f"count:{value:.0f}"} if least <= value < 1e9 and value == int(value) else set()


def written(unit: Unit, value: float) -> set[str]:
    """Return a quantity in the base unit of its dimension, such as `volume:500`; nothing for zero.

    Examples:
        >>> from shared.units import WORDS
        >>> written(WORDS["oz"], 16), written(WORDS["tb"], 1)
        ({'mass:454'}, {'memory:1024'})
    """
    amount = unit.to_base(value)
    return {_statement(unit, amount)} if amount else set()


def _statement(unit: Unit, amount: float) -> str:
    digits = 3 if unit.dimension in SYSTEMS else 4
    return f"{unit.dimension}:{float(f'{amount:.{digits}g}'):.10g}"


def alternatives(unit: Unit, value: float) -> set[str]:
    """Return what else a quantity may be in the base unit, as people count or round it.

    A terabyte may be 1000 gigabytes. Ounces, inches and the like are rounded or cut in metric units to three or two
    digits; an inch to whole centimeters at most, and to three digits where it has decimals, as screens have.

    Examples:
        >>> from shared.units import WORDS
        >>> sorted(alternatives(WORDS["oz"], 16)), sorted(alternatives(WORDS["inch"], 27))
        (['mass:450', 'mass:453', 'mass:454'], ['length:68', 'length:68.5', 'length:68.6', 'length:69'])
        >>> alternatives(WORDS["tb"], 1), alternatives(WORDS["g"], 453)
        ({'memory:1000'}, set())
    """
    if unit.expression in _DECIMAL and value:
        return {_statement(unit, unit.to_base(value) * _DECIMAL[unit.expression])}
    amount = unit.to_base(value) if unit.expression in _IMPERIAL else 0.0
    if amount <= 0:
        return set()
    roundings = set[str]()
    is_inch = unit.expression == "inch"
    for digits in (3,) if is_inch and value != int(value) else (2, 3):
        exponent = math.floor(math.log10(amount)) + 1 - digits
        step = 10.0 ** (min(exponent, 0) if is_inch else exponent)
        near = {math.floor(amount / step) * step, round(amount / step) * step}
        roundings |= {_statement(unit, each) for each in near if abs(each - amount) <= _NEAR * amount}
    return roundings
