"""The split into folds and a holdout, such that nothing which gives a product away lies on both sides.

Listings are tied together when they share their label group, the content of their image, their perceptual hash or
their normalized title; the connected components of these ties are dealt out whole. Splitting by rows instead gave
published solutions of the competition .753 in their own validation and .715 on the leaderboard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.arrays import object_array
from shared.catalog.images import is_flat_hash
from shared.catalog.tables import printable
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.schema import NORMALIZED_TITLE, Catalog

HOLDOUT, UNLABELED = -1, -2  # instead of a fold
# An image, hash or title that more label groups share than this is a placeholder ("no image", "test"): it names no
# product, and tying its listings together would make one component of much of the catalog. `placeholders.py` tells
# such values without labels.
PLACEHOLDER_GROUPS = 50
# A label group above these sizes is told: it may be a word such as "unknown", or a category.
LARGE_GROUP, LARGE_SHARE, MANY_LISTINGS = 1000, 0.1, 20


class SplitConfig(ConfigSection):
    """Section `split`: which listings train and which only measure."""

    holdout: float = Field(0.2, gt=0, lt=1, description="share of the label groups that only the metrics are made on")
    folds: int = Field(
        2, ge=2, le=20, description="parts of the rest; each is scored by encoders trained on the others"
    )


@dataclass(frozen=True)
class Split:
    """The fold of every listing of a catalog, in the catalog's order.

    Args:
        posting_id: str [n].
        component: int32 [n], from 0; listings of one component are never separated.
        fold: int8 [n], from 0; `HOLDOUT` for the listings that no encoder, scorer or threshold sees, `UNLABELED` for
            those without a label, which are matched only.
    """

    posting_id: NDArray[Any]
    component: NDArray[np.int32]
    fold: NDArray[np.int8]

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        columns = {"posting_id": pa.array(self.posting_id, pa.string()), "component": self.component, "fold": self.fold}
        pq.write_table(pa.table(columns), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        ids = object_array(table.column("posting_id").to_pylist())
        return cls(ids, table.column("component").to_numpy(), table.column("fold").to_numpy())


def evidence(catalog: Catalog) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return what gives a product away: image contents, perceptual hashes and normalized titles, object [n] each.

    None stands where there is none; the hash of a flat image counts as none.
    """
    hashes = catalog.phashes.astype(object)
    hashes[~catalog.has_phash | is_flat_hash(catalog.phashes)] = None
    return catalog.column("image_sha"), hashes, catalog.column(NORMALIZED_TITLE.name)


def large_label_groups(catalog: Catalog) -> str | None:
    """Return in words which label groups have so many listings that they are hardly one product; None if none has.

    These are groups of more than `LARGE_GROUP` listings, or of more than `LARGE_SHARE` of all labeled ones and no fewer
    than `MANY_LISTINGS`.

    Examples:
        >>> labels = ["unknown"] * 30 + [str(number) for number in range(70)]
        >>> large_label_groups(Catalog.from_columns({"posting_id": list(map(str, range(100))), "label_group": labels}))
        "'unknown' has 30 of 100 labeled listings: is it one product? Leave its labels empty if not"
    """
    counts = Counter(label for label in catalog.labels if label).most_common()
    total = sum(count for _, count in counts)
    large = [
        f"{printable(label)!r} has {count:,}"
        for label, count in counts
        if count > LARGE_GROUP or (count >= MANY_LISTINGS and count > LARGE_SHARE * total)
    ]
    if not large:
        return None
    shown = ", ".join(large[:3]) + (f" and {len(large) - 3} more groups" if len(large) > 3 else "")
    return f"{shown} of {total:,} labeled listings: is it one product? Leave its labels empty if not"


