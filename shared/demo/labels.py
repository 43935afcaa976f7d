"""Labels of the demo's products: brand, line, option and an icon, in one of several layouts."""

import math
from collections.abc import Callable

from shared.demo.canvas import Box, Look, Sketch, contrasting, darker, lighter


def draw_label(sketch: Sketch, box: Box, look: Look) -> None:
    """Draw the label of a look into a box, in the layout of the look."""
    LAYOUTS[look.layout](sketch, box, look)


def draw_icon(sketch: Sketch, box: Box, look: Look) -> None:
    """Draw the icon of a look into the largest square within a box."""
    left, top, right, bottom = box
    half = min(right - left, bottom - top) / 2
    ICONS[look.icon](sketch, (left + right) / 2, (top + bottom) / 2, half, look)


def _plain(sketch: Sketch, box: Box, look: Look) -> None:
    _column(sketch, box, look._replace(ink=contrasting(look.main)))


def _column(sketch: Sketch, box: Box, look: Look) -> None:
    left, top, right, bottom = box
    x, width, height = (left + right) / 2, right - left, bottom - top
    sketch.text((x, top + height * 0.16), look.brand, height * 0.24, width * 0.94, look.ink, bold=True)
    sketch.text((x, top + height * 0.36), look.line, height * 0.12, width * 0.86, look.ink)
    draw_icon(sketch, (left, top + height * 0.45, right, top + height * 0.82), look)
    sketch.text((x, top + height * 0.91), look.option, height * 0.12, width * 0.86, look.ink)


def _panel(sketch: Sketch, box: Box, look: Look) -> None:
    left, top, right, bottom = box
    sketch.block(box, look.panel, radius=(right - left) * 0.12)
    inset = (right - left) * 0.06
    _column(sketch, (left + inset, top + inset, right - inset, bottom - inset), look)


def _band(sketch: Sketch, box: Box, look: Look) -> None:
    left, top, right, bottom = box
    x, width, height = (left + right) / 2, right - left, bottom - top
    draw_icon(sketch, (left, top, right, top + height * 0.42), look)
    sketch.block((left, top + height * 0.46, right, top + height * 0.8), look.panel)
    sketch.text((x, top + height * 0.59), look.brand, height * 0.2, width * 0.94, look.ink, bold=True)
    sketch.text((x, top + height * 0.73), look.line, height * 0.1, width * 0.86, look.ink)
    sketch.text((x, top + height * 0.9), look.option, height * 0.12, width * 0.8, contrasting(look.main), bold=True)


def _roundel(sketch: Sketch, box: Box, look: Look) -> None:
    left, top, right, bottom = box
    x, width, height = (left + right) / 2, right - left, bottom - top
    half = min(width, height * 0.7) / 2
    y = top + half
    sketch.oval((x - half, y - half, x + half, y + half), look.panel)
    sketch.ring((x - half * 0.9, y - half * 0.9, x + half * 0.9, y + half * 0.9), look.ink, 0.8)
    sketch.text((x, y - half * 0.15), look.brand, half * 0.5, half * 1.5, look.ink, bold=True)
    sketch.text((x, y + half * 0.3), look.line, half * 0.28, half * 1.3, look.ink)
    draw_icon(sketch, (left, y + half, right, bottom), look)


def _split(sketch: Sketch, box: Box, look: Look) -> None:
    left, top, right, bottom = box
    x, width, height = (left + right) / 2, right - left, bottom - top
    sketch.block((left, top, right, top + height * 0.3), look.second)
    sketch.block((left, top + height * 0.3, right, bottom), look.panel)
    sketch.text((x, top + height * 0.15), look.brand, height * 0.2, width * 0.9, lighter(look.panel, 0.8), bold=True)
    draw_icon(sketch, (left, top + height * 0.34, right, top + height * 0.72), look)
    sketch.text((x, top + height * 0.8), look.line, height * 0.11, width * 0.86, look.ink)
    sketch.text((x, top + height * 0.92), look.option, height * 0.1, width * 0.8, look.ink)


def _stacked(sketch: Sketch, box: Box, look: Look) -> None:
    """Write the letters of the brand one below the other, beside the icon."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    letters, ink = look.brand.upper()[:8], contrasting(look.main)
    step = height / len(letters)
    for number, letter in enumerate(letters):
        sketch.text((left + width * 0.2, top + (number + 0.5) * step), letter, step, width * 0.3, ink, bold=True)
    draw_icon(sketch, (left + width * 0.4, top, right, top + height * 0.55), look)
    sketch.block((left + width * 0.4, top + height * 0.6, right, bottom), look.panel, radius=1)
    sketch.text((left + width * 0.7, top + height * 0.7), look.line, height * 0.12, width * 0.54, look.ink)
    sketch.text((left + width * 0.7, top + height * 0.88), look.option, height * 0.12, width * 0.54, look.ink)


def _facts(sketch: Sketch, box: Box, look: Look) -> None:
    """Draw the back of a pack: small print and a bar code."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    sketch.block(box, lighter(look.panel, 0.7), radius=1)
    for number in range(7):
        y = top + height * (0.1 + 0.075 * number)
        end = left + width * (0.92 if number % 3 else 0.7)
        sketch.block((left + width * 0.08, y, end, y + height * 0.03), (90, 90, 96))
    sketch.block((left + width * 0.2, top + height * 0.68, right - width * 0.2, top + height * 0.94), (255, 255, 255))
    for bar in range(12):
        x = left + width * (0.24 + 0.044 * bar)
        thick = width * (0.012 + 0.016 * look.shape[bar % 8])
        sketch.block((x, top + height * 0.71, x + thick, top + height * 0.91), (20, 20, 20))


