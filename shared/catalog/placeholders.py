"""Evidence that many otherwise unlike listings share: a "no image" icon, a hash, a title such as "test".

Such a value names no product, yet to whatever compares two listings it looks like a strong reason for a match. It is
set aside: the listings keep their rows, and are compared by what else they have.

1. An image is shared by the listings with the same file and by those whose perceptual hashes differ in at most
   `NEAR_BITS` bits, as those of a re-encoded copy do. It is set aside where they have `MANY` or more different titles
   that share hardly a word.
2. A title is set aside where many listings with images share it and their images differ: `MANY_SHORT` listings for a
   title of few words, `MANY_LONG` for any other. Sellers of one product often use the same photo, so hardly any of the
   images may be alike; of a title that holds nothing but `EMPTY_WORDS`, `MANY` different images are enough.

Few listings that share a value keep it, and so do those of which nothing else is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.artifacts import checked_type
from shared.catalog.not_used import HASH, IMAGE, SHARED, TITLE, Note, note, with_notes
from shared.catalog.tables import printable
from shared.schema import NORMALIZED_TITLE, Catalog, Flags

MANY = 5  # different titles
NEAR_BITS = 2  # of 64
UNLIKE, UNLIKE_FEW = 0.12, 0.06  # highest cohesion of titles of different products; the second of fewer than `SURE`
SURE = 10  # different titles; ten or more titles of one product hardly ever have a cohesion below .16, five below .08
BACKGROUND = 2.0  # times the cohesion of the whole catalog is unlike as well, where all titles share words, ...
UNLIKE_MAX = 0.25  # ... up to this
JUDGED = 300  # titles at most from which a cohesion is computed
MANY_SHORT, SHORT, MANY_LONG = 10, 3, 50  # listings; words; listings
WITH_IMAGE, ALIKE = 0.5, 0.1  # shares of a title's listings: that must have images, that may have near-equal ones
_EMPTY = (  # words that name no product by themselves
    "test testing title untitled titel judul no not none null na nil unknown default sample example dummy tbd todo xxx "
    "ready stock stok new baru promo sale sold out product produk products item items barang listing name nama tanpa "
    "without available tersedia cod original ori import murah best seller free ongkir hot and the a n"
)
EMPTY_WORDS = frozenset(_EMPTY.split())
IMAGE_FACTS = ("image_sha", "phash", "width", "height", "bytes")  # columns that say what an image shows
_BANDS = [(0, 22), (22, 21), (43, 21)]  # (first bit, bits): where two bits differ, one band is equal
_SPACELESS = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x9FFF), (0xF900, 0xFAFF)]
KINDS = {"images": "image", "hashes": "hash", "titles": "title"}  # plural → singular

Index = NDArray[np.int64]


@dataclass(frozen=True)
class SharedValues:
    """Values of one kind that were set aside.

    Args:
        values: Number of different values.
        listings: Number of listings that had one of them.
        example: Posting id of a listing that had the most frequent one.
        value: That value, for people: the file name of an image, the 16 digits of a hash, or a title.
    """

    values: int
    listings: int
    example: str
    value: str


@dataclass(frozen=True)
class SetAside:
    """The evidence of a catalog that was set aside.

    Args:
        kinds: `images`, `hashes` or `titles` → which values of this kind; a kind of which there are none is missing.

    Examples:
        >>> report = SetAside({"titles": SharedValues(values=1, listings=40, example="p7", value="test")})
        >>> report.line
        'set aside since many unlike listings share it: 1 title of 40 listings (test, such as p7)'
        >>> report.metrics
        {'set_aside': '1 title of 40 listings (test, such as p7)'}
    """

    kinds: Mapping[str, SharedValues]

    @property
    def metrics(self) -> dict[str, str]:
        """Return what the progress line of a stage says; empty where nothing was set aside."""
        return {"set_aside": self._in_words()} if self.kinds else {}

    @property
    def line(self) -> str | None:
        """Return one line that says what was set aside, and how many listings had it; None where nothing was."""
        return f"set aside since many unlike listings share it: {self._in_words()}" if self.kinds else None

    def _in_words(self) -> str:
        return ", ".join(
            f"{of_kind.values:,} {KINDS[kind] if of_kind.values == 1 else kind} of {of_kind.listings:,} listings "
            f"({printable(of_kind.value)}, such as {printable(of_kind.example)})"
            for kind, of_kind in self.kinds.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {kind: asdict(of_kind) for kind, of_kind in self.kinds.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned.

        Raises:
            ValueError: It is something else.
        """
        report = checked_type(cls, {"kinds": dict(content)})
        if unknown := set(report.kinds) - set(KINDS):
            raise ValueError(f"there is no kind {min(unknown)[:40]!r}")
        return report


