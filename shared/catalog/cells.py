"""What a cell of a table says: that something is missing, or a perceptual hash in one of its spellings."""

from __future__ import annotations

import re

# In lower case: what databases, spreadsheets, pandas and R write where there is no value.
_MISSING = frozenset(
    [
        "nan",
        "-nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "n.a.",
        "nat",
        "<na>",
        "<null>",
        "<none>",
        "(null)",
        "(none)",
        "#n/a",
        "#na",
        "#null!",
        "#ref!",
        "#value!",
        "#name?",
        "#div/0!",
        "#num!",
        "undefined",
        "[null]",
        "(blank)",
        "\\n",
        "-",
        "--",
    ]
)
_LONGEST = 40  # characters; a longer cell is not looked at
_QUOTED = re.compile(r"""b?(['"])(.*)\1""")
_BETWEEN = re.compile(r"(?<=[0-9a-f])[ :_-](?=[0-9a-f])")
_HEX, _PREFIXED = re.compile("[0-9a-f]{16}"), re.compile(r"(?:0x|\\x)([0-9a-f]{1,16})")
_DECIMAL, _BINARY = re.compile("-?[0-9]{17,20}"), re.compile("[01]{64}")


def is_missing(text: str) -> bool:
    """Return whether a cell is blank or holds a word for a missing value, such as `nan`, `NULL`, `N/A` or `-`.

    Examples:
        >>> [is_missing(text) for text in ("", " NaN ", "N/A", "Nano", "0")]
        [True, True, True, False, False]
    """
    return not text or text.isspace() or (len(text) < _LONGEST and text.strip().lower() in _MISSING)


def read_hash(text: str) -> int | None:
    r"""Return the perceptual hash of 64 bits that a cell holds; None if it cannot be read.

    It is 16 hex digits in any case, perhaps with a blank, `-`, `:` or `_` between them, in quotes (also `b''`), or
    behind `0x` or `\x`, where zeros at the begin may be left out; or 64 binary digits; or 17 to 20 decimal digits,
    which cannot be hex digits of such a hash, with a minus where a database has it as a signed number. Fewer decimal
    digits could be either, so they are not read.

    Examples:
        >>> texts = ("AF48C947D86B690B", "0xaf48-c947-d86b-690b", "b'af48c947d86b690b'", "12630566465371334923")
        >>> len({read_hash(text) for text in (*texts, "-5816177608338216693")}), read_hash("1234")
        (1, None)
    """
    text = text.strip().lower()
    quoted = _QUOTED.fullmatch(text)
    text = _BETWEEN.sub("", quoted[2].strip() if quoted else text)
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed or _HEX.fullmatch(text):
        return int(prefixed[1] if prefixed else text, 16)
    number = int(text, 2) if _BINARY.fullmatch(text) else int(text) if _DECIMAL.fullmatch(text) else 1 << 64
    return number % (1 << 64) if -(1 << 63) <= number < 1 << 64 else None
