"""Stand-in until ensemble/explain/title_differences.py is there."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    text: str
    kind: str


def title_differences(left: str, right: str) -> tuple[list[Span], list[Span]]:
    words = [{word.casefold() for word in re.findall(r"\w+", title)} for title in (left, right)]
    return _spans(left, words[1]), _spans(right, words[0])


def _spans(title: str, other: set[str]) -> list[Span]:
    return [
        Span(part, "only" if re.match(r"\w", part) and part.casefold() not in other else "same")
        for part in re.findall(r"\w+|\W+", title)
    ]
