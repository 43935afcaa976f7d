"""The products that shops list: families of one brand and line that differ in one stated attribute."""

import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from shared.demo.chance import pick
from shared.demo.shops.categories import BRANDS, CATEGORIES, LINE_ENDS, LINE_STARTS, Brand, Category
from shared.demo.shops.plan import MAX_FAMILY

LETTERS = "ABCDEFGHKLMNPRSTVWXZ"
PART_SUFFIXES = ("B", "A", "EU", "UK", "C")
SERIES_STEP = 15  # between the numbers of siblings
NEW_SPEC_SHARE = 0.5  # of the siblings with another series that have a first specification of their own


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        category: What it is.
        brand: Its brand.
        line: The name of its line.
        series: The number in its model number.
        color: A key of `categories.COLORS`.
        specs: A value for each specification of the category.
        part: The manufacturer's part number; every product has another.
        style: Seed of everything else in its drawing; siblings share it.
    """

    category: Category
    brand: Brand
    line: str
    series: int
    color: str
    specs: tuple[str, ...]
    part: str
    style: int

    @property
    def model(self) -> str:
        """The model number, which follows from brand, line, series, color and specifications."""
        form = self.category.form
        values = {spec.name: value for spec, value in zip(self.category.specs, self.specs, strict=True)}
        return self.category.model.format(
            p=_letters(f"{self.brand.name}/{form}", 2), q=_letters(f"{self.brand.name}/{form}/{self.line}", 1),
            n=self.series, c=self.color[0], **{name: value.replace(".", "") for name, value in values.items()},
        )  # fmt: skip

    def spec(self, name: str) -> str:
        """Return the value of the specification of a name."""
        return self.specs[[spec.name for spec in self.category.specs].index(name)]


class Family(NamedTuple):
    """Siblings.

    Attributes:
        products: The products.
        axis: What they differ in: "series" (some then also in the first specification), "color" or the name of a
            specification. Part numbers always differ, and model numbers where they name the axis.
    """

    products: list[Product]
    axis: str


def sample_family(members: int, rng: np.random.Generator) -> Family:
    """Return an invented product and its siblings.

    Args:
        members: Number of products, 1 to `plan.MAX_FAMILY`.
        rng: The family's generator.

    Returns:
        A family with so many products, all different.
    """
    category = pick(CATEGORIES, rng)
    first = _sample_product(category, rng)
    axes = [axis for axis in category.axes if len(_values(first, axis)) >= members]
    axis = pick(axes, rng)
    values = rng.choice(len(_values(first, axis)), size=members, replace=False)
    siblings = [_sibling(first, axis, _values(first, axis)[value], rng) for value in values.tolist()]
    return Family([replace(sibling, part=_part_number(rng)) for sibling in siblings], axis)


def _sample_product(category: Category, rng: np.random.Generator) -> Product:
    weights = 1 / np.arange(2, len(category.brands) + 2)
    brand = BRANDS[category.brands[int(rng.choice(len(weights), p=weights / weights.sum()))]]
    series = int(rng.integers(10 ** (category.digits - 1), 10**category.digits))
    return Product(
        category=category,
        brand=brand,
        line=line_name(brand, category, int(rng.integers(category.lines))),
        series=series if rng.random() < 0.5 else series // 10 * 10,
        color=pick(category.colors, rng),
        specs=tuple(pick(spec.values, rng) for spec in category.specs),
        part="",
        style=int(rng.integers(2**31)),
    )


def line_name(brand: Brand, category: Category, number: int) -> str:
    """Return the name of one of the lines that a brand has in a category."""
    code = zlib.crc32(f"{brand.name}/{category.form}".encode()) + number * 37
    return LINE_STARTS[code % len(LINE_STARTS)] + LINE_ENDS[code // len(LINE_STARTS) % len(LINE_ENDS)]


def _values(product: Product, axis: str) -> list[str]:
    """Return the values of an axis that a product and its siblings choose from."""
    if axis == "series":
        first = min(product.series, 10**product.category.digits - SERIES_STEP * MAX_FAMILY)
        return [str(first + SERIES_STEP * number) for number in range(MAX_FAMILY)]
    if axis == "color":
        return list(product.category.colors)
    return next(list(spec.values) for spec in product.category.specs if spec.name == axis)


def _sibling(product: Product, axis: str, value: str, rng: np.random.Generator) -> Product:
    if axis == "color":
        return replace(product, color=value)
    names = [spec.name for spec in product.category.specs]
    specs = list(product.specs)
    if axis == "series":
        if rng.random() < NEW_SPEC_SHARE:
            specs[0] = pick(product.category.specs[0].values, rng)
        return replace(product, series=int(value), specs=tuple(specs))
    specs[names.index(axis)] = value
    return replace(product, specs=tuple(specs))


def _part_number(rng: np.random.Generator) -> str:
    return f"{rng.integers(10**4):04d}{pick(LETTERS, rng)}{rng.integers(10**3):03d}{pick(PART_SUFFIXES, rng)}"


def _letters(text: str, count: int) -> str:
    """Return letters that stand for a name in model numbers."""
    code = zlib.crc32(text.encode())
    return "".join(LETTERS[code // len(LETTERS) ** place % len(LETTERS)] for place in range(count))
