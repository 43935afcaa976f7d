"""The marks for inches and feet in a title."""

from __future__ import annotations

import re

_DOUBLE, _SINGLE = "\"”″|''|’’|′′", "'’′"
_MARK = re.compile(
    rf"(?<=\d)(?P<inch>[\"”″]|''|’’|′′)|(?<=\d)\s(?P<far_inch>[\"”″]|''|′′)(?!\w)"
    rf"|(?<=\d)(?P<foot>[{_SINGLE}])(?:(?![\w{_SINGLE}])|(?=\d{{1,2}}(?:[\"”″]|''|’’|′′)))"
    r"|(?P<double>[\"“”])|(?P<single>['‘’])"
)


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
