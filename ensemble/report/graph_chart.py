"""Draws a group as a graph: listings with their images, and the scored pairs between them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ensemble.report.cards import ListingCard
from ensemble.report.charts import WIDTH, short, svg, tag
from ensemble.report.group_graphs import GroupGraph

MARGIN, HEIGHT = 26, 330
LETTERS = "ABCDEFGH"  # of the most frequent labels of a group; all others are "…"


def graph_chart(graph: GroupGraph, cards: Sequence[ListingCard], key: str) -> Markup:
    """Return the drawing of a group.

    Args:
        graph: The group.
        cards: Its listings, in the order of `graph.rows`.
        key: Unique in the page; ids of parts of the drawing begin with it.
    """
    radius = 15 if len(cards) > 12 else 19
    places = [(MARGIN + (WIDTH - 2 * MARGIN) * x, MARGIN + (HEIGHT - 2 * MARGIN) * y) for x, y in graph.places.tolist()]
    clip = tag("clipPath", [tag("circle", r=radius - 2, cx=0, cy=0)], id=f"{key}-clip")
    parts = [tag("defs", [clip])]
    for one, other, score in graph.edges:
        (x1, y1), (x2, y2) = places[one], places[other]
        strong = graph.threshold is None or score >= graph.threshold
        note = tag("title", f"{one + 1} and {other + 1} score {short(score)}")
        edge = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke_width": 0.6 + 2.2 * score}
        parts.append(tag("line", [note], class_="edge" if strong else "edge weak", **edge))
    for place, card in enumerate(cards):
        parts.append(_node(places[place], radius, place, card, label_number(graph, place), key))
    return svg(HEIGHT, f"A group of {graph.size} listings and the scored pairs between them", parts, "chart graph")


def label_number(graph: GroupGraph, place: int) -> int | None:
    """Return the number of a listing's label for its color, at most 8; None where it has none."""
    if graph.labels is None or graph.labels[place] < 0:
        return None
    return min(int(graph.labels[place]), len(LETTERS))


def letter(number: int | None) -> str:
    """Return the letter of a label.

    Examples:
        >>> letter(0), letter(8), letter(None)
        ('A', '…', '')
    """
    if number is None:
        return ""
    return LETTERS[number] if number < len(LETTERS) else "…"


def _node(
    place: tuple[float, float], radius: int, number: int, card: ListingCard, label: int | None, key: str
) -> Markup:
    title = "".join(part.text for part in card.parts) or "(no title)"
    parts = [tag("title", f"{number + 1}: {title}")]
    color = "" if label is None else f" g{label}"
    parts.append(tag("circle", r=radius, class_=f"node{color}"))
    if card.image.uri:
        side, corner, clip = 2 * (radius - 2), -(radius - 2), f"url(#{key}-clip)"
        fit = {"preserveAspectRatio": "xMidYMid slice"}
        size = {"x": corner, "y": corner, "width": side, "height": side}
        parts.append(tag("image", "", href=card.image.uri, clip_path=clip, **fit, **size))
        place_of_number = radius - 3
        parts.append(tag("circle", cx=place_of_number, cy=place_of_number, r=7, class_=f"badge{color}"))
        parts.append(
            tag("text", f"{number + 1}", x=place_of_number, y=radius, text_anchor="middle", class_="badge-text")
        )
    else:
        parts.append(tag("text", f"{number + 1}", x=0, y=4, text_anchor="middle", class_="number"))
    x, y = place
    return tag("g", parts, transform=f"translate({x:.1f} {y:.1f})")
