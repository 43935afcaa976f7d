"""Draw the demo's devices: cameras, screens, storage, printers and ink, machines, tools."""

from shared.demo.canvas import Look, Sketch, contrasting, darker, lighter, mix
from shared.demo.labels import draw_label

METAL = (176, 180, 186)
DARK = (26, 26, 30)
GLASS = (70, 84, 118)


def camera(sketch: Sketch, look: Look) -> None:
    """Draw a compact camera from the front."""
    top, foot, x = look.between(28, 34, 0), look.between(70, 78, 1), look.between(52, 66, 2)
    radius = look.between(11, 17, 3)
    sketch.block((72, top - 5, 84, top + 4), look.second, radius=1.5)
    sketch.block((8, top, 92, foot), look.main, radius=look.between(2, 9, 4))
    sketch.block((8, top + 7, 92, top + 9), look.second)
    y = (top + foot) / 2 + 2
    for inset, fill in ((0, METAL), (2.5, DARK), (6, GLASS), (9, DARK)):
        half = radius - inset
        sketch.oval((x - half, y - half, x + half, y + half), fill)
    sketch.block((14, top + 11, 26, top + 17), (236, 234, 214), radius=1)
    sketch.text((26, foot - 14), look.brand, 7, 32, contrasting(look.main), bold=True)
    sketch.text((26, foot - 6), look.line, 4.5, 32, contrasting(look.main))


def router(sketch: Sketch, look: Look) -> None:
    """Draw a router with one to three antennas."""
    top, antennas = look.between(52, 60, 0), 1 + int(look.shape[1] * 2.99)
    for number in range(antennas):
        x = 50 + (number - (antennas - 1) / 2) * look.between(22, 34, 2)
        sketch.stroke([(x, top + 2), (x + (x - 50) * 0.1, look.between(8, 24, 3))], darker(look.main, 0.4), 4)
    sketch.block((8, top, 92, 84), look.main, radius=look.between(2, 9, 4))
    sketch.block((8, 76, 92, 84), look.second, radius=3)
    for light in range(3 + int(look.shape[5] * 4)):
        sketch.oval((15 + light * 7, 79, 18 + light * 7, 82), (110, 226, 140))
    sketch.text((50, top + 8), look.brand, 9, 60, contrasting(look.main), bold=True)
    sketch.text((50, top + 16), look.line, 5, 50, contrasting(look.main))


def screen(sketch: Sketch, look: Look) -> None:
    """Draw a television or monitor on its stand."""
    edge, foot = look.between(1.5, 5, 0), look.between(66, 72, 1)
    sketch.block((44, foot, 56, 84), darker(look.main, 0.3))
    sketch.block((50 - look.between(14, 26, 2), 82, 50 + look.between(14, 26, 2), 87), look.main, radius=2)
    sketch.block((4, 14, 96, foot + 5), look.main, radius=2)
    sketch.block((4 + edge, 14 + edge, 96 - edge, foot), mix(DARK, look.panel, 0.5))
    sketch.polygon([(4 + edge, foot), (look.between(20, 50, 3), look.between(24, 44, 4)), (70, foot)], look.panel)
    sketch.oval((70, 22, 82, 34), lighter(look.panel, 0.6))
    sketch.text((50, foot + 2.6), look.brand, 4.4, 30, contrasting(look.main))


def card(sketch: Sketch, look: Look) -> None:
    """Draw a memory card with its capacity."""
    cut = look.between(10, 18, 0)
    sketch.polygon([(20, 8), (80 - cut, 8), (80, 8 + cut), (80, 92), (20, 92)], look.main)
    sketch.block((26, 24, 74, 84), look.panel, radius=2)
    sketch.text((50, 34), look.brand, 9, 44, look.ink, bold=True)
    sketch.text((50, 46), look.line, 6, 42, look.ink)
    sketch.text((50, 68), look.option, 16, 42, look.ink, bold=True)
    sketch.block((21, 40, 24, 50), METAL)


def stick(sketch: Sketch, look: Look) -> None:
    """Draw a USB stick with its capacity."""
    half = look.between(11, 17, 0)
    sketch.block((50 - 9, 6, 50 + 9, 30), METAL, radius=1)
    for x in (44, 53):
        sketch.block((x, 12, x + 4, 17), DARK)
    sketch.block((50 - half, 28, 50 + half, 94), look.main, radius=look.between(2, 8, 1))
    sketch.block((50 - half + 2, 38, 50 + half - 2, 82), look.panel, radius=2)
    sketch.text((50, 46), look.brand, 6, 2 * half - 6, look.ink, bold=True)
    sketch.text((50, 55), look.line, 5, 2 * half - 6, look.ink)
    sketch.text((50, 70), look.option, 9, 2 * half - 6, look.ink, bold=True)


