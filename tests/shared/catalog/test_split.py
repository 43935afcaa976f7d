import random
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from shared.catalog.split import (
    HOLDOUT,
    PLACEHOLDER_GROUPS,
    UNLABELED,
    Split,
    SplitConfig,
    components,
    large_label_groups,
    make_split,
    part_split,
    parts,
    some_products,
)
from shared.errors import MatcherError
from shared.schema import Catalog
from shared.titles import normalize
from tests.support.catalogs import catalog_of

FLAT = 0x8000000000000000
NOT_FLAT = 0xFFFFFFFF


def labeled_catalog(labels: list[str | None], **columns: list[Any]) -> Catalog:
    """A catalog without files; what is not given is unknown."""
    return catalog_of(len(labels), label_group=labels, **columns)


def random_catalog(seed: int, n: int = 120) -> Catalog:
    """Groups of 1 to 6 listings with some images, hashes and titles shared between groups."""
    rng = random.Random(seed)
    labels: list[str | None] = []
    while len(labels) < n:
        labels += [f"g{len(labels)}"] * rng.choice([1, 1, 2, 2, 2, 3, 6])
    n = len(labels)
    ids = [f"id{i}" for i in range(n)]
    rng.shuffle(ids)

    def often(nothing: list[Any], values: list[Any]) -> list[Any]:
        """Two in three listings have nothing that ties, the rest draw from values that collide now and then."""
        return [rng.choice(nothing) if rng.random() < 0.67 else rng.choice(values) for _ in range(n)]

    return labeled_catalog(
        labels,
        posting_id=ids,
        title=often(["", "  ", "!!", None], ["Sabun 5 ML", "SABUN 5ml!", *(f"Barang {i}" for i in range(3 * n))]),
        phash=often([None, FLAT, 0], [NOT_FLAT + (i << 33) for i in range(3 * n)]),
        image_sha=often([None], [str(i) for i in range(3 * n)]),
    )


def ties(catalog: Catalog) -> list[list[Hashable]]:
    """What each listing shares with others, by the rules in words rather than in the code's terms."""
    flat = {h for h in catalog.phashes.tolist() if not 16 <= h.bit_count() <= 48}
    rows = []
    for label, sha, known, phash, title in zip(
        catalog.labels,
        catalog.column("image_sha"),
        catalog.has_phash,
        catalog.phashes.tolist(),
        catalog.titles,
        strict=True,
    ):
        tie: list[Hashable] = [("label", label)] if label is not None else []
        tie += [("image", sha)] if sha is not None else []
        tie += [("phash", phash)] if known and phash not in flat else []
        tie += [("title", normalize(title))] if normalize(title) else []
        rows.append(tie)
    return rows


def oracle(catalog: Catalog) -> list[set[int]]:
    graph = nx.Graph()
    for row, shared in enumerate(ties(catalog)):
        graph.add_node(row)
        graph.add_edges_from((row, value) for value in shared)
    return [{node for node in part if isinstance(node, int)} for part in nx.connected_components(graph)]


def as_sets(component: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(component == c).tolist()) for c in np.unique(component)}


@pytest.mark.fault(16)
@pytest.mark.parametrize("seed", range(20))
def test_components_are_networkx_components(seed: int) -> None:
    catalog = random_catalog(seed)
    component = components(catalog)
    assert component.dtype == np.int32
    assert as_sets(component) == {frozenset(part) for part in oracle(catalog)}


@pytest.mark.fault(26)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("folds", [2, 3])
def test_nothing_is_on_both_sides(seed: int, folds: int) -> None:
    catalog = random_catalog(seed, 200)
    split = make_split(catalog, SplitConfig(folds=folds), seed)
    assert set(split.fold.tolist()) == {HOLDOUT, *range(folds)}
    sides: dict[Hashable, set[int]] = {}
    for row, shared in enumerate(ties(catalog)):
        for value in shared:
            sides.setdefault(value, set()).add(int(split.fold[row]))
    assert {value: s for value, s in sides.items() if len(s) > 1} == {}


@pytest.mark.fault(16)
@pytest.mark.parametrize("seed", range(5))
def test_row_order_does_not_matter(seed: int) -> None:
    catalog = random_catalog(seed, 200)
    order = np.random.default_rng(seed).permutation(len(catalog))
    a, b = make_split(catalog, SplitConfig(), 7), make_split(catalog.take(order), SplitConfig(), 7)
    assert (a.component[order] == b.component).all()
    assert (a.fold[order] == b.fold).all()
    assert (a.posting_id[order] == b.posting_id).all()


def test_components_are_numbered_by_smallest_id() -> None:
    catalog = labeled_catalog(["b", "a", "b", "c"], posting_id=["z", "m", "a", "k"])
    assert components(catalog).tolist() == [0, 2, 0, 1]