NOTHING = SetAside({})


def set_aside(catalog: Catalog) -> tuple[Catalog, SetAside]:
    """Return the same listings without the evidence that many otherwise unlike ones share, and what that is.

    Neither depends on the order of the listings.

    Args:
        catalog: n listings; their labels are not read.

    Returns:
        The catalog, in which titles, or hashes and all facts about images, are null where they were set aside, and a
        report. The catalog itself where there is nothing to set aside.

    Examples:
        >>> titles = ["rice cooker", "bicycle pump", "desk lamp", "red mug", "hiking boots"]
        >>> columns = {"posting_id": list("abcde"), "title": titles, "phash": [0x9B3C5D2A6F0E1478] * 5}
        >>> catalog, report = set_aside(Catalog.from_columns(columns))
        >>> catalog.has_phash.any(), report.kinds["hashes"].listings
        (np.False_, 5)
    """
    return leave_out(catalog, *shared_evidence(catalog))


def shared_evidence(catalog: Catalog) -> tuple[Flags, Flags]:
    """Return whose image and hash, and whose title many otherwise unlike listings share, bool [n] each."""
    images, near = _shared_images(catalog)
    return images, _shared_titles(catalog, images, near)


def left_out(original: Catalog, judged: Catalog) -> tuple[Flags, Flags]:
    """Return whose image and hash, and whose title were set aside, bool [n] each.

    Args:
        original: n listings as read.
        judged: The same without what was set aside.
    """
    titles = original.normalized_titles != judged.normalized_titles
    return (original.has_image & ~judged.has_image) | (original.has_phash & ~judged.has_phash), titles


def like(listings: Catalog, others: Catalog, images: Flags, titles: Flags) -> tuple[Flags, Flags]:
    """Return which listings share an image or hash, and which a title, with others whose own is set aside; bool [n].

    Args:
        listings: n listings.
        others: m listings as read.
        images: Those whose image and hash are set aside, bool [m].
        titles: Those whose title is set aside, bool [m].
    """
    near = listings.phashes[:, None] ^ np.unique(others.phashes[images & others.has_phash])
    alike = listings.has_phash & (np.bitwise_count(near) <= NEAR_BITS).any(axis=1)
    alike |= listings.has_image & np.isin(listings.column("image_sha"), others.column("image_sha")[images])
    same = np.isin(listings.normalized_titles, others.normalized_titles[titles])
    return alike, same & (listings.normalized_titles != "")


def leave_out(catalog: Catalog, images: Flags, titles: Flags) -> tuple[Catalog, SetAside]:
    """Return the same listings without some of their evidence, and what that is.

    Args:
        catalog: n listings.
        images: Those that lose their image and hash, bool [n].
        titles: Those that lose their title, bool [n].
    """
    if not images.any() and not titles.any():
        return catalog, NOTHING
    nulls: dict[str, Any] = {}
    if images.any():
        nulls |= {name: _without(catalog.column(name), images) for name in IMAGE_FACTS}
    if titles.any():
        nulls["title"] = _without(catalog.column("title"), titles)
    nulls["not_used"] = with_notes(catalog.column("not_used"), _notes(catalog, images, titles))
    with_file = images & catalog.has_image
    names, hashes = catalog.column("image"), [f"{value:016x}" for value in catalog.phashes.tolist()]
    masks: dict[str, tuple[Flags, NDArray[Any], Iterable[Any]]] = {
        "images": (with_file, catalog.column("image_sha"), names),
        "hashes": (images & ~with_file, catalog.column("phash"), hashes),
        "titles": (titles, catalog.column(NORMALIZED_TITLE.name), catalog.titles),
    }
    kinds = {kind: _described(catalog.ids, *masks[kind]) for kind in KINDS if masks[kind][0].any()}
    return catalog.with_columns(nulls), SetAside(kinds)


