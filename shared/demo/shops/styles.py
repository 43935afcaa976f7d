"""The shops: how each writes titles, and what it does with photos."""

import zlib
from typing import NamedTuple

import numpy as np

SHOPS_PER_CATALOG = 6


class Shop(NamedTuple):
    """A shop and its style, to which it keeps in all its titles.

    Attributes:
        name: Its invented name.
        weight: How many products it lists, relative to the other shops.
        order: The parts of a title in their order; " - ", ", " or brackets join a part to those before it.
        shares: For each part that it sometimes leaves out, the share of the titles that name it.
        specs: Fewest and most specifications that it names.
        case: "as is", "lower" or "upper".
        model: How it writes model numbers: "dashed", "blank" (blanks for dashes) or "joined".
        short_brand: Share of the titles with the short name of the brand.
        feed: Share of the titles that it copies from the manufacturer.
        longest: Titles are cut after so many characters.
        photos: Share of the listings with the manufacturer's photo; the others have none.
        side: Longer side of its photos in pixels, or 0 where it leaves the manufacturer's file as it is.
        watermark: Whether it writes its name on its photos.
    """

    name: str
    weight: float
    order: str
    shares: dict[str, float]
    specs: tuple[int, int]
    case: str = "as is"
    model: str = "dashed"
    short_brand: float = 0.1
    feed: float = 0.0
    longest: int = 150
    photos: float = 0.9
    side: int = 0
    watermark: bool = False

    def habit(self, question: str, answers: int) -> int:
        """Return which of several ways this shop has, from 0; always the same for the same question."""
        return zlib.crc32(f"{self.name}/{question}".encode()) % answers


SHOPS = (
    Shop("Hallmere Electronics", 1.4, "brand model line noun specs color", {"line": 0.9, "color": 0.85}, (2, 4),
         photos=1.0),
    Shop("plugbarn", 1.2, "brand model noun specs color", {"noun": 0.5, "color": 0.3}, (0, 1), case="lower", feed=0.1,
         model="blank", photos=0.6, side=180),
    Shop("Tessford Office Supply", 1.0, "brand color noun model line specs fits -part",
         {"line": 0.3, "color": 0.9, "part": 0.8, "model": 0.85}, (1, 2), short_brand=0.3, photos=0.95),
    Shop("GADGET GIANT", 1.0, "brand line specs noun color model claims", {"model": 0.8, "claims": 0.6, "noun": 0.8},
         (1, 3), case="upper", model="joined", short_brand=0.5, photos=0.9, side=224, watermark=True),
    Shop("Norbury Home", 0.8, "specs noun brand line ,color (model", {"model": 0.85, "color": 0.8, "brand": 0.85},
         (1, 2), photos=0.85),
    Shop("bytebay", 1.0, "line model specs noun color (part",
         {"part": 0.5, "noun": 0.4, "line": 0.7, "color": 0.2}, (0, 2), case="lower", feed=0.35, photos=0.4, side=160),
    Shop("Camden & Pike", 0.8, "claims brand line noun model specs color", {"model": 0.85, "claims": 0.8, "color": 0.6},
         (1, 2), short_brand=0.4, photos=1.0),
    Shop("Quickparts Trade", 0.8, "model brand noun specs color",
         {"brand": 0.7, "noun": 0.5, "color": 0.1}, (0, 1), case="upper", feed=0.3, short_brand=0.3, photos=0.0),
    Shop("Lindholt Direct", 1.0, "brand noun line model specs color claims",
         {"noun": 0.9, "line": 0.6, "claims": 0.3}, (2, 3), feed=0.3, longest=52, photos=0.9),
    Shop("Ferris Warehouse", 0.9, "noun brand line ,specs ,color -model (part",
         {"line": 0.5, "part": 0.6, "model": 0.9}, (1, 4), model="blank", photos=0.7, side=192),
)  # fmt: skip


def shops_of(seed: int) -> list[Shop]:
    """Return the shops whose lists a catalog joins."""
    numbers = np.random.default_rng([seed, 10]).permutation(len(SHOPS))[:SHOPS_PER_CATALOG]
    return [SHOPS[number] for number in sorted(numbers.tolist())]
