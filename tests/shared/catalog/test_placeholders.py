"""Evidence that many otherwise unlike listings share is set aside."""

import json
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from shared.catalog.placeholders import NEAR_BITS, NOTHING, SetAside, leave_out, left_out, like, set_aside
from shared.schema import Catalog

HASH = 0x9B3C5D2A6F0E1478
RNG = np.random.default_rng(5)
HASHES = [int(value) for value in RNG.integers(2**63, size=2000, dtype=np.uint64)]


def unlike(count: int) -> list[str]:
    """Titles of different products: three words each, one of which a few of them share."""
    return [f"thing{i} model{i} kind{i % 40}" for i in range(count)]


def alike(count: int) -> list[str]:
    """Titles of one product, as sellers write them."""
    return [f"tupperware lunch box red shop{i} offer{i}" for i in range(count)]


def catalog(titles: Sequence[str | None], **columns: Sequence[Any]) -> Catalog:
    ids = [f"p{i:04}" for i in range(len(titles))]
    return Catalog.from_columns({"posting_id": ids, "title": list(titles), **columns})


def with_images(titles: Sequence[str | None], shas: Sequence[str | None], hashes: Sequence[int | None]) -> Catalog:
    sizes = [None if sha is None else 300 for sha in shas]
    names = [f"{sha}.jpg" for sha in shas]
    return catalog(titles, image_sha=shas, phash=hashes, width=sizes, height=sizes, bytes=sizes, image=names)


@pytest.mark.fault(9, 35)
@pytest.mark.parametrize("k", [5, 20, 300])
def test_an_image_on_k_unlike_listings_of_300_is_set_aside(k: int) -> None:
    shas = ["icon"] * k + [f"sha{i}" for i in range(300 - k)]
    made, report = set_aside(with_images(unlike(300), shas, [HASH] * k + HASHES[: 300 - k]))
    assert made.has_image.tolist() == made.has_phash.tolist() == [False] * k + [True] * (300 - k)
    assert made.column("width").tolist() == made.column("bytes").tolist() == [None] * k + [300] * (300 - k)
    assert made.titles.tolist() == unlike(300)
    assert report.kinds.keys() == {"images"}
    assert (report.kinds["images"].values, report.kinds["images"].listings) == (1, k)
    assert (
        report.line
        == f"set aside since many unlike listings share it: 1 image of {k} listings (icon.jpg, such as p0000)"
    )


@pytest.mark.parametrize("k", [2, 4])
def test_a_few_unlike_listings_keep_their_image(k: int) -> None:
    made = with_images(unlike(300), ["icon"] * k + [None] * (300 - k), [HASH] * k + [None] * (300 - k))
    assert set_aside(made) == (made, NOTHING)


@pytest.mark.fault(35)
@pytest.mark.parametrize("k", [5, 100])
def test_a_hash_without_an_image_is_set_aside(k: int) -> None:
    made, report = set_aside(catalog(unlike(100), phash=[HASH] * k + HASHES[: 100 - k]))
    assert made.has_phash.tolist() == [False] * k + [True] * (100 - k)
    assert report.kinds["hashes"].listings == k
    assert report.kinds["hashes"].value == f"{HASH:016x}"


@pytest.mark.fault(35)
def test_re_encoded_copies_of_an_image_are_set_aside() -> None:
    bits = [0, 1 << 3 | 1 << 60, 1 << 22, 1 << 42 | 1 << 43]
    hashes = [HASH ^ bits[i % 4] for i in range(60)]
    made, report = set_aside(with_images(unlike(60), [f"sha{i}" for i in range(60)], hashes))
    assert not made.has_image.any()
    assert not made.has_phash.any()
    assert report.kinds["images"].listings == 60
    far = [HASH ^ (2 ** (NEAR_BITS + 1) - 1) << 8 * (i % 3) for i in range(4)]
    assert set_aside(catalog(unlike(8), phash=[HASH] * 4 + far))[1] == NOTHING


@pytest.mark.fault(35)
@pytest.mark.parametrize("k", [5, 40, 300])
def test_a_product_whose_sellers_share_a_photo_keeps_it(k: int) -> None:
    titles = [*alike(k), *unlike(50)]
    made = with_images(titles, ["photo"] * k + [None] * 50, [HASH] * k + [None] * 50)
    assert set_aside(made) == (made, NOTHING)
    alone = with_images(alike(k), ["photo"] * k, [HASH] * k)
    assert set_aside(alone) == (alone, NOTHING)


def test_a_photo_of_one_product_in_a_script_without_spaces_stays() -> None:
    titles = [
        f"{shop}洗发水家庭装温和去屑"
        for shop in ["天猫超市", "京东自营", "品牌直销", "海外代购", "官方正品", "全国包邮"]
    ]
    made = catalog(titles, phash=[HASH] * 6)
    assert set_aside(made) == (made, NOTHING)


def test_an_image_stays_where_nothing_else_is_known() -> None:
    made = with_images([None] * 50 + ["lamp"] * 50, ["photo"] * 100, [HASH] * 100)
    assert set_aside(made) == (made, NOTHING)


def test_listings_without_a_title_lose_a_shared_image_too() -> None:
    made, _ = set_aside(with_images([*unlike(20), *[None] * 10], ["icon"] * 30, [HASH] * 30))
    assert not made.has_image.any()


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("title", "k"),
    [("test", 5), ("viva rose water", 10), ("No title", 20), ("ready stock", 300), ("one two three four", 50)],
)
def test_a_title_of_listings_whose_images_differ_is_set_aside(title: str, k: int) -> None:
    titles = [title] * k + unlike(300 - k)
    made, report = set_aside(with_images(titles, [f"sha{i}" for i in range(300)], HASHES[:300]))
    assert made.titles.tolist() == [""] * k + titles[k:]
    assert made.has_image.all()
    assert report.kinds["titles"].listings == k
    assert report.kinds["titles"].value == title