def _notes(catalog: Catalog, images: Flags, titles: Flags) -> dict[int, list[Note]]:
    """Return for each row what it loses."""
    notes: dict[int, list[Note]] = {}
    names, texts, with_file, hashes = catalog.column("image"), catalog.titles, catalog.has_image, catalog.phashes
    for row in np.flatnonzero(images & (with_file | catalog.has_phash)).tolist():
        what = (IMAGE, names[row] or "") if with_file[row] else (HASH, f"{int(hashes[row]):016x}")
        notes.setdefault(row, []).append(note(*what, SHARED))
    for row in np.flatnonzero(titles).tolist():
        notes.setdefault(row, []).append(note(TITLE, texts[row], SHARED))
    return notes


def _without(column: NDArray[Any], mask: Flags) -> list[Any]:
    return [None if out else value for out, value in zip(mask.tolist(), column.tolist(), strict=True)]


def _described(ids: NDArray[Any], mask: Flags, values: NDArray[Any], shown: Iterable[Any]) -> SharedValues:
    counts = Counter(values[mask].tolist())
    most = max(counts.values())
    text = {posting_id: str(what) for posting_id, what in zip(ids, shown, strict=True)}
    example = min(one for one, value in zip(ids[mask], values[mask], strict=True) if counts[value] == most)
    return SharedValues(len(counts), int(mask.sum()), example, text[example])


# --- images ----------------------------------------------------------------------------------------------------------


def _shared_images(catalog: Catalog) -> tuple[Flags, list[Index]]:
    """Return the listings whose image or hash is to be set aside, bool [n], and for each one the rows near it.

    The rows near a listing are those with the same image or a hash that differs in at most `NEAR_BITS` bits, itself
    among them, rising; none for a listing without an image and hash. Equal listings share one array.
    """
    n = len(catalog)
    sha, hashes = pd.factorize(catalog.column("image_sha"))[0], catalog.phashes
    rows_of_sha = _rows_by_code(sha)
    distinct, code = np.unique(hashes[catalog.has_phash], return_inverse=True)
    of_hash = np.full(n, -1, dtype=np.int64)
    of_hash[catalog.has_phash] = code
    rows_of_hash = _rows_by_code(of_hash)
    near_hashes = _near(distinct)
    titles = Titles(catalog.column(NORMALIZED_TITLE.name))
    near: list[Index] = [np.zeros(0, dtype=np.int64)] * n
    mask = np.zeros(n, dtype=np.bool_)
    for which in range(len(rows_of_hash)):
        rows = np.sort(np.concatenate([rows_of_hash[other] for other in near_hashes[which]]))
        for row in rows_of_hash[which].tolist():
            near[row] = rows
        if titles.are_unlike(rows):
            mask[rows_of_hash[which]] = True
    for rows in rows_of_sha:
        if titles.are_unlike(rows):
            mask[rows] = True
        for row in rows.tolist():
            near[row] = near[row] if len(near[row]) >= len(rows) else rows
    return mask, near


def _rows_by_code(codes: NDArray[np.integer]) -> list[Index]:
    """Return the rows of each code from 0, rising."""
    rows = np.flatnonzero(codes >= 0)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    return np.split(rows, np.cumsum(np.bincount(codes[rows]))[:-1]) if len(rows) else []


def _near(hashes: NDArray[np.uint64]) -> list[list[int]]:
    """Return for each of some different hashes the positions of those at most `NEAR_BITS` bits away, itself too."""
    near: list[set[int]] = [{position} for position in range(len(hashes))]
    for first, bits in _BANDS:
        band = (hashes >> np.uint64(first)) & np.uint64((1 << bits) - 1)
        order = np.argsort(band, kind="stable")
        at, shift = np.arange(len(order)), 1
        while len(at):
            at = at[at + shift < len(order)]
            at = at[band[order[at]] == band[order[at + shift]]]
            one, other = order[at], order[at + shift]
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= NEAR_BITS
            for a, b in zip(one[close].tolist(), other[close].tolist(), strict=True):
                near[a].add(b)
                near[b].add(a)
            shift += 1
    return [sorted(positions) for positions in near]


