"""Draw the demo's packed goods: bottles, jars, tubes, pouches, boxes, cans."""

from shared.demo.canvas import Look, Sketch, contrasting, darker, lighter, texture
from shared.demo.labels import draw_label

METAL = (196, 198, 204)


def bottle(sketch: Sketch, look: Look) -> None:
    """Draw a bottle with a screw or flip cap."""
    half, neck, top = look.between(13, 23, 0), look.between(4, 9, 1), look.between(20, 30, 2)
    waist = half * look.between(0.82, 1.05, 3)
    cap = look.between(neck, neck + 4, 4)
    sketch.block((50 - cap, 8, 50 + cap, top - 2), look.second, radius=1.5)
    profile = [(neck, top - 3), (neck, top), (half * 0.7, top + 4), (half, top + 11), (waist, 60), (half, 86)]
    sketch.lathe([*profile, (half * 0.95, 91), (half * 0.8, 92)], texture(look))
    draw_label(sketch, (50 - half * 0.85, top + 14, 50 + half * 0.85, 86), look)


def pump(sketch: Sketch, look: Look) -> None:
    """Draw a bottle with a pump."""
    half, top = look.between(14, 22, 0), look.between(32, 42, 2)
    sketch.block((48.6, 14, 51.4, top), METAL)
    sketch.block((36 - look.between(0, 6, 3), 8, 55, 14), look.second, radius=2)
    sketch.block((43, top - 9, 57, top), look.second, radius=1)
    if look.shape[1] < 0.5:
        sketch.block((50 - half, top, 50 + half, 92), texture(look), radius=look.between(2, 9, 4))
    else:
        sketch.lathe([(8, top), (half, top + 9), (half * 0.9, 92), (half * 0.7, 93)], texture(look))
    draw_label(sketch, (50 - half * 0.8, top + 10, 50 + half * 0.8, 88), look)


def jar(sketch: Sketch, look: Look) -> None:
    """Draw a low jar with a wide lid."""
    half, top, lid = look.between(24, 38, 0), look.between(30, 42, 1), look.between(10, 18, 2)
    foot = half * look.between(0.7, 1, 3)
    sketch.block((50 - half, top - lid, 50 + half, top), look.second, radius=look.between(1, 6, 4))
    sketch.lathe([(half * 0.95, top), (half * 0.97, top + 6), (foot, 82), (foot * 0.92, 86)], texture(look))
    draw_label(sketch, (50 - foot * 0.8, top + 4, 50 + foot * 0.8, 82), look)


def tube(sketch: Sketch, look: Look) -> None:
    """Draw a squeeze tube on its cap."""
    half, cap = look.between(14, 20, 0), look.between(8, 13, 1)
    sketch.lathe([(half + 2, 7), (half + 2, 12), (half, 40), (cap + 2, 76)], texture(look))
    sketch.block((50 - half - 2, 7, 50 + half + 2, 11), darker(look.main, 0.15))
    sketch.block((50 - cap, 76, 50 + cap, 92), look.second, radius=look.between(1, 4, 2))
    draw_label(sketch, (50 - half * 0.75, 17, 50 + half * 0.75, 70), look)


def pouch(sketch: Sketch, look: Look) -> None:
    """Draw a foil bag, pillow shaped or standing."""
    half, top = look.between(24, 34, 0), look.between(8, 16, 1)
    swell = look.between(0, 4, 2)
    profile = [(half, top), (half - 1.5, top + 7), (half + swell, 50), (half - 1.5, 85), (half, 92)]
    sketch.lathe(profile, texture(look))
    sketch.block((50 - half, top, 50 + half, top + 5), darker(look.main, 0.2))
    if look.shape[3] < 0.5:
        sketch.block((50 - half, 87, 50 + half, 92), darker(look.main, 0.2))
    if look.shape[4] < 0.4:
        sketch.oval((50 - 12, 62, 50 + 12, 84), lighter(look.second, 0.5))
    draw_label(sketch, (50 - half * 0.8, top + 11, 50 + half * 0.8, 82), look)


def box(sketch: Sketch, look: Look) -> None:
    """Draw a carton with its right side in view."""
    half, top, depth = look.between(18, 33, 0), look.between(10, 34, 1), look.between(5, 13, 2)
    left, right = 50 - half - depth / 2, 50 + half - depth / 2
    sketch.polygon([(right, top), (right + depth, top - 4), (right + depth, 86), (right, 92)], darker(look.main, 0.35))
    sketch.polygon([(left, top), (left + depth, top - 4), (right + depth, top - 4), (right, top)], lighter(look.main))
    sketch.block((left, top, right, 92), texture(look))
    inset = look.between(2, 5, 3)
    draw_label(sketch, (left + inset, top + inset, right - inset, 92 - inset), look)


def can(sketch: Sketch, look: Look) -> None:
    """Draw a drink can."""
    half, top = look.between(15, 24, 0), look.between(10, 24, 1)
    sketch.lathe([(half * 0.8, top), (half, top + 6), (half, 86), (half * 0.8, 92)], texture(look))
    sketch.oval((50 - half * 0.8, top - 3, 50 + half * 0.8, top + 3), METAL)
    sketch.oval((50 - half * 0.3, top - 1.5, 50 + half * 0.3, top + 1.5), darker(METAL))
    sketch.block((50 - half * 0.86, 88, 50 + half * 0.86, 90), METAL)
    draw_label(sketch, (50 - half * 0.85, top + 9, 50 + half * 0.85, 85), look)


def lipstick(sketch: Sketch, look: Look) -> None:
    """Draw a lipstick or a lip cream, open, its cap beside it."""
    half, top, gold = look.between(7, 11, 0), look.between(14, 24, 1), (212, 176, 96)
    trim = gold if look.shape[3] < 0.5 else METAL
    center, right, is_cream = 36, 58 + 2 * half, look.shape[2] > 0.5
    if not is_cream:
        tip = [(center - half * 0.7, top + 12), (center + half * 0.7, top), (center + half * 0.7, 46)]
        sketch.polygon([*tip, (center - half * 0.7, 46)], look.main)
        sketch.block((center - half * 0.85, 42, center + half * 0.85, 56), trim)
        sketch.block((center - half, 54, center + half, 92), look.second, radius=1)
        cap = texture(look._replace(main=look.second, second=look.main))
        sketch.block((58, 50 - top / 2, right, 92), cap, radius=2)
    else:
        sketch.block((center - half * 0.4, top + 10, center + half * 0.4, 36), trim)
        sketch.block((center - half, 34, center + half, 92), look.main, radius=3)
        sketch.block((58 + half - 1, 44, 58 + half + 1, 86), trim)
        sketch.oval((58 + half - 3, 78, 58 + half + 3, 94), look.main)
        sketch.block((58, 8, right, 46), look.second, radius=2)
    sketch.block((58, 40, right, 44), trim)
    sketch.text((center, 72), look.brand, 7, half * 1.8, contrasting(look.main if is_cream else look.second))
    sketch.text((58 + half, 24 if is_cream else 66), look.line, 6, half * 1.8, contrasting(look.second))
