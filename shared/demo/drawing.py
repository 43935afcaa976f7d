"""Draw a product; its look follows from its style and option alone, so siblings of other sizes look the same."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from shared.demo import devices, goods, packs
from shared.demo.canvas import PATTERNS, Look, Sketch, add_light, contrasting, darker, lighter, mix
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
    "camera": (devices.camera, "flat"), "router": (devices.router, "flat"), "television": (devices.screen, "flat"),
    "monitor": (devices.screen, "flat"), "card": (devices.card, "flat"), "stick": (devices.stick, "flat"),
    "drive": (devices.drive, "flat"), "printer": (devices.printer, "flat"), "cartridge": (devices.cartridge, "flat"),
    "washer": (devices.washer, "flat"), "drill": (devices.drill, "flat"),
}  # fmt: skip
LABELED = {"bottle", "pump", "jar", "tube", "pouch", "box", "can"}
PLAIN_WEIGHT = (1, 4)  # weight of a plain body beside 1 for each pattern: packs with a label, other goods


def look_of(product: Product) -> Look:
    """Return how a product looks: the option sets one color and one word on the label, the style everything else."""
    rng = np.random.default_rng([product.style])
    base, other, trim = (pick(COLORS, rng).rgb for _ in range(3))
    labeled = product.kind.form in LABELED
    option = mix(product.option.rgb, base, 0.1)
    brand_colored = labeled and rng.random() < 0.15  # the option shows only in panel and trimmings
    main, second = (base, option) if brand_colored else (option, trim)
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
    names = ["plain"] * PLAIN_WEIGHT[not labeled] + list(PATTERNS)
    return pick(names, rng)


def draw(look: Look, back: bool = False) -> Image.Image:
    """Return a drawing of an upright product.

    Args:
        look: The appearance of the product.
        back: Whether to show its back, with small print in place of the label.

    Returns:
        RGBA image, cropped to the product, transparent around it.
    """
    paint, light = FORMS[look.form]
    sketch = Sketch()
    paint(sketch, look._replace(layout="facts") if back else look)
    image = add_light(sketch.image, light)
    return image.crop(image.getbbox())