@pytest.mark.fault(26)
def test_each_kind_of_tie() -> None:
    labels: list[str | None] = [f"g{i}" for i in range(8)]
    catalog = labeled_catalog(
        labels,
        title=["Tas Kulit", "TAS   kulit!", None, None, None, None, None, None],
        phash=[None, None, NOT_FLAT, NOT_FLAT, None, None, None, None],
        image_sha=[None, None, None, None, "s", "s", None, None],
    )
    assert components(catalog).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]


@pytest.mark.fault(9)
def test_what_is_empty_or_flat_ties_nothing() -> None:
    catalog = labeled_catalog(
        ["a", "b", "c", None, None], title=["", "!!", None, " ", ""], phash=[FLAT, FLAT, 0, 0, None]
    )
    assert len(set(components(catalog).tolist())) == 5


@pytest.mark.fault(9)
@pytest.mark.parametrize("column", ["image_sha", "phash", "title"])
def test_a_placeholder_makes_no_giant_component(column: str) -> None:
    value = NOT_FLAT if column == "phash" else "no image"
    labels: list[str | None] = [f"g{i // 2}" for i in range(2000)]
    placeholder = labeled_catalog(labels, **{column: [value if i % 2 else None for i in range(2000)]})
    assert len(set(components(placeholder).tolist())) == 1000
    shared = labeled_catalog(labels, **{column: [value if i < 2 * PLACEHOLDER_GROUPS else None for i in range(2000)]})
    assert len(set(components(shared).tolist())) == 1000 - PLACEHOLDER_GROUPS + 1


@pytest.mark.fault(15)
def test_a_long_chain_needs_no_recursion() -> None:
    n = 100_000
    chain = labeled_catalog([f"g{i // 2}" for i in range(n)], title=[f"t{(i + 1) // 2}" for i in range(n)])
    assert components(chain).max() == 0


@pytest.mark.parametrize("holdout", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("folds", [2, 5])
def test_shares(holdout: float, folds: int) -> None:
    catalog = random_catalog(3, 3000)
    split = make_split(catalog, SplitConfig(holdout=holdout, folds=folds), 0)
    held = len(set(catalog.labels[split.fold == HOLDOUT])) / len(set(catalog.labels))
    assert abs(held - holdout) < 0.01
    sizes = np.bincount(split.fold[split.fold != HOLDOUT])
    assert sizes.max() - sizes.min() <= 2
    for fold in range(HOLDOUT, folds):
        labels = catalog.labels[split.fold == fold].tolist()
        assert len(set(labels)) < len(labels)


def test_the_seed_decides() -> None:
    catalog = random_catalog(1, 400)
    folds = [make_split(catalog, SplitConfig(), seed).fold for seed in (0, 0, 1)]
    assert (folds[0] == folds[1]).all()
    assert (folds[0] != folds[2]).mean() > 0.2


@pytest.mark.fault(15)
def test_a_giant_component_goes_to_a_fold() -> None:
    giant: list[str | None] = [f"x{i % 40}" for i in range(600)]
    labels = giant + [f"g{i // 2}" for i in range(400)]
    catalog = labeled_catalog(labels, title=["same"] * 600 + [""] * 400)
    for seed in range(5):
        split = make_split(catalog, SplitConfig(), seed)
        assert sorted(np.bincount(split.fold + 1).tolist())[2] == 600
        assert (split.fold == HOLDOUT).sum() == 2 * round(0.2 * 240)
        assert HOLDOUT not in split.fold[:600]


def test_smallest_catalog_that_can_be_split() -> None:
    for seed in range(10):
        split = make_split(labeled_catalog(["a", "a", "b", "b", "c", "c", "d"]), SplitConfig(holdout=0.9), seed)
        assert {f: int((split.fold[:6] == f).sum()) for f in (-1, 0, 1)} == {-1: 2, 0: 2, 1: 2}


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None] * 9, "no listing has one"),
        (["a"] * 9, "all 9 are of one label group"),
        (list("abcdefgh"), "all 8 have a label group of their own"),
        (list("aabbcdef"), "need 3 products of two or more listings .* there are 2"),
    ],
)
def test_labels_that_allow_no_training(labels: list[str | None], message: str) -> None:
    with pytest.raises(MatcherError, match=message) as error:
        make_split(labeled_catalog(labels), SplitConfig(), 0)
    assert error.value.exit_code == 2


@pytest.mark.fault(4)
def test_every_part_has_a_pair_however_large_the_rest() -> None:
    labels: list[str | None] = [*"aabbcc", *(f"single{i}" for i in range(12))]
    catalog = labeled_catalog(labels, title=[""] * 6 + ["same"] * 12)
    split = make_split(catalog, SplitConfig(), 0)
    assert sorted(split.fold[:6].tolist()) == [-1, -1, 0, 0, 1, 1]


def test_products_tied_to_each_other_count_once() -> None:
    catalog = labeled_catalog(list("aabbccdd"), title=["same"] * 8)
    with pytest.raises(MatcherError, match="there are 1"):
        make_split(catalog, SplitConfig(), 0)


