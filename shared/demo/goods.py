"""Draw the demo's other goods: clothes, shoes, bags, gadgets, household items."""

import math

from shared.demo.canvas import Look, Sketch, contrasting, darker, lighter, mix, texture
from shared.demo.labels import draw_icon, draw_label

GRAY = (150, 152, 158)


def _print(sketch: Sketch, box: tuple[float, float, float, float], look: Look) -> None:
    """Print an icon, the brand or a label on cloth or a cover; nothing on its back."""
    if look.layout == "facts":
        return
    left, top, right, bottom = box
    middle = (left + right) / 2
    ink = contrasting(look.main)
    if look.layout in ("plain", "band"):
        sketch.text((middle, (top + bottom) / 2), look.brand.upper(), 9, right - left, ink, bold=True)
    elif look.layout in ("panel", "split"):
        draw_label(sketch, box, look)
    elif look.layout == "roundel":
        draw_icon(sketch, box, look)
    else:
        draw_icon(sketch, (left, top, right, (top + bottom) / 2), look)
        sketch.text((middle, bottom - 4), look.line, 7, right - left, ink)


def tee(sketch: Sketch, look: Look) -> None:
    """Draw a shirt with short or long sleeves."""
    half, sleeve, cuff = look.between(20, 27, 0), look.between(30, 72, 1), look.between(7, 11, 2)
    hem = look.between(82, 92, 3)
    arm = look.second if look.shape[4] < 0.3 else darker(look.main, 0.12)
    for side in (-1, 1):
        shoulder, reach = 50 + side * half, 50 + side * (half + look.between(12, 18, 5))
        sketch.polygon([(50 + side * 12, 11), (shoulder, 15), (reach, sleeve), (reach - side * cuff, sleeve + 3),
                        (shoulder - side * 3, 36)], arm)  # fmt: skip
    sketch.lathe([(10, 10), (half, 15), (half, 40), (half * 0.96, hem)], texture(look))
    sketch.oval((40, 6, 60, 16), darker(look.main, 0.45))
    sketch.ring((39, 4, 61, 18), darker(look.main, 0.25), 1.6, 0, 180)
    _print(sketch, (50 - half * 0.6, 28, 50 + half * 0.6, 58), look)


def dress(sketch: Sketch, look: Look) -> None:
    """Draw a long dress."""
    chest, waist, hem = look.between(12, 16, 0), look.between(9, 14, 1), look.between(22, 38, 2)
    waist_y, sleeve = look.between(34, 44, 3), look.between(24, 56, 4)
    for side in (-1, 1):
        reach = 50 + side * (chest + look.between(8, 14, 5))
        sketch.polygon([(50 + side * 6, 9), (50 + side * chest, 12), (reach, sleeve), (reach - side * 6, sleeve + 2),
                        (50 + side * chest, 27)], darker(look.main, 0.1))  # fmt: skip
    sketch.lathe([(6, 8), (chest, 12), (waist, waist_y), (hem * 0.7, 70), (hem, 93)], texture(look))
    sketch.block((50 - waist, waist_y - 1.5, 50 + waist, waist_y + 1.5), look.second)
    sketch.polygon([(44, 8), (56, 8), (50, look.between(12, 20, 6))], darker(look.main, 0.4))
    if look.layout in ("plain", "band", "roundel"):
        sketch.lathe([(hem * 0.92, 86), (hem, 93)], look.second)


def pants(sketch: Sketch, look: Look) -> None:
    """Draw trousers, from shorts to long, tight or wide."""
    hip, foot, hem = look.between(17, 22, 0), look.between(5, 12, 1), look.between(58, 93, 2)
    fabric = texture(look)
    for side in (-1, 1):
        out = 50 + side * (hip + look.between(0, 4, 3))
        sketch.polygon([(50, 10), (50 + side * hip * 0.85, 10), (50 + side * hip, 28), (out, hem),
                        (out - side * 2 * foot, hem), (50 + side * 0.6, 38)], fabric)  # fmt: skip
        if look.layout in ("band", "split", "panel"):
            sketch.stroke([(50 + side * (hip - 2), 14), (out - side * 2, hem - 1)], look.second, 2)
    sketch.block((50 - hip * 0.87, 8, 50 + hip * 0.87, 14), darker(look.main, 0.25), radius=1)
    if look.shape[4] < 0.5 and look.layout != "facts":
        sketch.stroke([(48, 13), (46, 26)], look.second, 1.2)
        sketch.stroke([(52, 13), (54, 24)], look.second, 1.2)


