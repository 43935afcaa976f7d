"""Charts as SVG: drawn by small functions, colored by the classes of `style.css`, readable at a phone's width.

All are 360 units wide, so that text keeps its size where the page is that narrow. Text is escaped by `tag`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from ensemble.report.cards import Reasons
from ensemble.report.group_sizes import SizeClass
from ensemble.report.intervals import Estimate
from ensemble.report.reliability import ReliabilityBin
from ensemble.report.threshold_curve import CurvePoint, ThresholdCurve

WIDTH = 360
LEFT, RIGHT, TOP, BOTTOM = 34, 352, 10, 198  # of the area inside the axes of a chart
LINES = (  # name in words, field of a point, class of its color
    ("row F1", "row_f1", "c1"),
    ("row precision", "row_precision", "c2"),
    ("row recall", "row_recall", "c3"),
)


def tag(name: str, content: str | Iterable[str] = "", **attributes: object) -> Markup:
    """Return an element; `class_` stands for `class`, and other underscores for hyphens.

    Examples:
        >>> print(tag("text", "<b>", class_="axis", text_anchor="end"))
        <text class="axis" text-anchor="end">&lt;b&gt;</text>
    """
    inner = escape(content) if isinstance(content, str) else Markup("").join(content)
    named = {key.rstrip("_").replace("_", "-"): _number(value) for key, value in attributes.items()}
    listed = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in named.items())
    return Markup("<{}{}>{}</{}>").format(Markup(name), listed, inner, Markup(name))


def svg(height: float, label: str, parts: Iterable[str], class_: str = "chart") -> Markup:
    """Return a chart of the usual width.

    Args:
        height: In units.
        label: What it shows, for people who do not see it.
        parts: Its elements.
        class_: Its class.
    """
    box = f"0 0 {WIDTH} {_number(height)}"
    return tag("svg", parts, viewBox=box, role="img", aria_label=label, class_=class_)


def estimate_bar(estimate: Estimate) -> Markup:
    """Return a scale from 0 to 1 with a metric and its interval."""
    x, low, high = (4 + 192 * value for value in (estimate.value, estimate.low, estimate.high))
    parts = [
        tag("line", x1=4, x2=196, y1=9, y2=9, class_="track"),
        tag("line", x1=low, x2=high, y1=9, y2=9, class_="range c1"),
        tag("circle", cx=x, cy=9, r=4, class_="dot c1"),
    ]
    return tag("svg", parts, viewBox="0 0 200 18", class_="spark", aria_hidden="true")


def share_bar(value: float, part: float = 0.0) -> Markup:
    """Return a bar of a share in [0, 1], a part of which is dark."""
    parts = [
        tag("rect", x=0, y=3, width=200, height=12, rx=3, class_="back"),
        tag("rect", x=0, y=3, width=200 * value, height=12, rx=3, class_="bar light"),
        tag("rect", x=200 * (value - part), y=3, width=200 * part, height=12, rx=2, class_="bar c1"),
    ]
    return tag("svg", parts, viewBox="0 0 200 18", class_="spark", aria_hidden="true")


# --- axes -------------------------------------------------------------------------------------------------------------


def _x(share: float) -> float:
    return LEFT + (RIGHT - LEFT) * share


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _axes(x_name: str, y_name: str) -> list[Markup]:
    """Return both axes of a chart from 0 to 1, with their names."""
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=_y(share), y2=_y(share), class_="grid"))
        parts.append(tag("text", short(share, 2), x=LEFT - 5, y=_y(share) + 4, text_anchor="end", class_="axis"))
        parts.append(tag("text", short(share, 2), x=_x(share), y=BOTTOM + 15, text_anchor="middle", class_="axis"))
    parts.append(tag("text", x_name, x=(LEFT + RIGHT) / 2, y=BOTTOM + 31, text_anchor="middle", class_="axis name"))
    middle = (TOP + BOTTOM) / 2
    turned = f"rotate(-90 9 {_number(middle)})"
    return [*parts, tag("text", y_name, x=9, y=middle, text_anchor="middle", transform=turned, class_="axis name")]


def short(value: float, digits: int = 3) -> str:
    """Return a number in [0, 1] without its leading zero.

    Examples:
        >>> short(0.5), short(1.0, 2), short(0.25, 2), short(0.0, 2)
        ('.500', '1', '.25', '0')
    """
    text = f"{value:.{digits}f}"
    if value in (0, 1):
        return text[0]
    return text.removeprefix("0") if value >= 0 else "-" + text.removeprefix("-0")


# --- charts -----------------------------------------------------------------------------------------------------------


def threshold_chart(curve: ThresholdCurve) -> Markup:
    """Return the metrics of a pool against the threshold; its line is moved by the script."""
    parts = _axes("threshold", "metric")
    for _, field, color in LINES:
        points = [(point.threshold, getattr(point, field)) for point in curve.points]
        parts.append(tag("polyline", points=_points(points), class_=f"line {color}"))
    chosen = curve.points[curve.chosen]
    x = _x(chosen.threshold)
    parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="chosen"))
    parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="cursor"))
    for _, field, color in LINES:
        parts.append(tag("circle", cx=x, cy=_y(getattr(chosen, field)), r=4, class_=f"dot {color}", data_line=field))
    return svg(236, "Row F1, precision and recall against the threshold", parts, "chart movable")


def group_count_chart(points: Sequence[CurvePoint], chosen: int) -> Markup:
    """Return the number of groups, and of listings with a match, against the threshold."""
    most = max(max(point.matched, point.groups) for point in points) or 1
    parts = _axes("threshold", f"share of {most:,}")
    for field, color in (("matched", "c1"), ("groups", "c3")):
        line = [(point.threshold, getattr(point, field) / most) for point in points]
        parts.append(tag("polyline", points=_points(line), class_=f"line {color}"))
    x = _x(points[chosen].threshold)
    parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="chosen"))
    parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="cursor"))
    return svg(236, "Number of groups and of matched listings against the threshold", parts, "chart movable")


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """Return the share of matches against the score, with intervals, and the number of pairs below it."""
    parts = _axes("score of the pairs", "share of matches")
    parts.append(tag("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="ideal"))
    for each in bins:
        x = _x(each.score)
        parts.append(tag("line", x1=x, x2=x, y1=_y(each.low), y2=_y(each.high), class_="range c1"))
        note = f"{each.pairs:,} pairs score {short(each.score)} on average; {each.matches:.1%} of them match"
        dot = tag("circle", [tag("title", note)], cx=x, cy=_y(each.matches), r=4, class_="dot c1")
        parts.append(dot)
    most = math.log10(max(each.pairs for each in bins) + 1)
    for each in bins:
        height = 30 * math.log10(each.pairs + 1) / most
        width = (RIGHT - LEFT) / 15 - 4
        x = _x(min(math.ceil(each.score * 15 - 1e-9), 15) / 15) - (RIGHT - LEFT) / 15 + 2 if each.score else _x(0) + 2
        parts.append(tag("rect", x=x, y=275 - height, width=width, height=height, class_="bar light"))
        parts.append(tag("text", compact(each.pairs), x=x + width / 2, y=286, text_anchor="middle", class_="tiny"))
    parts.append(tag("text", "pairs", x=LEFT - 5, y=286, text_anchor="end", class_="tiny"))
    return svg(290, "Share of matches among pairs of about the same score", parts)


def compact(count: int) -> str:
    """Return a count in at most four characters.

    Examples:
        >>> compact(950), compact(1234), compact(65432), compact(1610987)
        ('950', '1.2k', '65k', '1.6M')
    """
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{round(count / size)}{unit}"
    return str(count)


def sizes_chart(classes: Sequence[SizeClass]) -> Markup:
    """Return the number of groups of each size, beside the number of products where that is known."""
    most = max(max(each.groups, each.products or 0) for each in classes) or 1
    slot, parts = (RIGHT - 8) / len(classes), []
    bars = 1 if all(each.products is None for each in classes) else 2
    width = min(slot * 0.86 / bars, 34)
    for place, each in enumerate(classes):
        middle = 8 + slot * (place + 0.5)
        for number, (count, color) in enumerate(((each.groups, "c1"), (each.products, "c4"))[:bars]):
            height = 150 * (count or 0) / most
            x = middle + (number - bars / 2) * width
            parts.append(tag("rect", x=x + 1, y=180 - height, width=width - 2, height=height, class_=f"bar {color}"))
            text = compact(count or 0)
            size = "tiny" if width > 20 else "tiny narrow"
            parts.append(tag("text", text, x=x + width / 2, y=176 - height, text_anchor="middle", class_=size))
        parts.append(tag("text", each.name, x=middle, y=196, text_anchor="middle", class_="axis"))
    parts.append(tag("line", x1=4, x2=RIGHT, y1=180, y2=180, class_="grid"))
    parts.append(tag("text", "listings in a group", x=WIDTH / 2, y=213, text_anchor="middle", class_="axis name"))
    return svg(218, "Number of groups of each size", parts)


TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)  # probabilities on the scale of log odds


def waterfall(reasons: Reasons, threshold: float | None) -> Markup:
    """Return what each family of features added to the score of a pair, on a scale of log odds."""
    ends = [reasons.base]
    for step in reasons.steps:
        ends.append(ends[-1] + step.log_odds)
    low, high = min(ends) - 0.4, max(ends) + 0.4
    left, right = 152, WIDTH - 34

    def place(log_odds: float) -> float:
        return left + (right - left) * (log_odds - low) / (high - low)

    bottom, parts, last_x = 24 + 20 * len(reasons.steps) + 22, [], 0.0
    for tick in TICKS:
        x = place(math.log(tick / (1 - tick)))
        if left <= x <= right and x - last_x > 28:
            last_x = x
            parts.append(tag("line", x1=x, x2=x, y1=4, y2=bottom, class_="grid"))
            parts.append(tag("text", f"{100 * tick:g} %", x=x, y=bottom + 12, text_anchor="middle", class_="tiny"))
    if threshold is not None and 0 < threshold < 1 and low < (odds := math.log(threshold / (1 - threshold))) < high:
        parts.append(tag("line", x1=place(odds), x2=place(odds), y1=4, y2=bottom, class_="chosen"))
    rows = [("start", reasons.base, reasons.base, "c5"), *_steps(reasons, ends), ("score", low, ends[-1], "c1")]
    for number, (name, start, end, color) in enumerate(rows):
        y, (first, last) = 6 + 20 * number, sorted((place(start), place(end)))
        parts.append(tag("text", name, x=left - 6, y=y + 11, text_anchor="end", class_="axis step"))
        bar = tag("rect", x=first, y=y, width=max(last - first, 2), height=14, rx=2, class_=f"bar {color}")
        parts.append(bar)
        text = _probability(end) if name in ("start", "score") else f"{end - start:+.2f}"
        parts.append(tag("text", text, x=right + 4, y=y + 11, class_="tiny"))
    return svg(bottom + 18, "What each family of features added to the score", parts, "chart small")


def _steps(reasons: Reasons, ends: Sequence[float]) -> list[tuple[str, float, float, str]]:
    return [
        (step.name, ends[place], ends[place + 1], "c3" if step.log_odds >= 0 else "c2")
        for place, step in enumerate(reasons.steps)
    ]


def _probability(log_odds: float) -> str:
    probability = 1 / (1 + math.exp(-log_odds))
    return "<.001" if probability < 0.0005 else short(probability)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_number(_x(x))},{_number(_y(y))}" for x, y in points)


def _number(value: object) -> object:
    """Return a number with at most two decimals, and anything else as it is."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
