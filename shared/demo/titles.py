"""Titles as sellers write them: Indonesian mixed with English, capitals, abbreviations, misspellings, praise."""

from collections.abc import Sequence

import numpy as np

from shared.demo.chance import pick
from shared.demo.products import Product

UNITS: dict[str, tuple[str, ...]] = {
    "ml": ("{}ml", "{} ml", "{} ML", "{}mL", "{}ML"),
    "g": ("{}g", "{}gr", "{} gr", "{} gram", "{}GR"),
    "pcs": ("{}pcs", "{} pcs", "isi {}", "{} PCS", "{} pc"),
    "L": ("{}L", "{} liter", "{} L", "{}lt"),
    "GB": ("{}GB", "{} GB", "{}gb", "{} gb"),
    "m": ("{}m", "{} meter", "{}M", "{} m", "{}mtr"),
    "mAh": ("{}mAh", "{} mAh", "{}mah", "{} MAH"),
    "cm": ("{}cm", "{} cm", "{}CM", "uk {}cm"),
}
THOUSANDS = {"ml": ("L", 500), "g": ("kg", 500)}  # the larger unit, and the smallest amount it is used for
ORDERS = (
    ("noun", "brand", "line", "model", "option", "claims", "amount"),
    ("brand", "line", "noun", "model", "option", "amount", "claims"),
    ("brand", "noun", "line", "model", "amount", "option", "claims"),
    ("noun", "claims", "brand", "line", "model", "option", "amount"),
    ("brand", "model", "line", "amount", "noun", "option", "claims"),
    ("line", "brand", "model", "noun", "amount", "claims", "option"),
)
DROPPED = {"noun": 0.05, "brand": 0.05, "line": 0.05, "model": 0.1, "claims": 0.35}
OPENERS = (
    "READY STOCK", "PROMO", "TERMURAH", "[BPOM]", "ORIGINAL", "(COD)", "NEW", "BEST SELLER", "Ready", "GROSIR", "SALE",
    "🔥", "⭐", "[ ORIGINAL 100% ]", "HOT", "GRATIS ONGKIR",
)  # fmt: skip
CLOSERS = (
    "original 100%", "murah", "termurah", "ready stock", "bisa cod", "ori", "best seller", "100% ori", "promo",
    "terbaru", "harga grosir", "💯", "gratis bubble wrap", "/ original", "asli", "import", "❤️", "exp 2024",
    "good quality", "BPOM",
)  # fmt: skip
SHORTENED = {
    "original": "ori", "hitam": "hitem", "dan": "&", "gratis": "free", "wanita": "cewek", "pria": "cowok",
    "untuk": "utk", "anak": "ank", "premium": "prem", "charger": "cas", "shampoo": "shmpo", "wajah": "muka",
}  # fmt: skip
GENERIC = ("{noun} murah", "{noun} ready stock", "{noun} {option} promo", "{noun} terbaru bisa cod")


def official_title(product: Product, seeds: Sequence[int], names_option: bool, names_amount: bool) -> str:
    """Return the title that most shops copy; within a family only the words for option and amount differ.

    Args:
        product: The product.
        seeds: Seeds of the wording.
        names_option: Whether the title names the color or flavor.
        names_amount: Whether the title names the size.
    """
    return _compose(product, np.random.default_rng(seeds), names_option, names_amount)


def seller_title(product: Product, rng: np.random.Generator, names_option: bool, names_amount: bool) -> str:
    """Return a title in the wording of one seller; arguments as for `official_title`."""
    return retouch(_compose(product, rng, names_option, names_amount), rng)


def generic_title(product: Product, rng: np.random.Generator) -> str:
    """Return a title that would fit a hundred products."""
    words = {"noun": pick(product.kind.nouns, rng), "option": pick(product.option.names, rng)}
    return pick(GENERIC, rng).format(**words)


def retouch(title: str, rng: np.random.Generator) -> str:
    """Return a title with random changes: praise, abbreviations, a typing error, another letter case."""
    if rng.random() < 0.3:
        title = f"{pick(OPENERS, rng)} {title}"
    if rng.random() < 0.35:
        title = f"{title} {pick(CLOSERS, rng)}"
    if rng.random() < 0.2:
        title = " ".join(SHORTENED.get(word.lower(), word) for word in title.split())
    if rng.random() < 0.15:
        title = _slip(title, rng)
    return _in_case(title, rng)


def amount_text(amount: int, unit: str, rng: np.random.Generator) -> str:
    """Return a size in one of the forms that sellers write, such as 500ml, 500 ML or 0.5 L."""
    form = pick(UNITS[unit], rng)
    larger, start = THOUSANDS.get(unit, ("", amount + 1))
    if rng.random() < 0.3 and amount >= start:
        return f"{amount / 1000:g}{pick(('', ' '), rng)}{larger}"
    return form.format(amount)


def _compose(product: Product, rng: np.random.Generator, names_option: bool, names_amount: bool) -> str:
    """Return a title; the random draws do not depend on what is named, so siblings get the same wording."""
    kind = product.kind
    order = pick(ORDERS, rng)
    words = {
        "noun": pick(kind.nouns, rng),
        "brand": product.brand,
        "line": product.line,
        "model": product.model,
        "claims": " ".join(rng.permutation(list(kind.claims))[: rng.integers(1, 3)].tolist()),
    }
    for word, share in DROPPED.items():
        if rng.random() < share and not (word == "line" and words["brand"] == ""):
            words[word] = ""
    names = product.option.names
    words["option"] = names[int(rng.random() ** 2 * len(names))] if names_option else ""
    words["amount"] = amount_text(product.amount, kind.unit, rng) if kind.unit and names_amount else ""
    return " ".join(words[part] for part in order if words[part])


def _slip(title: str, rng: np.random.Generator) -> str:
    """Return a title with one letter of a word swapped, dropped or doubled."""
    places = [end for end in range(1, len(title) - 1) if title[end].isalpha() and title[end - 1].isalpha()]
    if not places:
        return title
    end = pick(places, rng)
    start, letters, rest = title[: end - 1], title[end - 1 : end + 1], title[end + 1 :]
    return start + (letters[::-1], letters[0], letters[0] + letters)[rng.integers(3)] + rest


def _in_case(title: str, rng: np.random.Generator) -> str:
    choice = rng.random()
    if choice < 0.2:
        return title.upper()
    if choice < 0.4:
        return title.lower()
    return title.title() if choice < 0.55 else title