def shoe(sketch: Sketch, look: Look) -> None:
    """Draw a shoe seen from the side."""
    ankle, sole, toe = look.between(24, 46, 0), look.between(5, 11, 1), look.between(50, 58, 2)
    upper = [(14, ankle), (34, ankle - 3), (42, ankle + 6), (62, toe - 4), (84, toe + 2), (91, 66), (90, 74), (12, 74)]
    sketch.polygon([*upper, (11, 58)], texture(look))
    sketch.polygon([(84, toe + 2), (91, 66), (90, 74), (70, 74), (74, 62)], mix(look.main, look.second, 0.6))
    sketch.polygon([(12, ankle + 4), (22, ankle + 8), (24, 74), (12, 74)], look.second)
    rubber = (240, 240, 236) if look.shape[3] < 0.6 else darker(look.second)
    sketch.polygon([(10, 72), (92, 72), (93, 74 + sole * 0.6), (88, 74 + sole), (12, 74 + sole)], rubber)
    for lace in range(4):
        x, y = 40 + lace * 6, ankle + 8 + lace * (toe - ankle) / 5
        sketch.stroke([(x - 3, y + 5), (x + 4, y - 2)], contrasting(look.main), 1.5)
    if look.layout in ("plain", "band"):
        sketch.stroke([(30, 66), (44, 70), (66, 56)], look.second, 3.5)
    elif look.layout in ("panel", "split"):
        for stripe in range(3):
            sketch.stroke([(36 + stripe * 7, 72), (46 + stripe * 6, 56)], look.second, 2.4)
    else:
        draw_icon(sketch, (36, 56, 52, 72), look)


def bag(sketch: Sketch, look: Look) -> None:
    """Draw a hand or shoulder bag."""
    half, top, foot = look.between(24, 36, 0), look.between(38, 50, 1), look.between(0.85, 1.2, 2)
    grip = look.between(10, 22, 3)
    sketch.ring((50 - grip, look.between(6, 22, 4), 50 + grip, top + 30), darker(look.main, 0.3), 3, 180, 360)
    sketch.lathe([(half, top), (half * foot, 82), (half * foot - 3, 88)], texture(look))
    flap = look.between(8, 26, 5)
    if look.shape[6] < 0.6:
        sketch.lathe([(half + 0.5, top), (half * 0.98, top + flap * 0.7), (half * 0.7, top + flap)], look.second)
    sketch.block((46, top + flap - 3, 54, top + flap + 3), (220, 184, 92), radius=1)
    _print(sketch, (50 - half * 0.4, top + flap + 4, 50 + half * 0.4, 86), look)


def backpack(sketch: Sketch, look: Look) -> None:
    """Draw a backpack from the front."""
    half, pocket, top = look.between(22, 30, 0), look.between(54, 64, 1), look.between(12, 18, 2)
    sketch.ring((43, top - 8, 57, top + 8), darker(look.main, 0.4), 2.4, 180, 360)
    for side in (-1, 1):
        sketch.block((50 + side * half - 5, 56, 50 + side * half + 5, 84), darker(look.main, 0.25), radius=3)
    sketch.block((50 - half, top, 50 + half, 92), texture(look), radius=look.between(5, 16, 3))
    sketch.ring((50 - half + 3, top + 4, 50 + half - 3, 80), darker(look.main, 0.4), 1.2, 180, 360)
    sketch.block((50 - half * 0.75, pocket, 50 + half * 0.75, 89), look.second, radius=look.between(2, 6, 4))
    sketch.block((50 - half * 0.7, pocket + 4, 50 + half * 0.7, pocket + 5.4), darker(look.second, 0.5))
    _print(sketch, (50 - half * 0.6, top + 10, 50 + half * 0.6, pocket - 4), look)


def phone(sketch: Sketch, look: Look) -> None:
    """Draw a phone's back with its camera and, beside it, its screen."""
    radius = look.between(2, 6, 0)
    sketch.block((10, 8, 50, 90), look.main, radius=radius)
    _camera(sketch, 14, 12, look)
    sketch.text((30, 80), look.brand, 5, 30, mix(look.main, contrasting(look.main), 0.6))
    sketch.block((46, 12, 88, 94), (24, 24, 28), radius=radius)
    sketch.block((48, 14, 86, 92), texture(look._replace(main=lighter(look.second, 0.2))), radius=radius * 0.7)
    draw_icon(sketch, (54, 26, 80, 56), look)
    for app in range(4):
        x = 51 + app * 8.6
        sketch.block((x, 80, x + 6, 86), lighter(look.second, 0.7), radius=1.4)