@pytest.mark.parametrize("hashes", [[None] * 1000, [HASH] * 1000, [None] * 600 + HASHES[:400], HASHES[:250] * 4])
def test_a_title_stays_where_images_are_missing_or_alike(hashes: list[int | None]) -> None:
    made = catalog(["Black cloth face mask 1 pcs"] * 1000, phash=hashes)
    assert set_aside(made) == (made, NOTHING)


def test_a_title_of_few_words_stays_with_few_listings() -> None:
    made = catalog(["viva rose water"] * 9 + ["test"] * 4 + unlike(300), phash=HASHES[:313])
    assert set_aside(made) == (made, NOTHING)


@pytest.mark.parametrize("title", ["test", "No title", "ready stock"])
def test_a_title_that_says_nothing_goes_though_some_images_are_alike(title: str) -> None:
    made, report = set_aside(catalog([title] * 20 + unlike(20), phash=HASHES[:5] * 4 + HASHES[10:30]))
    assert report.kinds["titles"].listings == 20
    assert made.has_phash.all()
    same = catalog([title] * 20, phash=HASHES[:4] * 5)
    assert set_aside(same) == (same, NOTHING)


@pytest.mark.fault(35)
def test_image_and_title_are_set_aside_together() -> None:
    titles = [*unlike(20), *["test"] * 20]
    made, report = set_aside(
        with_images(titles, ["icon"] * 20 + [f"sha{i}" for i in range(20)], [HASH] * 20 + HASHES[:20])
    )
    assert made.has_image.tolist() == (made.titles == "").tolist() == [False] * 20 + [True] * 20
    assert report.line is not None
    assert "1 image of 20" in report.line
    assert "1 title of 20" in report.line


@pytest.mark.fault(35)
def test_the_order_of_listings_does_not_matter() -> None:
    titles = [*unlike(30), *["test"] * 20, *alike(30)]
    made = with_images(
        titles, ["icon"] * 30 + [None] * 20 + ["photo"] * 30, [HASH] * 30 + HASHES[:20] + [7 * HASH % 2**64] * 30
    )
    order = np.random.default_rng(3).permutation(80)
    one, other = set_aside(made), set_aside(made.take(order))
    assert one[0].take(order).table == other[0].table
    assert one[1] == other[1] != NOTHING


def test_a_report_survives_json() -> None:
    report = set_aside(catalog(unlike(9), phash=[HASH] * 9))[1]
    assert SetAside.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.metrics == {"set_aside": f"1 hash of 9 listings ({HASH:016x}, such as p0000)"}
    assert NOTHING.line is None
    assert NOTHING.metrics == {}


def test_many_different_hashes_take_seconds() -> None:
    n = 60_000
    hashes = np.random.default_rng(1).integers(2**63, size=n, dtype=np.uint64)
    made = catalog([f"a{i} b{i}" for i in range(n)], phash=hashes.tolist())
    assert set_aside(made)[1] == NOTHING


def test_what_is_shared_with_listings_that_lost_it_is_told() -> None:
    others = with_images([*unlike(9), "test"], ["icon"] * 9 + ["own"], [HASH] * 9 + [HASHES[0]])
    judged = leave_out(others, np.arange(10) < 9, np.arange(10) == 9)[0]
    images, titles = left_out(others, judged)
    assert (images.tolist(), titles.tolist()) == ([True] * 9 + [False], [False] * 9 + [True])
    new = with_images(["lamp", "Test", "fan", None], ["icon", "own", None, None], [None, HASHES[0], HASH ^ 3, None])
    assert [mask.tolist() for mask in like(new, others, images, titles)] == [
        [True, False, True, False],
        [False, True, False, False],
    ]


def test_many_listings_beside_many_set_aside_take_little_memory() -> None:
    n = 20_000
    others = with_images(["mask"] * n, ["photo"] * n, [HASH] * n)
    everyone = np.ones(n, dtype=bool)
    tracemalloc.start()
    assert like(others, others, everyone, ~everyone)[0].all()
    assert tracemalloc.get_traced_memory()[1] < 100e6  # every listing beside every other would be 3 GB
    tracemalloc.stop()


def test_many_equal_listings_take_seconds() -> None:
    n = 60_000
    made = with_images(["mask"] * n, ["photo"] * n, [HASH] * n)
    assert set_aside(made) == (made, NOTHING)


@pytest.mark.fault(15)
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (1, 0, 2, 3, 4, 5), (5, 2, 1, 0, 4, 3)])
def test_a_chain_of_near_equal_images_is_one_image_in_any_order(order: tuple[int, ...]) -> None:
    chain, others = (
        (0x9B3C5D2A6F0E1478, 0x9B3C5D2A6F0E147B, 0x9B3C5D2A6F0E1477),
        (0x1, 0xF0F0F0F0F0F0F0F0, 0x5A5A0F0F3C3CAAAA),
    )
    hashes = [(*chain, *others)[row] for row in order]
    columns = {"posting_id": [str(row) for row in order], "title": ["test"] * 6, "phash": hashes}
    catalog, _ = set_aside(Catalog.from_columns(columns))
    assert (catalog.titles == "test").all()
