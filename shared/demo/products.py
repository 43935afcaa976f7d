"""The products of the demo marketplace: families that differ only in size, or only in color or flavor."""

from dataclasses import dataclass, replace

import numpy as np

from shared.demo.chance import pick
from shared.demo.words import BRAND_ENDS, BRAND_STARTS, KINDS, Kind, Option

SIBLINGS_BY = ("amount", "option")  # in families whose kind has amounts, the first more often


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        kind: What kind of product it is.
        brand: Its invented brand.
        line: The name of its line within the brand.
        option: Its color, scent or flavor.
        amount: Its size in the unit of its kind, 0 where size plays no role. Titles name it; it is never drawn.
        model: Its model number, or empty.
        style: Seed of everything else in its drawing; siblings share it.
    """

    kind: Kind
    brand: str
    line: str
    option: Option
    amount: int
    model: str
    style: int


def sample_family(members: int, rng: np.random.Generator) -> list[Product]:
    """Return an invented product and its siblings.

    Args:
        members: Number of products, 1 to 4.
        rng: The family's generator.

    Returns:
        Products of one brand and line that differ in their amount or in their option, never in both.
    """
    first = _sample_product(rng)
    axis = SIBLINGS_BY[int(rng.random() < 0.3)]
    if axis == "amount" and len(first.kind.amounts) >= members:
        amounts = rng.choice(first.kind.amounts, size=members, replace=False)
        return [replace(first, amount=int(amount)) for amount in amounts]
    options = rng.choice(len(first.kind.options), size=members, replace=False)
    return [replace(first, option=first.kind.options[i]) for i in options]


def _sample_product(rng: np.random.Generator) -> Product:
    kind = pick(KINDS, rng)
    return Product(
        kind=kind,
        brand=pick(BRAND_STARTS, rng) + pick(BRAND_ENDS, rng),
        line=" ".join(pick(words, rng) for words in kind.lines),
        option=pick(kind.options, rng),
        amount=int(rng.choice(kind.amounts)) if kind.amounts else 0,
        model=_model_number(rng) if kind.has_model else "",
        style=int(rng.integers(2**31)),
    )


def _model_number(rng: np.random.Generator) -> str:
    letters = "".join(rng.choice(list("ABCEFGHKMPSTVXZ"), size=rng.integers(1, 3)))
    return f"{letters}{pick(('', '-', ''), rng)}{rng.integers(1, 99) * int(rng.choice([1, 10]))}"