def drive(sketch: Sketch, look: Look) -> None:
    """Draw an external hard drive with its capacity."""
    half = look.between(25, 34, 0)
    sketch.block((50 - half, 8, 50 + half, 92), look.main, radius=look.between(2, 9, 1))
    sketch.block((50 - half, look.between(58, 70, 2), 50 + half, 80), look.second)
    sketch.text((50, 24), look.brand, 10, 2 * half - 10, contrasting(look.main), bold=True)
    sketch.text((50, 36), look.line, 6, 2 * half - 12, contrasting(look.main))
    sketch.text((50, 50), look.option, 8, 2 * half - 12, contrasting(look.main))
    sketch.oval((50 + half - 8, 85, 50 + half - 5, 88), (90, 170, 250))


def printer(sketch: Sketch, look: Look) -> None:
    """Draw a printer with paper above and below."""
    top, lid = look.between(34, 44, 0), look.between(6, 14, 1)
    sketch.polygon([(28, 8), (72, 8), (76, top + 4), (24, top + 4)], (246, 246, 242))
    sketch.block((8, top, 92, 80), look.main, radius=look.between(2, 8, 2))
    sketch.block((8, top, 92, top + lid), look.second, radius=3)
    sketch.block((64, top + lid + 3, 86, top + lid + 12), (120, 190, 214), radius=1)
    sketch.block((20, 66, 80, 72), DARK, radius=1)
    sketch.polygon([(25, 70), (75, 70), (80, 90), (20, 90)], (250, 250, 248))
    sketch.text((34, top + lid + 7), look.brand, 8, 40, contrasting(look.main), bold=True)
    sketch.text((34, top + lid + 15), look.line, 5, 40, contrasting(look.main))


def cartridge(sketch: Sketch, look: Look) -> None:
    """Draw an ink cartridge; its color is that of the ink."""
    width = look.between(18, 28, 0)
    sketch.block((50 - width, 14, 50 + width, 86), DARK, radius=3)
    sketch.block((50 + width - 3, 22, 50 + width + 6, 30), DARK, radius=1)
    sketch.block((50 - width + 3, 20, 50 + width - 3, 58), (244, 244, 240), radius=1)
    sketch.text((50, 29), look.brand, 9, 2 * width - 10, DARK, bold=True)
    sketch.text((50, 42), look.line, 6, 2 * width - 10, DARK)
    sketch.block((50 - width + 3, 50, 50 + width - 3, 58), look.main)
    sketch.oval((44, 66, 56, 78), look.main)


def washer(sketch: Sketch, look: Look) -> None:
    """Draw a washing machine from the front."""
    radius = look.between(19, 25, 0)
    sketch.block((16, 6, 84, 94), look.main, radius=2)
    sketch.block((16, 6, 84, 22), look.second, radius=2)
    sketch.block((20, 10, 40, 18), lighter(look.second, 0.3), radius=1)
    sketch.oval((62, 9, 72, 19), METAL)
    for inset, fill in ((0, METAL), (4, DARK), (8, GLASS)):
        half = radius - inset
        sketch.oval((50 - half, 56 - half, 50 + half, 56 + half), fill)
    sketch.ring((50 - radius + 11, 56 - radius + 11, 50 + radius - 11, 56 + radius - 11), lighter(GLASS), 1.4, 180, 290)
    sketch.text((50, 27), look.brand, 5, 30, contrasting(look.main), bold=True)


def drill(sketch: Sketch, look: Look) -> None:
    """Draw a cordless drill from the side."""
    top, grip = look.between(18, 24, 0), look.between(20, 27, 1)
    sketch.block((4, top + 11, 22, top + 14), METAL)
    sketch.polygon([(20, top + 6), (34, top + 2), (34, top + 23), (20, top + 19)], DARK)
    sketch.block((33, top, 88, top + 25), look.main, radius=look.between(4, 11, 2))
    sketch.polygon([(60, top + 22), (60 + grip, top + 22), (64 + grip, 80), (62, 80)], look.second)
    sketch.block((54, 78, 70 + grip, 93), DARK, radius=3)
    sketch.polygon([(54, top + 26), (60, top + 26), (61, top + 36), (57, top + 36)], DARK)
    draw_label(sketch, (40, top + 3, 82, top + 22), look._replace(layout="plain"))
