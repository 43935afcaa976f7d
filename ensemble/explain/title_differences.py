"""Two titles with the words marked that agree, that only one has, and that contradict each other.

1. Quantities come first. They agree if both titles state the same, however it is written ("½ kg", "500 g"); they are in
   conflict if both state some of a dimension and share none, by the rule of `ensemble.features.attributes`.
2. A word that the other title has, as one word or as two ("powerbank", "power bank"), is the same.
3. A model number, size, color or other number is the same if the other title states it in other words ("merah", "red"),
   and in conflict if the other title states some of its kind and the two share none.
4. In scripts without blanks between words, letters are the same that stand in a row of two (Chinese, Japanese) or three
   (others) which the other title has as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal

from ensemble.explain.title_words import KINDS, TitleWords, Word, attributes_of, is_mark, plain
from shared.titles import LONGEST
from shared.units import BASES

Kind = Literal["same", "only", "conflict", "quantity_same", "quantity_conflict"]
_MERGED: tuple[Kind, ...] = ("only", "conflict")  # kinds whose neighbors are one span with the blanks between them


@dataclass(frozen=True)
class Span:
    """A part of a title.

    Args:
        text: As written.
        kind: `same`, it agrees with the other title, is no word or was not compared; `only`, the other title lacks it;
            `conflict`, the other title says something else; `quantity_same` and `quantity_conflict`, it states
            quantities that agree or contradict each other.

    Examples:
        >>> Span("500 ml", "quantity_same").text
        '500 ml'
    """

    text: str
    kind: Kind


def title_differences(left: str, right: str) -> tuple[list[Span], list[Span]]:
    """Return two titles in spans that say where they agree and where they do not.

    The texts of a title's spans, joined, are the title. What follows its first `LONGEST` characters is not
    compared, nor are titles of which one cannot be read.

    Args:
        left: A title as written, of any length, in any script.
        right: Another one.

    Examples:
        >>> left, right = title_differences("Sabun Merah 500 ml", "sabun red 1 L")
        >>> [(span.text, span.kind) for span in left]
        [('Sabun Merah ', 'same'), ('500 ml', 'quantity_conflict')]
        >>> [(span.text, span.kind) for span in title_differences("tea green", "coffee green")[1]]
        [('coffee', 'only'), (' green', 'same')]
    """
    try:
        one, other = TitleWords.of(left[:LONGEST]), TitleWords.of(right[:LONGEST])
    except Exception:  # of any kind: a title must not end the page that shows it
        return [Span(left, "same")], [Span(right, "same")]
    return _spans(one, other, left[LONGEST:]), _spans(other, one, right[LONGEST:])


def _spans(title: TitleWords, other: TitleWords, rest: str) -> list[Span]:
    """Return the spans of a title; its rest, which was not compared, counts as the same."""
    kinds: dict[tuple[int, int], Kind] = dict(_quantity_kinds(title, other))
    kinds |= dict(_word_kinds(title, other))
    parts: list[tuple[str, Kind]] = []
    position = 0
    for start, end in sorted(kinds):
        kind, between = kinds[start, end], title.title[position:start]
        joins = bool(parts) and kind in _MERGED and kind == parts[-1][1] and not between.strip()
        parts += [(between, kind if joins else "same"), (title.title[start:end], kind)]
        position = end
    parts.append((title.title[position:] + rest, "same"))
    return list(_joined(parts))


def _joined(parts: list[tuple[str, Kind]]) -> Iterator[Span]:
    """Yield the parts as spans, neighbors of one kind as one, but each quantity alone."""
    for kind, group in groupby((part for part in parts if part[0]), itemgetter(1)):
        texts = [text for text, _ in group]
        yield from (Span(text, kind) for text in (texts if kind.startswith("quantity") else ["".join(texts)]))


def _quantity_kinds(title: TitleWords, other: TitleWords) -> Iterator[tuple[tuple[int, int], Kind]]:
    """Yield where a title states quantities, and whether they agree with those of the other title."""
    own, others = title.all_quantities, other.all_quantities
    in_conflict = quantity_conflicts(own, others, title.alternative_quantities, other.alternative_quantities)
    for quantity in title.quantities:
        kind: Kind = "only"
        if any(value.partition(":")[0] in in_conflict for value in quantity.values):
            kind = "quantity_conflict"
        elif quantity.values & others:
            kind = "quantity_same"
        yield (quantity.start, quantity.end), kind


def _word_kinds(title: TitleWords, other: TitleWords) -> Iterator[tuple[tuple[int, int], Kind]]:
    """Yield where a title has words that differ from those of the other title, and how."""
    others, in_conflict = other.attributes, conflicts(title.attributes, other.attributes, KINDS)
    is_same, grams = _equal_words(title, other), _grams(other)
    for index, word in enumerate(title.words):
        attributes = attributes_of(word.key)
        if is_same(index) or attributes & others:
            continue
        if word.is_run:
            yield from _run_kinds(title.title, word, grams)
        else:
            differs = any(value.partition(":")[0] in in_conflict for value in attributes)
            yield (word.start, word.end), "conflict" if differs else "only"


def quantity_conflicts(
    own: AbstractSet[str],
    others: AbstractSet[str],
    own_alternatives: AbstractSet[str],
    other_alternatives: AbstractSet[str],
) -> set[str]:
    """Return the dimensions in which the quantities of two titles differ, as `attributes.quantity_conflict` says.

    Args:
        own: Quantities that a title states.
        others: Those that another title states.
        own_alternatives: See `ensemble.features.quantities.alternative_quantities`.
        other_alternatives: Of the other title.

    Examples:
        >>> quantity_conflicts({"memory:1024"}, {"memory:1000"}, {"memory:1000"}, set())
        set()
    """
    alike = (own & other_alternatives) | (others & own_alternatives)
    return conflicts(own, others, tuple(BASES)) - {value.partition(":")[0] for value in alike}


def conflicts(own: AbstractSet[str], others: AbstractSet[str], kinds: Collection[str]) -> set[str]:
    """Return the kinds of which both titles state values, `kind:value`, and share none.

    Examples:
        >>> conflicts({"mass:100", "count:2"}, {"mass:100", "count:3", "volume:5"}, ["mass", "count", "volume"])
        {'count'}
    """
    own_kinds, other_kinds, common = (
        {value.partition(":")[0] for value in values} for values in (own, others, own & others)
    )
    return (own_kinds & other_kinds & set(kinds)) - common


def _equal_words(title: TitleWords, other: TitleWords) -> Callable[[int], bool]:
    """Return a function that says of a word, by its position, whether the other title has it, as one word or as two."""
    others, words = other.keys | other.joined_keys, title.words
    single = other.keys

    def is_same(index: int) -> bool:
        key = words[index].key
        before = words[index - 1].key + key if index else ""
        behind = key + words[index + 1].key if index + 1 < len(words) else ""
        return key in others or before in single or behind in single

    return is_same


# --- scripts without blanks between words -----------------------------------------------------------------------------


def _row_length(text: str) -> int:
    """Return how many letters in a row count as the same: the characters of Chinese and Japanese are words."""
    return 2 if any(char >= "\u3005" for char in text) else 3


def _grams(title: TitleWords) -> set[str]:
    """Return all rows of one, two and three letters within the runs of a title."""
    runs = [plain(title.title[word.start : word.end]) for word in title.words if word.is_run]
    return {run[i : i + n] for run in runs for n in (1, 2, 3) for i in range(len(run) - n + 1)}


def _run_kinds(title: str, run: Word, grams: set[str]) -> Iterator[tuple[tuple[int, int], Kind]]:
    """Yield the parts of a run that the other title does not have."""
    text = plain(title[run.start : run.end])
    length = min(_row_length(text), len(text))
    same = [False] * len(text)
    for start in range(len(text) - length + 1):
        if text[start : start + length] in grams:
            same[start : start + length] = [True] * length
    for index in range(1, len(text)):
        if is_mark(text[index]):
            same[index] = same[index - 1]
    position = run.start
    for is_same, letters in groupby(same):
        end = position + len(list(letters))
        if not is_same:
            yield (position, end), "only"
        position = end
