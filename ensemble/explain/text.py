"""An explanation as text for a terminal: titles with marks, a waterfall of bars, the strongest features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ensemble.explain.contributions import Contribution, Contributions, sigmoid
from ensemble.explain.families import feature_in_words, value_in_words
from ensemble.explain.pair import PairExplanation
from ensemble.explain.title_differences import Kind, Span, title_differences
from shared.catalog.tables import printable

BAR = 24  # characters of the longest bar
SHOWN = 6  # single features
LONGEST_TITLE = 400  # characters that are shown

SIGNS: Mapping[Kind, tuple[str, str]] = {
    "same": ("", ""),
    "only": ("[", "]"),
    "conflict": ("<", ">"),
    "quantity_same": ("=", "="),
    "quantity_conflict": ("!", "!"),
}
COLORS: Mapping[Kind, tuple[str, str]] = {  # escape sequences of terminals: yellow, red, green, red and reverse
    "same": ("", ""),
    "only": ("\x1b[33m", "\x1b[0m"),
    "conflict": ("\x1b[1;31m", "\x1b[0m"),
    "quantity_same": ("\x1b[32m", "\x1b[0m"),
    "quantity_conflict": ("\x1b[1;31;7m", "\x1b[0m"),
}
MEANINGS: Mapping[Kind, str] = {
    "only": "in one title alone",
    "conflict": "contradicts the other title",
    "quantity_same": "the same quantity",
    "quantity_conflict": "another quantity",
}


def marked(spans: Iterable[Span], marks: Mapping[Kind, tuple[str, str]]) -> str:
    r"""Return a title on one line with its spans between marks, without characters that a terminal would act on.

    Args:
        spans: Of the title.
        marks: Kind → what stands before and behind a span.

    Examples:
        >>> marked([Span("tea ", "same"), Span("100 g", "quantity_same"), Span("\t", "same")], SIGNS)
        'tea =100 g= '
    """
    parts, left = [], LONGEST_TITLE
    for span in spans:
        before, behind = marks[span.kind]
        parts.append(f"{before}{printable(span.text, length=max(left, 1))}{behind}")
        left -= len(span.text)
        if left <= 0:
            break
    return "".join(parts)


def explanation_text(explained: PairExplanation, *, colors: bool) -> str:
    """Return an explanation as lines of text.

        print(explanation_text(explain_pair(pool, 0, 1), colors=sys.stdout.isatty()))

    Args:
        explained: The explanation.
        colors: Whether titles are marked in colors of a terminal; else by signs.
    """
    return "\n".join(_lines(explained, COLORS if colors else SIGNS))


def _lines(explained: PairExplanation, marks: Mapping[Kind, tuple[str, str]]) -> Iterator[str]:
    spans = title_differences(*explained.titles)
    if not all(explained.titles):  # a title alone differs from nothing
        spans = [Span(explained.titles[0], "same")], [Span(explained.titles[1], "same")]
    for posting_id, image, title in zip(explained.ids, explained.images, spans, strict=True):
        yield printable(posting_id)
        yield f"  title  {marked(title, marks) or 'none that says anything'}"
        yield f"  image  {printable(image) or 'none'}"
    used = {span.kind for title in spans for span in title}
    if legend := ", ".join(words.join(marks[kind]) for kind, words in MEANINGS.items() if kind in used):
        yield f"  marks  {legend}"
    if explained.reasons:
        yield f"\n{explained.reasons}"
    score = "no score" if explained.score is None else f"score {explained.score:.3f}"
    threshold = "" if explained.threshold is None else f", threshold {explained.threshold:.3f}"
    yield f"\n{score}{threshold}\n{explained.verdict}"
    yield from _similarity_lines(explained)
    if explained.contributions is not None:
        yield from _waterfall(explained.contributions)
        yield from _features(explained.contributions)


def _similarity_lines(explained: PairExplanation) -> Iterator[str]:
    """Yield what each branch says of the pair, and why none proposed it if that is so."""
    if not explained.similarities:
        return
    yield "\nno branch proposed the pair:" if explained.score is None else "\nsimilarity by branch"
    yield from (f"  {each.in_words()}" for each in explained.similarities)


def _waterfall(added: Contributions) -> Iterator[str]:
    """Yield the log-odds of a pair's score from its base to the final score, the first family with the most."""
    log_odds = added.log_odds[0]
    families = sorted(zip(added.families, log_odds.tolist(), strict=True), key=lambda each: -abs(each[1]))
    rows = [("before any evidence", float(added.base[0])), *families]
    width = max(len(name) for name, _ in rows)
    largest = max(abs(value) for _, value in rows) or 1.0
    yield "\nwhat added to the score, in log-odds"
    for name, value in rows:
        bar = ("█" if value > 0 else "░") * round(BAR * abs(value) / largest)
        yield f"  {name:<{width}} {value:+7.2f}  {bar}".rstrip()
    total = float(added.total[0])
    yield f"  {'sum':<{width}} {total:+7.2f}  score {float(sigmoid(np.array(total))):.3f}"


def _features(added: Contributions) -> Iterator[str]:
    """Yield the single features that added most, those of the second model apart."""
    yield "\nstrongest single features"
    yield from map(_feature, added.first.strongest(0, SHOWN))
    if added.around is not None and added.is_rescored[0]:
        first, last = float(added.first_score[0]), float(added.score[0])
        yield f"\nscores around the pair: {first:.3f} by itself became {last:.3f}; what decided that"
        yield from map(_feature, added.around.strongest(0, SHOWN // 2))


def _feature(contribution: Contribution) -> str:
    value = value_in_words(contribution.value, digits=4)
    return f"  {contribution.log_odds:+7.2f}  {feature_in_words(contribution.feature)}: {value}"
