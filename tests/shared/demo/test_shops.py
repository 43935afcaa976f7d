"""The demo's lists of shops: group sizes, siblings, titles and photos, alone and mixed with the marketplace."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from branches.tfidf.config import Config
from branches.tfidf.embed import TfidfEmbedder
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.demo.__main__ import main
from shared.demo.drawing import FORMS
from shared.demo.plan import FamilyPlan
from shared.demo.shops import listings as shop_listings
from shared.demo.shops.categories import BRANDS, CATEGORIES, COLORS, Spec
from shared.demo.shops.plan import FIRST_LABEL, GROUP_SHARES, MAX_FAMILY, plan_families
from shared.demo.shops.products import Family, Product, sample_family
from shared.demo.shops.styles import SHOPS, SHOPS_PER_CATALOG, Shop, shops_of
from shared.demo.shops.titles import shop_title, spec_text
from shared.errors import MatcherError
from shared.metrics.matching import label_codes
from shared.metrics.retrieval import retrieval
from shared.schema import Catalog
from tests.support.run_files import content
from tests.support.tables import read_rows

LISTINGS, SEED = 160, 3
MARKETPLACE = "76095568702c335ad55a76bae12dcf4663de4964fdc07f72c74421fa0a865e42"
PLAIN = Shop("plain", 1, "brand line model noun specs color", {}, (2, 2))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "shops"
    make_demo(out, LISTINGS, SEED, kind="shops")
    return out


@pytest.fixture(scope="module")
def plans() -> list[FamilyPlan]:
    return plan_families(5000, 0)


@pytest.fixture(scope="module")
def families() -> list[Family]:
    return [sample_family(1 + number % MAX_FAMILY, np.random.default_rng(number)) for number in range(800)]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Titles and labels of 2,000 listings, without photos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop_listings, "_photo", lambda *_: None)
        rows = dict(row for plan in plan_families(2000, 1) for row in shop_listings.make_listings(plan, 1, Path()))
    columns = {
        name: [getattr(rows[row], name) for row in range(2000)] for name in ("posting_id", "title", "label_group")
    }
    return Catalog.from_columns(columns)


def differences(one: Product, other: Product) -> set[str]:
    """The names of the attributes and specifications in which two products differ."""
    names = {field.name for field in fields(Product)} - {"category", "specs"}
    specs = [spec.name for spec in one.category.specs if one.spec(spec.name) != other.spec(spec.name)]
    return {name for name in names if getattr(one, name) != getattr(other, name)} | set(specs)


# The same bytes


@pytest.mark.parametrize("kind", ["shops", "mixed"])
def test_same_bytes_for_any_workers(kind, tmp_path: Path) -> None:
    make_demo(tmp_path / "one", 60, SEED, kind=kind)
    make_demo(tmp_path / "two", 60, SEED, workers=2, kind=kind)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_other_seed_other_products(demo: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "other", LISTINGS, SEED + 1, kind="shops")
    ours, theirs = read_rows(demo / "train.csv"), read_rows(tmp_path / "other" / "train.csv")
    assert not {row["title"] for row in ours} & {row["title"] for row in theirs}


def test_marketplace_is_as_ever(tmp_path: Path) -> None:
    make_demo(tmp_path / "market", 120, 3)
    rows = [
        (row["image_phash"], row["title"], row["label_group"]) for row in read_rows(tmp_path / "market" / "train.csv")
    ]
    assert hashlib.sha256(repr(rows).encode()).hexdigest() == MARKETPLACE


# The plan


def test_shares_of_group_sizes(plans: list[FamilyPlan]) -> None:
    sizes = Counter(len(rows) for plan in plans for rows in plan.rows)
    assert sum(size * count for size, count in sizes.items()) == 5000
    for size, share in enumerate(GROUP_SHARES, 1):
        assert sizes[size] / sizes.total() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("listings", [*range(2, 30), 333])
def test_every_row_is_planned_once(listings: int) -> None:
    plans = plan_families(listings, 0)
    groups = [rows for plan in plans for rows in plan.rows]
    assert sorted(row for rows in groups for row in rows) == list(range(listings))
    assert max(map(len, groups)) > 1
    labels = [label for plan in plans for label in plan.labels]
    assert len(set(labels)) == len(labels)


def test_most_products_have_siblings(plans: list[FamilyPlan]) -> None:
    members = [len(plan.labels) for plan in plans]
    assert set(members) == set(range(1, MAX_FAMILY + 1))
    assert 0.6 < sum(count for count in members if count > 1) / sum(members) < 0.8


# The products


def test_siblings_differ_in_the_stated_axis_only(families: list[Family]) -> None:
    for family in families:
        also = {"part"} | ({family.products[0].category.specs[0].name} if family.axis == "series" else set())
        for number, product in enumerate(family.products):
            for other in family.products[:number]:
                assert family.axis in differences(product, other)
                assert differences(product, other) <= also | {family.axis}


def test_all_axes_occur(families: list[Family]) -> None:
    pairs = {(family.products[0].category.form, family.axis) for family in families}
    assert pairs == {(category.form, axis) for category in CATEGORIES for axis in category.axes}


def test_no_two_products_are_equal() -> None:
    families = [sample_family(len(plan.labels), np.random.default_rng(plan.index)) for plan in plan_families(5000, 0)]
    products = [
        (product.category.form, product.brand, product.line, product.model, product.color, product.specs)
        for family in families
        for product in family.products
    ]
    assert len(set(products)) == len(products)


def test_tables_name_what_exists() -> None:
    for category in CATEGORIES:
        names = [spec.name for spec in category.specs]
        assert category.form in FORMS
        assert set(category.brands) <= set(BRANDS)
        assert set(category.colors) <= set(COLORS)
        assert set(category.axes) <= {"series", "color", *names}
        assert category.imprint in ("", *names)
        assert min(len(spec.values) for spec in category.specs) > 1
    for shop in SHOPS:  # each has a place for whatever siblings may differ in
        assert {"model", "specs", "color"} <= {part.lstrip("-,(") for part in shop.order.split()}


# The titles


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: shop.name)
def test_titles_fit_their_shop(shop: Shop, families: list[Family]) -> None:
    rng = np.random.default_rng(0)
    titles = [shop_title(family.products[0], family.axis, shop, rng) for family in families]
    if shop.case != "as is":
        assert titles == [title.lower() if shop.case == "lower" else title.upper() for title in titles]
    assert 40 < max(map(len, titles)) <= shop.longest
    assert all(title.isascii() and title.strip() == title != "" for title in titles)


def test_shop_keeps_to_its_style() -> None:
    shop = next(shop for shop in SHOPS if shop.model == "joined")
    rng = np.random.default_rng(0)
    products = [sample_family(1, rng).products[0] for _ in range(200)]
    titles = [shop_title(product, "series", shop, rng) for product in products]
    assert all(title == title.upper() for title in titles)
    joined = [product.model.replace("-", "").replace("/", "") for product in products]
    named = sum(model in title for model, title in zip(joined, titles, strict=True))
    assert named / len(titles) > 0.9


@pytest.mark.parametrize("axis", ["capacity", "color", "series"])
def test_titles_name_what_siblings_differ_in(axis: str, families: list[Family]) -> None:
    rng = np.random.default_rng(0)
    compared, equal = 0, 0
    for family in families:
        if family.axis != axis or len(family.products) == 1:
            continue
        for shop in SHOPS:
            titles = [shop_title(product, axis, shop, rng) for product in family.products]
            compared += len(titles)
            equal += len(titles) - len(set(titles))
    assert compared > 200
    assert equal / compared < 0.1


def test_spec_text_forms() -> None:
    capacity = Spec("capacity", ("2",), ("{value}GB", "{value} GB", "{mega}MB"))
    texts = {spec_text(capacity, "2", PLAIN._replace(name=f"shop {number}")) for number in range(50)}
    assert texts == {"2GB", "2 GB", "2048MB"}
    assert spec_text(Spec("capacity", ("1500",), ("{tera}TB",)), "1500", PLAIN) == "1.5TB"
    assert spec_text(Spec("size", ("32",), ("{cm}cm",)), "32", PLAIN) == "81cm"
    assert spec_text(Spec("bus", ("USB 2.0",), ("{value} Port",)), "USB 2.0", PLAIN) == "USB 2.0 Port"


def test_long_titles_end_with_a_whole_word() -> None:
    product = sample_family(1, np.random.default_rng(0)).products[0]
    whole = shop_title(product, "", PLAIN, np.random.default_rng(0))
    cut = shop_title(product, "", PLAIN._replace(longest=len(whole) - 1), np.random.default_rng(0))
    assert cut == whole.rsplit(" ", 1)[0]


def test_tfidf_finds_some_matches_but_not_most(catalog: Catalog) -> None:
    codes = label_codes(catalog.labels)
    metrics = retrieval(TfidfEmbedder(catalog, Config()).transform(catalog), codes)
    assert 0.5 < metrics.recall_at_1 < 0.8
    assert 0.70 < metrics.row_f1 < 0.80


# The lists


def test_shop_lists_a_product_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    monkeypatch.setattr(shop_listings, "_photo", lambda *_: None)
    monkeypatch.setattr(
        shop_listings, "shop_title", lambda product, axis, shop, rng: listed.append((product, shop.name)) or "title"
    )
    for plan in plan_families(500, 0):
        shop_listings.make_listings(plan, 0, Path())
    assert len(set(listed)) == len(listed) == 500
    assert {name for _, name in listed} == {shop.name for shop in shops_of(0)}


def test_catalogs_have_different_shops() -> None:
    lists = {tuple(shop.name for shop in shops_of(seed)) for seed in range(10)}
    assert len(lists) > 5
    assert all(len(set(names)) == SHOPS_PER_CATALOG for names in lists)


def test_shops_share_photos_and_some_listings_have_none(demo: Path) -> None:
    rows = read_rows(demo / "train.csv")
    groups = defaultdict(list)
    for row in rows:
        if row["image"]:
            groups[row["label_group"]].append(row["image_phash"])
    several = [hashes for hashes in groups.values() if len(hashes) > 1]
    shared = sum(len(set(hashes)) < len(hashes) for hashes in several)
    assert shared / len(several) > 0.2
    assert 0.1 < sum(not row["image"] for row in rows) / len(rows) < 0.5
    assert {path.name for path in (demo / "train_images").iterdir()} == {row["image"] for row in rows} - {""}


def test_reader_accepts_a_list(demo: Path, one_thread: ComputeConfig) -> None:
    catalog = read_catalog(find_source(demo, DataConfig()), DataConfig(), one_thread, labeled=True)
    assert len(catalog) == LISTINGS


# Mixed


def test_mixed_is_half_of_each_in_random_order(tmp_path: Path) -> None:
    make_demo(tmp_path / "mixed", 101, SEED, kind="mixed")
    rows = read_rows(tmp_path / "mixed" / "train.csv")
    of_shops = np.array([int(row["label_group"]) >= FIRST_LABEL for row in rows])
    assert [row["posting_id"] for row in rows] == [f"demo_{number:06d}" for number in range(101)]
    assert of_shops.sum() == 51
    assert 10 < of_shops[:50].sum() < 40
    once = {label for label, count in Counter(row["label_group"] for row in rows).items() if count == 1}
    assert once
    assert all(int(label) >= FIRST_LABEL for label in once)


@pytest.mark.parametrize(("kind", "listings"), [("shops", 1), ("mixed", 3)])
def test_too_few_listings(kind, listings: int, tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match=rf"at least \d listings, not {listings}"):
        make_demo(tmp_path / "new" / "out", listings, 0, kind=kind)
    assert not list(tmp_path.iterdir())


def test_command_says_how_many_have_a_match(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--out", str(out), "--kind", "shops", "--listings", "20", "--workers", "1"]) == 0
    rows = read_rows(out / "train.csv")
    sizes = Counter(row["label_group"] for row in rows)
    matched = sum(sizes[row["label_group"]] > 1 for row in rows) / 20
    said = capsys.readouterr().out
    assert said.startswith(f"20 listings of {len(sizes)} products ({matched:.0%} of the listings have a match, ")
