"""Draws a product: its look follows from its style, its option and nothing else, so size siblings look the same."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from shared.demo import goods, packs
from shared.demo.canvas import PATTERNS, Look, Sketch, contrasting, darker, lighter, lit, mix
from shared.demo.chance import pick
from shared.demo.labels import FRONT_LAYOUTS, ICONS
from shared.demo.products import Product
from shared.demo.words import COLORS, RGB

FORMS: dict[str, tuple[Callable[[Sketch, Look], None], str]] = {
    "bottle": (packs.bottle, "round"), "pump": (packs.pump, "round"), "jar": (packs.jar, "round"),
    "tube": (packs.tube, "round"), "pouch": (packs.pouch, "soft"), "box": (packs.box, "flat"),
    "can": (packs.can, "round"), "lipstick": (packs.lipstick, "flat"), "tee": (goods.tee, "soft"),
    "dress": (goods.dress, "soft"), "pants": (goods.pants, "soft"), "shoe": (goods.shoe, "flat"),
    "bag": (goods.bag, "flat"), "backpack": (goods.backpack, "soft"), "phone": (goods.phone, "flat"),
    "case": (goods.case, "flat"), "cable": (goods.cable, "flat"), "earphones": (goods.earphones, "flat"),
    "powerbank": (goods.powerbank, "flat"), "watch": (goods.watch, "flat"), "tumbler": (goods.tumbler, "round"),
    "mug": (goods.mug, "round"), "plush": (goods.plush, "soft"),
}  # fmt: skip
LABELED = {"bottle", "pump", "jar", "tube", "pouch", "box", "can"}
QUIET = (1, 4)  # how much likelier a plain body is than each pattern: on labeled packs, on other goods


def look_of(product: Product) -> Look:
    """How a product looks: the style sets everything, the option only its color and its name on the label."""
    rng = np.random.default_rng([product.style])
    own, other, trim = (pick(COLORS, rng).rgb for _ in range(3))
    labeled = product.kind.form in LABELED
    option = mix(product.option.rgb, own, 0.1)
    brand_colored = labeled and rng.random() < 0.15  # flavor shows only on the label's panel and trimmings
    main, second = (own, option) if brand_colored else (option, trim)
    if second == main:
        second = darker(main, 0.4)
    panel = _panel_color(option if brand_colored else other, main, rng)
    return Look(
        form=product.kind.form,
        brand=product.brand.upper() if rng.random() < 0.5 else product.brand,
        line=product.line,
        option=product.option.names[0] if labeled else "",
        main=main,
        second=second,
        panel=panel,
        ink=contrasting(panel),
        pattern=_pattern(labeled, rng),
        layout=pick(FRONT_LAYOUTS, rng),
        icon=pick(list(ICONS), rng),
        shape=tuple(rng.random(8).tolist()),
    )


def _panel_color(tint: RGB, main: RGB, rng: np.random.Generator) -> RGB:
    choice = rng.random()
    if choice < 0.45:
        return lighter(tint, 0.8)
    return tint if choice < 0.75 and tint != main else darker(tint, 0.6)


def _pattern(labeled: bool, rng: np.random.Generator) -> str:
    names = ["plain"] * QUIET[not labeled] + list(PATTERNS)
    return pick(names, rng)


def draw(look: Look, back: bool = False) -> Image.Image:
    """Draw a product upright.

    Args:
        look: How it looks.
        back: Whether to show its back, which has small print in place of the label.

    Returns:
        RGBA image, transparent around the product and trimmed to it.
    """
    paint, light = FORMS[look.form]
    sketch = Sketch()
    paint(sketch, look._replace(layout="facts") if back else look)
    image = lit(sketch.image, light)
    return image.crop(image.getbbox())
