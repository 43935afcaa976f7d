"""Titles as the report and the review page show them: cut off, and marked where two of them differ."""

from __future__ import annotations

from ensemble.explain.title_differences import Span, title_differences

LONGEST_SHOWN = 2000  # characters; a title can be as long as its writer likes


def shown_title(title: str | None) -> str:
    """Return the first characters of a title, "" where there is none.

    Examples:
        >>> shown_title("red mug"), shown_title(None), len(shown_title("x" * 5000))
        ('red mug', '', 2000)
    """
    return (title or "")[:LONGEST_SHOWN]


def shown_differences(left: str | None, right: str | None) -> tuple[list[Span], list[Span]]:
    """Return two titles as they are shown, in spans that say where they agree and where they do not.

    Args:
        left: A title of any length; None where there is none.
        right: Another one.

    Examples:
        >>> [(span.text, span.kind) for span in shown_differences("tea green", "coffee green")[0]]
        [('tea', 'only'), (' green', 'same')]
        >>> len(shown_differences("x" * 5000, None)[0][0].text)
        2000
    """
    return title_differences(shown_title(left), shown_title(right))