class Titles:
    """The titles of a catalog, to tell whether some of its listings are otherwise unlike.

    Args:
        titles: Normalized titles, str or None [n].

    Examples:
        >>> Titles(["rice cooker", "bike pump", "desk lamp", "red mug", "boots"]).are_unlike(np.arange(5))
        True
        >>> Titles([f"red mug {brand}" for brand in "abcde"]).are_unlike(np.arange(5))
        False
    """

    def __init__(self, titles: Iterable[Any]) -> None:
        codes, values = pd.factorize(np.array([*titles, None], dtype=object)[:-1], sort=True)
        self._code, self._values = codes.astype(np.int64), values
        background = self._cohesion(np.arange(len(values)))
        self._background = min(UNLIKE_MAX, BACKGROUND * background)

    def are_unlike(self, rows: Index) -> bool:
        """Return whether listings have many different titles that share hardly a word."""
        if len(rows) < MANY:
            return False
        codes = np.unique(self._code[rows])
        codes = codes[codes >= 0]
        unlike = UNLIKE if len(codes) >= SURE else UNLIKE_FEW
        return len(codes) >= MANY and self._cohesion(codes) <= max(unlike, self._background)

    def _cohesion(self, codes: Index) -> float:
        """Return the mean share of a title's words that another one of the titles has, in [0, 1]; 1 for fewer than two.

        Of many titles, about `JUDGED` are taken at equal distances in the order of the alphabet.
        """
        codes = codes[:: max(1, len(codes) // JUDGED)]
        counts = Counter(token for title in self._values[codes] for token in frozenset(_tokens(title)))
        total = sum(counts.values())
        if len(codes) < 2 or total == 0:
            return 1.0
        return sum(count * (count - 1) for count in counts.values()) / ((len(codes) - 1) * total)


def _tokens(title: str) -> Iterator[str]:
    """Return the words of a title; in scripts that write no spaces, the pairs of neighboring characters."""
    for word in title.split():
        if (
            len(word) > 2
            and not word.isascii()
            and any(low <= ord(char) <= high for char in word for low, high in _SPACELESS)
        ):
            yield from (word[i : i + 2] for i in range(len(word) - 1))
        else:
            yield word


# --- titles ----------------------------------------------------------------------------------------------------------


def _different_images(rows: Index, near: list[Index]) -> int:
    """Return the number of images of some listings, in ascending rows; a chain of near-equal ones counts as one."""
    near_sets = {id(near[row]): near[row] for row in rows.tolist()}  # equal images share one array
    chains = [np.searchsorted(rows, np.intersect1d(rows_near, rows)) for rows_near in near_sets.values()]
    left = np.concatenate([chain[:-1] for chain in chains])
    right = np.concatenate([chain[1:] for chain in chains])
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(rows), len(rows)))
    return int(connected_components(graph, directed=False)[0])


def _shared_titles(catalog: Catalog, images: Flags, near: list[Index]) -> Flags:
    """Return the listings whose title is to be set aside, bool [n].

    Args:
        catalog: n listings.
        images: Listings whose image is set aside and says nothing about them, bool [n].
        near: For each listing the rows with a near-equal image, itself among them.
    """
    mask = np.zeros(len(catalog), dtype=np.bool_)
    codes, values = pd.factorize(catalog.column(NORMALIZED_TITLE.name))
    for rows, title in zip(_rows_by_code(codes.astype(np.int64)), values, strict=True):
        with_image = [row for row in rows.tolist() if len(near[row]) and not images[row]]
        words = title.split()
        is_empty = EMPTY_WORDS.issuperset(words)
        many = MANY if is_empty else MANY_SHORT if len(words) <= SHORT else MANY_LONG
        if len(with_image) < many or len(with_image) < WITH_IMAGE * len(rows):
            continue
        different = _different_images(np.array(with_image, dtype=np.int64), near)
        inside = np.zeros(len(catalog), dtype=np.bool_)
        inside[with_image] = True
        near_sets = {id(near[row]): near[row] for row in with_image}  # equal images share one array
        has_twin = {key: int(inside[rows_near].sum()) > 1 for key, rows_near in near_sets.items()}
        alike = sum(has_twin[id(near[row])] for row in with_image)
        mask[rows] = different >= MANY if is_empty else alike <= ALIKE * len(with_image)
    return mask
