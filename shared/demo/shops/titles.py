"""Titles as shops write them: brand, line, model number, specifications and color, each shop in a style of its own."""

from collections.abc import Sequence

import numpy as np

from shared.demo.chance import pick
from shared.demo.shops.categories import COLORS, PLAIN_WORDS, Spec
from shared.demo.shops.products import Product, line_name
from shared.demo.shops.styles import Shop

NAMES_AXIS = 0.96  # share of the titles that name what siblings differ in
SPECS_WITHOUT_MODEL = 2  # least number of specifications in titles without model number
VAGUE_SHARE = 0.02  # of the titles, which name neither brand nor line nor model
FITS = 3  # devices that a product is made for
MANUFACTURER = Shop("the manufacturer", 0, "brand line model noun specs color fits", {}, (2, 2))
JOINTS = {"-": " - {}", ",": ", {}", "(": " ({})"}  # how a part is joined to those before it; else with a blank
SEPARATORS = {"dashed": None, "blank": " ", "joined": ""}  # what stands for dashes and slashes in model numbers


def shop_title(product: Product, axis: str, shop: Shop, rng: np.random.Generator) -> str:
    """Return the title of a product in the list of a shop, in ASCII.

    Args:
        product: The product.
        axis: What its siblings differ in, or empty if it has none; titles seldom leave it out.
        shop: The shop, whose style the title has.
        rng: Decides what the title leaves out.
    """
    if rng.random() < shop.feed:
        title = _compose(product, axis, MANUFACTURER, rng)
    else:
        title = _compose(product, axis if rng.random() < NAMES_AXIS else "", shop, rng)
    if len(title) > shop.longest:
        title = title[: shop.longest + 1].rsplit(" ", 1)[0]
    return {"lower": title.lower(), "upper": title.upper()}.get(shop.case, title)


def _compose(product: Product, axis: str, shop: Shop, rng: np.random.Generator) -> str:
    parts = _parts(axis, shop, rng)
    words = _words(product, axis, shop, 0 if "model" in parts else SPECS_WITHOUT_MODEL, rng)
    title = ""
    for part in shop.order.split():
        joint, name = (part[0], part[1:]) if part[0] in JOINTS else ("", part)
        if name in parts and words[name]:
            title += JOINTS.get(joint, " {}").format(words[name])
    return title.strip(" -,")


def _parts(axis: str, shop: Shop, rng: np.random.Generator) -> set[str]:
    """Return the parts that a title names; one without a model number names the line if the shop ever does."""
    names = [part.lstrip("".join(JOINTS)) for part in shop.order.split()]
    parts = {name for name in names if rng.random() < shop.shares.get(name, 1.0)}
    parts.add({"series": "model"}.get(axis, axis))
    if shop is not MANUFACTURER and rng.random() < VAGUE_SHARE:
        return parts - {"brand", "line", "model"}
    return parts if "model" in parts else parts | {"line"}


def _words(product: Product, axis: str, shop: Shop, least: int, rng: np.random.Generator) -> dict[str, str]:
    """Return how a shop writes each part of a title, with at least `least` specifications."""
    category = product.category
    separator = SEPARATORS[shop.model]
    model = product.model
    if separator is not None:
        model = model.replace("-", separator).replace("/", separator)
    colors = COLORS[product.color][1]
    return {
        "brand": product.brand.short if rng.random() < shop.short_brand else product.brand.name,
        "line": product.line,
        "model": model,
        "noun": _usual(category.nouns, shop.habit(category.form, 2 * len(category.nouns))),
        "specs": _specs(product, axis, shop, least, rng),
        "color": colors[shop.habit("color", len(colors))],
        "claims": pick(category.claims + PLAIN_WORDS, rng),
        "part": product.part,
        "fits": _fits(product, shop) if category.fits else "",
    }


def _usual(choices: Sequence[str], number: int) -> str:
    """Return the first choice for half of the numbers below twice their count, and one of all for the others."""
    return choices[max(0, number - len(choices))]


def _specs(product: Product, axis: str, shop: Shop, least: int, rng: np.random.Generator) -> str:
    """Return the specifications that a shop names: that of the axis, and those that it prefers."""
    specs = product.category.specs
    count = int(rng.integers(shop.specs[0], shop.specs[1] + 1))
    rank = {spec.name: 3 * place + shop.habit(f"prefers {spec.name}", 8) for place, spec in enumerate(specs)}
    ranking = sorted(specs, key=lambda spec: (spec.name != axis, rank[spec.name]))
    count = max(count, least, int(ranking[0].name == axis))
    texts = [spec_text(spec, product.spec(spec.name), shop) for spec in ranking[:count]]
    return " ".join(text for text in texts if text)


def spec_text(spec: Spec, value: str, shop: Shop) -> str:
    """Return a specification as a shop writes it, such as 2GB, 2 GB or 2048MB; empty for a pack of one."""
    if spec.name == "pack" and value == "1":
        return ""
    form = _usual(spec.forms, shop.habit(spec.name, 2 * len(spec.forms)))
    try:
        number = float(value)
    except ValueError:
        return form.format(value=value)
    return form.format(value=value, mega=round(number * 1024), tera=f"{number / 1000:g}", cm=round(number * 2.54))


def _fits(product: Product, shop: Shop) -> str:
    """Return what a cartridge is made for; shops name one to three devices."""
    line = line_name(product.brand, product.category, 5)
    devices = [f"{line[0]}{1000 + (product.series * 370 + number * 110) % 9000}" for number in range(FITS)]
    return f"for {line} {'/'.join(devices[: 1 + shop.habit('fits', FITS)])}"