def components(catalog: Catalog) -> NDArray[np.int32]:
    """Return connected components over label group, image content, perceptual hash and normalized title.

    What is unknown or empty ties nothing, nor does the hash of a flat image, nor a value that more than
    `PLACEHOLDER_GROUPS` label groups share.

    Returns:
        int32 [n]; components are numbered in the order of their smallest posting ids, whatever the order of rows.

    Examples:
        >>> titles, labels = ["Red mug", "RED MUG!", "Fan", "Lamp"], ["g1", "g2", "g2", "g3"]
        >>> columns = {"posting_id": ["a", "b", "c", "d"], "title": titles, "label_group": labels}
        >>> components(Catalog.from_columns(columns))
        array([0, 0, 0, 1], dtype=int32)
    """
    groups = _codes(catalog.labels)
    alone = groups < 0  # an unlabeled listing counts as a group of its own
    spanned = np.where(alone, groups.max(initial=-1) + np.cumsum(alone), groups)
    ties = [groups, *(_without_placeholders(_codes(v), spanned) for v in evidence(catalog))]
    left, right = (np.concatenate(side) for side in zip(*map(_edges, ties), strict=True))
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(catalog), len(catalog)))
    component = connected_components(graph, directed=False)[1]
    order = np.argsort(catalog.ids, kind="stable")
    names, first = np.unique(component[order], return_index=True)
    number = np.empty(len(names), dtype=np.int32)
    number[np.argsort(first)] = np.arange(len(names), dtype=np.int32)
    return number[component]


def _codes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return equal codes from 0 for equal values, -1 for None; int64 [n]."""
    return pd.factorize(values)[0].astype(np.int64)


def _without_placeholders(codes: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = np.unique(np.stack([codes, groups])[:, codes >= 0], axis=1)
    spans = np.bincount(pairs[0], minlength=codes.max(initial=-1) + 1)
    return np.where((codes >= 0) & (np.append(spans, 0)[codes] <= PLACEHOLDER_GROUPS), codes, -1)


def _edges(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an edge from every row to the first one of the same code; rows of code -1 have none."""
    rows = np.flatnonzero(codes >= 0)
    _, first, of = np.unique(codes[rows], return_index=True, return_inverse=True)
    return rows, rows[first[of]]


def make_split(catalog: Catalog, config: SplitConfig, seed: int) -> Split:
    """Return a split of whole components: some to the holdout, the rest to folds of about equally many listings.

    The same listings get the same folds in whatever order they come. The holdout gets components in random order as
    long as they fit into its share of label groups; the folds then get the rest, largest first, each to the fold that
    has the fewest listings. Every fold and the holdout hold at least one pair of listings of one label group.

    Each source of a joined catalog is split so by itself. A component with listings of several sources, which share an
    image, a hash or a title, goes where the first of these sources puts it. Listings without a label are in no part,
    and change nothing about the others; each is a component of its own.

    Args:
        catalog: n listings.
        config: Section `split`.
        seed: Of the random order.

    Raises:
        MatcherError: The labels do not allow for training and measuring.

    Examples:
        >>> columns = {"posting_id": list("abcdef"), "label_group": ["mug", "mug", "fan", "fan", "lamp", "lamp"]}
        >>> make_split(Catalog.from_columns(columns), SplitConfig(), seed=0).fold  # -1: held out
        array([ 0,  0,  1,  1, -1, -1], dtype=int8)
    """
    rows = _labeled_rows(catalog)
    labeled = catalog.take(rows)
    component = components(labeled)

    def deal(name: str, component: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int8]:
        return _folds(component, group, config, seed, name)

    try:
        fold = _source_by_source(labeled, component, _codes(labeled.labels), deal)
    except MatcherError as error:
        if len(rows) == len(catalog):
            raise
        have = f"{len(rows):,} of {len(catalog):,} listings have a label"
        raise MatcherError(f"{error} ({have}); label more, or start without labels: --data.label_column=") from None
    return _whole_split(catalog, rows, component, fold)


def _labeled_rows(catalog: Catalog) -> NDArray[np.int64]:
    return np.flatnonzero([bool(label) for label in catalog.labels])


