"""The value of a number that a title states, by its separators or its slash and by its unit."""

from __future__ import annotations

import re

from shared.units import Unit

SYSTEMS = ("volume", "mass", "length")  # dimensions with metric and other units
_APOSTROPHES = re.compile(r"[1-9]\d{0,2}(?:['’]\d{3})+(?:[.,]\d+)?")


def amount_of(number: str, unit: Unit | None) -> float | None:
    """Return the value of a number that may have separators; None if it has none or two.

    - Of two different separators, the last one is decimal: "1.234,5". Equal ones part thousands: "1.234.567". So does
      an apostrophe: "1'500".
    - A single one with three digits behind it parts thousands of a unit so small that a thousandth of it is not sold:
      "1.500 g", "1,500 ml", "12.500 mAh". Of a larger unit it parts decimals: "1.500 kg" are 1.5 kg.
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
            return float("".join(parts))
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