def test_save_and_load(tmp_path: Path) -> None:
    split = make_split(random_catalog(0), SplitConfig(), 0)
    split.save(tmp_path / "split.parquet")
    again = Split.load(tmp_path / "split.parquet")
    for name in ("posting_id", "component", "fold"):
        a, b = getattr(split, name), getattr(again, name)
        assert a.dtype == b.dtype
        assert (a == b).all()


# --- several sources -------------------------------------------------------------------------------------------------


def test_each_source_is_split_by_itself() -> None:
    catalogs = {"a": random_catalog(0, 300), "b": random_catalog(1, 90)}
    joined = Catalog.join(catalogs)
    split = make_split(joined, SplitConfig(folds=3), seed=2)
    assert as_sets(split.component) == as_sets(components(joined))
    for component in range(split.component.max() + 1):
        assert len(set(split.fold[split.component == component])) == 1
    for number in range(2):
        own = joined.source_numbers() == number
        folds, labels = split.fold[own], joined.labels[own]
        share = len(set(labels[folds == HOLDOUT])) / len(set(labels))
        assert 0.1 < share < 0.3
        sizes = [int((folds == fold).sum()) for fold in range(3)]
        assert max(sizes) - min(sizes) < 0.2 * sum(sizes)
        for fold in (HOLDOUT, 0, 1, 2):
            in_fold = labels[folds == fold]
            assert len(set(in_fold)) < len(in_fold)


def test_first_source_is_split_as_if_alone() -> None:
    alone = labeled_catalog([f"g{row // 2}" for row in range(40)])
    joined = Catalog.join({"a": alone, "b": labeled_catalog([f"g{row // 3}" for row in range(30)])})
    found = make_split(joined, SplitConfig(), seed=3)
    assert found.fold[:40].tolist() == make_split(alone, SplitConfig(), seed=3).fold.tolist()


def test_source_that_repeats_another_is_refused() -> None:
    labels, titles = ["x", "x", "y", "y", "z", "z"], ["mug", "cup", "fan", "lamp", "sofa", "rug"]
    catalog = labeled_catalog(labels, title=titles)
    with pytest.raises(MatcherError, match=r"^catalog b: 2 folds .* a catalog named before it; there are 0: .*leave"):
        make_split(Catalog.join({"a": catalog, "b": catalog}), SplitConfig(), seed=0)
    single = labeled_catalog(["1", "2", "3"])
    with pytest.raises(MatcherError, match=r"^catalog b: training needs listings that sell the same product"):
        make_split(Catalog.join({"a": catalog, "b": single}), SplitConfig(), seed=0)


def test_parts_of_each_source() -> None:
    joined = Catalog.join({"a": random_catalog(2, 200), "b": random_catalog(3, 80)})
    part = parts(joined, seed=0, count=2)
    for number in range(2):
        for half in range(2):
            labels = joined.labels[(joined.source_numbers() == number) & (part == half)]
            assert len(labels) > 0.3 * (joined.source_numbers() == number).sum()
            assert len(set(labels)) < len(labels)


@pytest.mark.fault(4, 26)
def test_unlabeled_listings_are_in_no_part_and_change_nothing() -> None:
    catalog = random_catalog(3)
    labels = catalog.labels.tolist()
    gaps = set(random.Random(0).sample(range(len(labels)), 30))
    partly = catalog.with_columns({"label_group": [None if row in gaps else x for row, x in enumerate(labels)]})
    rows = np.array([row for row in range(len(labels)) if row not in gaps])
    split, alone = make_split(partly, SplitConfig(), 0), make_split(partly.take(rows), SplitConfig(), 0)
    assert split.fold[rows].tolist() == alone.fold.tolist()
    assert split.component[rows].tolist() == alone.component.tolist()
    assert set(split.fold[sorted(gaps)].tolist()) == {UNLABELED}
    assert len(set(split.component[sorted(gaps)].tolist()) - set(alone.component.tolist())) == len(gaps)
    assert set(parts(partly, 0)[sorted(gaps)].tolist()) == {UNLABELED}
    assert set(part_split(partly, 0, 1).fold.tolist()) == {0, 1, HOLDOUT, UNLABELED}


@pytest.mark.fault(36)
def test_label_group_of_improbable_size_is_told() -> None:
    labels = ["unknown"] * 40 + [f"g{row // 2}" for row in range(160)]
    told = large_label_groups(labeled_catalog([*labels, None]))
    assert told is not None
    assert told.startswith("'unknown' has 40 of 200 labeled listings: is it one product?")
    assert large_label_groups(labeled_catalog(labels[30:])) is None
    assert large_label_groups(labeled_catalog([None])) is None


def test_sample_keeps_components_whole_but_for_the_last():
    components = np.repeat(np.arange(10, dtype=np.int32), 3)
    rows = some_products(components, 8, seed=1)
    assert sorted(np.bincount(components[rows]).tolist(), reverse=True)[:3] == [3, 3, 2]
    assert (np.diff(rows) > 0).all()
    assert some_products(components, 8, seed=2).tolist() != rows.tolist()
    assert len(some_products(components, 99, seed=0)) == 30
