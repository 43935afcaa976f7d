"""Seconds against listings, both on a logarithmic scale, as an SVG file that stands by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ensemble.report.charts import tag

WIDTH, HEIGHT = 680, 420
LEFT, RIGHT, TOP, BOTTOM = 52, 500, 14, 380
LEADING = 13  # units between two names of lines
COLORS = (
    "#111827", "#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#92400e",
    "#475569", "#0d9488", "#a21caf",
)  # fmt: skip
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#374151}.grid{stroke:#e5e7eb}.line{fill:none;stroke-width:1.8}"
    ".guide{stroke:#9ca3af;stroke-dasharray:4 4}.lead{stroke-width:.6;stroke-dasharray:1 3}.name{font-weight:600}"
)
Points = Sequence[tuple[int, float]]


def chart(lines: Mapping[str, Points]) -> str:
    """Return the chart.

    Args:
        lines: Name of a stage → (listings, seconds) by rising number of listings; the first one is drawn boldest.
    """
    lines = {name: [(x, max(y, 0.01)) for x, y in points] for name, points in lines.items() if len(points) > 1}
    if not lines:
        raise ValueError("no stage was measured at two sizes")
    scale = _Scale([point for points in lines.values() for point in points])
    parts = [tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, fill="#fff"), *scale.grid(), *scale.guide()]
    places = _apart({name: scale.y(points[-1][1]) for name, points in lines.items()})
    for number, (name, points) in enumerate(lines.items()):
        color, width = COLORS[number % len(COLORS)], 3 if number == 0 else 1.8
        path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in points)
        parts.append(tag("polyline", points=path, class_="line", stroke=color, stroke_width=width))
        parts += [tag("circle", cx=scale.x(x), cy=scale.y(y), r=2.5, fill=color) for x, y in points]
        end = scale.x(points[-1][0]), scale.y(points[-1][1])
        parts.append(tag("line", x1=end[0] + 4, y1=end[1], x2=RIGHT + 10, y2=places[name], class_="lead", stroke=color))
        parts.append(tag("text", name, x=RIGHT + 14, y=places[name] + 4, style=f"fill:{color}"))
    label = "Seconds of each stage against the number of listings, on logarithmic scales"
    box = f"0 0 {WIDTH} {HEIGHT}"
    content = [tag("style", STYLE), *parts]
    return (
        str(tag("svg", content, xmlns="http://www.w3.org/2000/svg", viewBox=box, role="img", aria_label=label)) + "\n"
    )


class _Scale:
    """Where numbers of listings and seconds are drawn."""

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self._low_x, self._high_x = (math.log10(each(x for x, _ in points)) for each in (min, max))
        seconds = [y for _, y in points]
        self._low_y, self._high_y = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)) + 1e-9)
        self._sizes = sorted({x for x, _ in points})

    def x(self, listings: float) -> float:
        return LEFT + (RIGHT - LEFT) * (math.log10(listings) - self._low_x) / (self._high_x - self._low_x)

    def y(self, seconds: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (math.log10(seconds) - self._low_y) / (self._high_y - self._low_y)

    def grid(self) -> list[str]:
        """Return both axes with their names."""
        parts = []
        for power in range(self._low_y, self._high_y + 1):
            y = self.y(10.0**power)
            parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", f"{10.0**power:,g}", x=LEFT - 6, y=y + 4, text_anchor="end"))
        for size in self._sizes:
            x = self.x(size)
            parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="grid"))
            parts.append(tag("text", f"{size:,}", x=x, y=BOTTOM + 16, text_anchor="middle"))
        parts.append(tag("text", "listings", x=(LEFT + RIGHT) / 2, y=BOTTOM + 34, text_anchor="middle", class_="name"))
        turned = f"rotate(-90 12 {(TOP + BOTTOM) / 2})"
        middle = (TOP + BOTTOM) / 2
        return [*parts, tag("text", "seconds", x=12, y=middle, text_anchor="middle", transform=turned, class_="name")]

    def guide(self) -> list[str]:
        """Return a line that grows as the number of listings does, and its name."""
        decades = min(self._high_x - self._low_x, self._high_y - self._low_y)
        x1, y1 = self.x(10.0**self._low_x), self.y(10.0**self._low_y)
        x2, y2 = self.x(10.0 ** (self._low_x + decades)), self.y(10.0 ** (self._low_y + decades))
        name = "twice the time for twice the listings"
        return [
            tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="guide"),
            tag("text", name, x=RIGHT - 6, y=BOTTOM - 6, text_anchor="end"),
        ]


def _apart(places: Mapping[str, float]) -> dict[str, float]:
    """Return places of names at which no two overlap, near those wanted and within the chart.

    Examples:
        >>> _apart({"a": 100.0, "b": 100.0})
        {'a': 93.5, 'b': 106.5}
    """
    names = sorted(places, key=places.__getitem__)
    moved = [places[name] for name in names]
    for _ in range(200):
        for one in range(len(moved) - 1):
            overlap = moved[one] + LEADING - moved[one + 1]
            if overlap > 1e-9:
                moved[one], moved[one + 1] = moved[one] - overlap / 2, moved[one + 1] + overlap / 2
        moved = [min(max(place, TOP), BOTTOM) for place in moved]
    return dict(zip(names, moved, strict=True))