LAYOUTS: dict[str, Callable[[Sketch, Box, Look], None]] = {
    "plain": _plain, "panel": _panel, "band": _band, "roundel": _roundel, "split": _split, "stacked": _stacked,
    "facts": _facts,
}  # fmt: skip
FRONT_LAYOUTS = tuple(layout for layout in LAYOUTS if layout != "facts")


def _leaf(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    for side in (-1, 1):
        tip = (x + side * half * 0.9, y - half * 0.7)
        sketch.polygon([(x, y + half), (x + side * half * 0.1, y - half * 0.3), tip, (x + side * half, y + half * 0.2)],
                       (70, 140 + 30 * (side > 0), 70))  # fmt: skip


def _drop(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    sketch.polygon([(x, y - half), (x + half * 0.62, y + half * 0.2), (x - half * 0.62, y + half * 0.2)], look.second)
    sketch.oval((x - half * 0.65, y - half * 0.3, x + half * 0.65, y + half), look.second)
    sketch.oval((x - half * 0.35, y, x - half * 0.05, y + half * 0.5), lighter(look.second, 0.6))


def _fruit(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    ripe = darker(look.main, 0.15) if look.panel != look.main else look.second
    sketch.oval((x - half * 0.9, y - half * 0.3, x + half * 0.15, y + half * 0.8), ripe)
    sketch.oval((x - half * 0.15, y - half * 0.5, x + half * 0.9, y + half * 0.6), lighter(ripe, 0.2))
    sketch.polygon([(x, y - half * 0.4), (x + half * 0.5, y - half), (x + half * 0.7, y - half * 0.6)], (70, 150, 70))


def _star(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    sketch.polygon(_spikes(x, y, half, half * 0.42, 5), look.second)


def _sun(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    sketch.polygon(_spikes(x, y, half, half * 0.6, 14), (248, 190, 60))
    sketch.oval((x - half * 0.5, y - half * 0.5, x + half * 0.5, y + half * 0.5), look.second)


def _waves(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    for number, shade in enumerate((look.second, lighter(look.second), darker(look.second))):
        top = y - half * 0.6 + number * half * 0.5
        crest = [(x + half * (i / 6 - 1), top + half * 0.2 * math.sin(i * 1.1)) for i in range(13)]
        sketch.stroke(crest, shade, half * 0.22)


def _heart(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    sketch.oval((x - half * 0.9, y - half * 0.8, x + half * 0.05, y + half * 0.2), look.second)
    sketch.oval((x - half * 0.05, y - half * 0.8, x + half * 0.9, y + half * 0.2), look.second)
    sketch.polygon([(x - half * 0.85, y), (x + half * 0.85, y), (x, y + half * 0.95)], look.second)


def _flower(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    for petal in range(6):
        dx, dy = (half * 0.55 * f(petal * math.pi / 3) for f in (math.cos, math.sin))
        sketch.oval((x + dx - half * 0.4, y + dy - half * 0.4, x + dx + half * 0.4, y + dy + half * 0.4), look.second)
    sketch.oval((x - half * 0.3, y - half * 0.3, x + half * 0.3, y + half * 0.3), (250, 214, 80))


def _bolt(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    corners = ((0.3, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.25), (0.05, -0.25))
    sketch.polygon([(x + dx * half, y + dy * half) for dx, dy in corners], look.second)


def _crown(sketch: Sketch, x: float, y: float, half: float, look: Look) -> None:
    corners = ((-0.9, 0.6), (-1, -0.5), (-0.45, 0), (0, -0.8), (0.45, 0), (1, -0.5), (0.9, 0.6))
    sketch.polygon([(x + dx * half, y + dy * half) for dx, dy in corners], (232, 184, 60))


def _spikes(x: float, y: float, outer: float, inner: float, count: int) -> list[tuple[float, float]]:
    radii = [outer if corner % 2 == 0 else inner for corner in range(2 * count)]
    angles = [corner * math.pi / count - math.pi / 2 for corner in range(2 * count)]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


ICONS: dict[str, Callable[[Sketch, float, float, float, Look], None]] = {
    "leaf": _leaf, "drop": _drop, "fruit": _fruit, "star": _star, "sun": _sun, "waves": _waves, "heart": _heart,
    "flower": _flower, "bolt": _bolt, "crown": _crown,
}  # fmt: skip