def _whole_split(
    catalog: Catalog, rows: NDArray[np.int64], component: NDArray[np.int32], fold: NDArray[np.int8]
) -> Split:
    """Return the split of a catalog from the components and the folds of its labeled listings, which are these rows."""
    folds = np.full(len(catalog), UNLABELED, dtype=np.int8)
    whole = component.max(initial=-1) + np.cumsum(np.ones(len(catalog), dtype=np.int32), dtype=np.int32)
    folds[rows], whole[rows] = fold, component
    return Split(catalog.ids, whole.astype(np.int32), folds)


Deal = Callable[[str, NDArray[np.int64], NDArray[np.int64]], NDArray[np.int8]]


def _source_by_source(
    catalog: Catalog, component: NDArray[np.int32], group: NDArray[np.int64], deal: Deal
) -> NDArray[np.int8]:
    """Return the part of each listing, int8 [n], dealt out in one source after the other.

    Args:
        catalog: n listings, of one source or of several.
        component: Connected component of each, int32 [n].
        group: Number of the label group of each, int64 [n].
        deal: Function of a source's name, the components of its m listings that are not dealt out yet, numbered from 0,
            and their label groups likewise; it returns the part of each component.

    Raises:
        MatcherError: The labels of a source do not allow for training and measuring.
    """
    source = catalog.source_numbers()
    count = component.max(initial=-1) + 1
    part, is_dealt = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=bool)
    for number, name in enumerate(catalog.sources) if catalog.sources else [(-1, "")]:
        _check_labels(catalog.take(np.flatnonzero(source == number)), name)
        rows = np.flatnonzero((source == number) & ~is_dealt[component])
        names, own = np.unique(component[rows], return_inverse=True)
        part[names] = deal(name, own, np.unique(group[rows], return_inverse=True)[1])
        is_dealt[names] = True
    return part[component]