def _camera(sketch: Sketch, x: float, y: float, look: Look) -> None:
    lenses = 1 + int(look.shape[1] * 3.99)
    wide = 2 if lenses > 2 else 1
    sketch.block((x, y, x + 8 * wide + 2, y + 8 * math.ceil(lenses / wide) + 2), darker(look.main, 0.35), radius=2.5)
    for lens in range(lenses):
        left, top = x + 2 + 8 * (lens % wide), y + 2 + 8 * (lens // wide)
        sketch.oval((left, top, left + 6, top + 6), (20, 20, 24))
        sketch.oval((left + 2, top + 2, left + 4, top + 4), (90, 100, 130))


def case(sketch: Sketch, look: Look) -> None:
    """Draw a phone cover."""
    half = look.between(19, 24, 0)
    sketch.block((50 - half, 6, 50 + half, 94), darker(look.main, 0.3), radius=7)
    sketch.block((50 - half + 1.5, 7.5, 50 + half - 1.5, 92.5), texture(look), radius=6)
    _camera(sketch, 50 - half + 5, 12, look)
    _print(sketch, (50 - half * 0.75, 40, 50 + half * 0.75, 82), look)


def cable(sketch: Sketch, look: Look) -> None:
    """Draw a coiled cable with two plugs."""
    turns, thick = 2 + int(look.shape[0] * 3), look.between(1.8, 3.6, 1)
    for turn in range(turns):
        inset = turn * look.between(2.5, 5, 2)
        sketch.ring((16 + inset, 22 + inset, 84 - inset, 82 - inset), look.main, thick)
    for center, angle in ((26, 0), (66, 8)):
        sketch.block((center, 66, center + 11, 84 + angle), look.second, radius=2)
        sketch.block((center + 2, 84 + angle, center + 9, 93), GRAY)
        sketch.stroke([(center + 5.5, 66), (center + 7, 54)], look.main, thick)
    sketch.block((38, 44, 62, 58), look.panel, radius=2)
    sketch.text((50, 51), look.brand, 7, 22, look.ink)


def earphones(sketch: Sketch, look: Look) -> None:
    """Draw headphones, or two buds in their charging box."""
    if look.shape[0] < 0.5:
        width = look.between(26, 32, 1)
        sketch.ring((50 - width, 10, 50 + width, 86), look.main, look.between(3, 7, 2), 180, 360)
        for side in (-1, 1):
            x = 50 + side * width
            sketch.block((x - 9, 44, x + 9, 82), look.second, radius=look.between(4, 9, 3))
            sketch.block((x - 5 + side * 2, 48, x + 5 + side * 2, 78), texture(look), radius=4)
        return
    for side in (-1, 1):
        x = 50 + side * 15
        sketch.oval((x - 8, 12, x + 8, 28), look.main)
        sketch.block((x - 3, 24, x + 3, 46), look.main, radius=2.5)
        sketch.oval((x - 4, 16, x + 4, 24), look.second)
    sketch.block((18, 44, 82, 90), texture(look), radius=look.between(6, 20, 1))
    sketch.block((18, 54, 82, 55.5), darker(look.main, 0.4))
    _print(sketch, (32, 60, 68, 84), look)


def powerbank(sketch: Sketch, look: Look) -> None:
    """Draw a power bank with its ports and lights."""
    half, top = look.between(18, 30, 0), look.between(8, 26, 1)
    sketch.block((50 - half, top, 50 + half, 92), texture(look), radius=look.between(2, 10, 2))
    sketch.block((50 - half, top, 50 + half, top + 12), darker(look.main, 0.3), radius=2)
    for port in range(2 + int(look.shape[3] * 2)):
        x = 50 - half + 5 + port * 12
        sketch.block((x, top + 4, x + 8, top + 8), (18, 18, 20), radius=1)
    for light in range(4):
        sketch.oval((50 - 8 + light * 4.4, 84, 50 - 6 + light * 4.4, 86), (90, 220, 160))
    _print(sketch, (50 - half * 0.75, top + 22, 50 + half * 0.75, 78), look)


def watch(sketch: Sketch, look: Look) -> None:
    """Draw a round or square watch on its strap."""
    half, strap = look.between(18, 24, 0), look.between(9, 14, 1)
    sketch.lathe([(strap * 0.7, 3), (strap, 30), (strap, 70), (strap * 0.7, 97)], texture(look))
    frame = sketch.block if look.shape[2] < 0.45 else sketch.oval
    for inset, fill in ((0, look.second), (3, look.panel)):
        frame((50 - half + inset, 50 - half + inset, 50 + half - inset, 50 + half - inset), fill)
    hand = half * 0.6
    for mark in range(12):
        dx, dy = math.cos(mark * math.pi / 6), math.sin(mark * math.pi / 6)
        start, end = half * 0.72, half * 0.82
        sketch.stroke([(50 + dx * start, 50 + dy * start), (50 + dx * end, 50 + dy * end)], look.ink, 1.4)
    sketch.text((50, 42), look.brand, 5, half, look.ink)
    for turn, length in ((look.shape[3], hand), (look.shape[4], hand * 0.7)):
        tip = (50 + length * math.cos(turn * 6.3), 50 + length * math.sin(turn * 6.3))
        sketch.stroke([(50, 50), tip], look.ink, 1.6)
    sketch.block((50 + half - 1, 47, 50 + half + 3, 53), look.second, radius=1)


def tumbler(sketch: Sketch, look: Look) -> None:
    """Draw a drinking flask."""
    half, foot, top = look.between(13, 20, 0), look.between(0.7, 1, 1), look.between(16, 28, 2)
    sketch.block((50 - half * 0.8, 7, 50 + half * 0.8, top), look.second, radius=look.between(1, 5, 3))
    if look.shape[4] < 0.4:
        sketch.ring((50 - half * 0.5, 2, 50 + half * 0.5, 16), darker(look.second), 2, 180, 360)
    sketch.lathe([(half, top), (half, 40), (half * foot, 90), (half * foot * 0.9, 93)], texture(look))
    sketch.block((50 - half, top, 50 + half, top + 2.5), (206, 208, 214))
    _print(sketch, (50 - half * 0.7, 42, 50 + half * 0.7, 76), look)


def mug(sketch: Sketch, look: Look) -> None:
    """Draw a mug with a handle."""
    half, top, foot = look.between(22, 30, 0), look.between(18, 36, 1), look.between(0.75, 1, 2)
    sketch.ring((44 + half * 0.6, top + 10, 52 + half * 1.5, 78), darker(look.main, 0.1), look.between(4, 7, 3))
    sketch.lathe([(half, top), (half, top + 20), (half * foot, 84), (half * foot * 0.9, 88)], texture(look), center=46)
    sketch.oval((46 - half, top - 4, 46 + half, top + 4), darker(look.main, 0.35))
    _print(sketch, (46 - half * 0.65, top + 12, 46 + half * 0.65, 78), look)


def plush(sketch: Sketch, look: Look) -> None:
    """Draw a cuddly bear, rabbit or cat, with or without a belly patch."""
    head = look.between(17, 23, 1)
    _ears(sketch, head, look)
    for side in (-1, 1):
        sketch.oval((50 + side * 22 - 9, 54, 50 + side * 22 + 9, 76), look.main)
        sketch.oval((50 + side * 14 - 11, 78, 50 + side * 14 + 11, 96), look.main)
    sketch.oval((50 - look.between(19, 27, 4), 46, 50 + look.between(19, 27, 4), 92), texture(look))
    sketch.oval((50 - head, 14, 50 + head, 54), look.main)
    if look.shape[3] < 0.6:
        sketch.oval((50 - 13, 58, 50 + 13, 86), lighter(look.main, 0.5))
    sketch.oval((50 - 8, 36, 50 + 8, 48), lighter(look.main, 0.6))
    for x in (42, 58):
        sketch.oval((x - 2.4, 29, x + 2.4, 34), (24, 20, 20))
    sketch.oval((47, 37, 53, 41), (60, 36, 36))
    if look.layout != "facts" and look.shape[4] < 0.6:
        draw_icon(sketch, (42, 62, 58, 80), look)


def _ears(sketch: Sketch, head: float, look: Look) -> None:
    for side in (-1, 1):
        x, inner = 50 + side * head * 0.7, look.second
        if look.shape[5] < 0.4:
            sketch.oval((x - 9, 8, x + 9, 26), look.main)
            sketch.oval((x - 5, 12, x + 5, 22), inner)
        elif look.shape[5] < 0.7:
            x -= side * 4
            sketch.oval((x - 6, 0, x + 6, 34), look.main)
            sketch.oval((x - 3, 4, x + 3, 28), inner)
        else:
            sketch.polygon([(x - 10, 28), (x + side * 6, 4), (x + 10, 28)], look.main)
            sketch.polygon([(x - 5, 24), (x + side * 4, 10), (x + 5, 24)], inner)