def _folds(
    component: NDArray[np.int64], group: NDArray[np.int64], config: SplitConfig, seed: int, source: str
) -> NDArray[np.int8]:
    """Return the fold of each component, int8 [c].

    Args:
        component: Component of each of m listings, from 0, int64 [m].
        group: Label group of each, from 0, int64 [m].
        config: Section `split`.
        seed: Of the random order.
        source: Name of their source, for errors.

    Raises:
        MatcherError: There are too few components with a pair.
    """
    sizes, of_group = np.bincount(component), np.zeros(group.max(initial=-1) + 1, dtype=np.int64)
    of_group[group] = component
    groups = np.bincount(of_group, minlength=len(sizes))
    paired = np.bincount(of_group, weights=np.bincount(group) > 1, minlength=len(sizes)) > 0
    if paired.sum() < config.folds + 1:
        others = " or with a catalog named before it" if source else ""
        advice = ", or leave this catalog out" if source else ""
        raise MatcherError(
            f"{_of_catalog(source)}{config.folds} folds and a holdout need {config.folds + 1} products of two or more "
            f"listings that share no image, hash or title with each other{others}; there are {paired.sum()}: label "
            f"more, or lower split.folds{advice}"
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold = np.full(len(sizes), HOLDOUT, dtype=np.int8)
    rest = order[~_in_holdout(order, groups, paired, config)]
    fold[rest] = _deal(sizes[rest], paired[rest], config.folds)
    return fold


def _of_catalog(source: str) -> str:
    return f"catalog {source}: " if source else ""


def parts(catalog: Catalog, seed: int, count: int = 2) -> NDArray[np.int8]:
    """Return the part of each listing, int8 [n]: whole components in parts of about equally many listings, at random.

    A listing without a label is in none of them: `UNLABELED`.

    This is to train on one part and measure on the others, each in turn; another seed gives another split. Each source
    of a joined catalog is split so by itself, as in `make_split`.

    Raises:
        MatcherError: The labels do not allow for training and measuring.
    """

    def deal(name: str, component: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int8]:
        sizes = np.bincount(component)
        paired = np.bincount(component, weights=np.bincount(group)[group] > 1, minlength=len(sizes)) > 0
        if paired.sum() < count:
            raise MatcherError(
                f"{_of_catalog(name)}{count} parts need {count} products of two or more listings that share no image, "
                f"hash or title with each other; there are {paired.sum()}"
            )
        order = np.random.default_rng(seed).permutation(len(sizes))
        part = np.empty(len(sizes), dtype=np.int8)
        part[order] = _deal(sizes[order], paired[order], count)
        return part

    rows = _labeled_rows(catalog)
    labeled = catalog.take(rows)
    result = np.full(len(catalog), UNLABELED, dtype=np.int8)
    result[rows] = _source_by_source(labeled, components(labeled), _codes(labeled.labels), deal)
    return result


def part_split(catalog: Catalog, seed: int, part: int, count: int = 2) -> Split:
    """Return a split that trains on one of several `parts`, dealt out to two folds likewise, and holds out all others.

    Raises:
        MatcherError: The labels do not allow for training and measuring.
    """
    part_of = parts(catalog, seed, count)
    fold = np.full(len(catalog), HOLDOUT, dtype=np.int8)
    own = np.flatnonzero(part_of == part)
    fold[own] = parts(catalog.take(own), seed)
    rows = np.flatnonzero(part_of != UNLABELED)
    return _whole_split(catalog, rows, components(catalog.take(rows)), fold[rows])


def some_products(components: NDArray[np.int32], listings: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of about so many listings in rising order: whole components, drawn at random, the last cut.

    Examples:
        >>> len(some_products(np.array([0, 0, 1, 2], np.int32), listings=3, seed=0))
        3
    """
    order = np.random.default_rng(seed).permutation(int(components.max(initial=0)) + 1)
    return np.sort(np.argsort(order[components], kind="stable")[:listings])


def _check_labels(catalog: Catalog, source: str) -> None:
    labels, of_catalog = catalog.labels, _of_catalog(source)
    if not len(labels):
        raise MatcherError(f"{of_catalog}training needs label groups; no listing has one")
    counts = np.bincount(_codes(labels))
    if len(counts) < 2:
        raise MatcherError(
            f"{of_catalog}training needs listings of different products; all {len(labels)} are of one label group"
        )
    if counts.max() < 2:
        raise MatcherError(
            f"{of_catalog}training needs listings that sell the same product; all {len(labels)} have a label group of "
            "their own"
        )


def _in_holdout(
    order: NDArray[np.int64], groups: NDArray[np.int64], paired: NDArray[np.bool_], config: SplitConfig
) -> NDArray[np.bool_]:
    """Return which components, in the order `order`, are held out; bool [c]."""
    target = max(1, round(config.holdout * int(groups.sum())))
    spare = int(paired.sum()) - config.folds  # components with a pair that the folds can do without
    with_pair = np.flatnonzero(paired[order])
    start = with_pair[np.argmax(groups[order[with_pair]] <= target)]
    if groups[order[start]] > target:  # none fits: the smallest one
        start = with_pair[np.argmin(groups[order[with_pair]])]
    in_holdout = np.zeros(len(order), dtype=bool)
    size = 0
    for position in [start, *np.delete(np.arange(len(order)), start)]:
        part = order[position]
        if position == start or (size + groups[part] <= target and (spare > 0 or not paired[part])):
            in_holdout[position] = True
            size += groups[part]
            spare -= paired[part]
    return in_holdout


def _deal(sizes: NDArray[np.int64], paired: NDArray[np.bool_], folds: int) -> NDArray[np.int8]:
    """Return the fold of each component, int8 [c]: the smallest so far, those with a pair first, larger ones first."""
    fold = np.empty(len(sizes), dtype=np.int8)
    filled = np.zeros(folds, dtype=np.int64)
    for component in np.lexsort((-sizes, ~paired)):
        fold[component] = np.argmin(filled)
        filled[fold[component]] += sizes[component]
    return fold
