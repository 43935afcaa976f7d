from collections.abc import Sequence
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branches import registry
from branches.candidates import propose
from branches.phash.config import Config
from branches.stages import embed_catalog
from shared.compute import ComputeConfig
from shared.schema import Candidates
from tests.support.catalogs import catalog_of

embed = partial(embed_catalog, registry.get("phash"))

CPU = ComputeConfig(device="cpu")
BASE = 0xA5A5_5A5A_C3C3_3C3C  # 32 bits set, as in every perceptual hash
BLANK = 1 << 63  # an image of one color

hashes = st.lists(
    st.one_of(
        st.none(),
        st.just(BLANK),
        st.lists(st.integers(0, 63), max_size=9, unique=True).map(lambda bits: BASE ^ sum(1 << bit for bit in bits)),
    ),
    max_size=25,
)


def pairs(values: Sequence[int | None], config: Config | None = None) -> Candidates:
    config = config or Config()
    return propose(embed(catalog_of(len(values), phash=values), None, config, CPU), config, CPU)


def near(values: Sequence[int | None], radius: int) -> dict[tuple[int, int], float]:
    """From the definition: pairs within `radius` bits and their similarity."""
    known = [(i, v) for i, v in enumerate(values) if v is not None and v != BLANK]
    distance = {(i, j): bin(a ^ b).count("1") for i, a in known for j, b in known if i < j}
    return {pair: 1 - 2 * d / 64 for pair, d in distance.items() if d <= radius}


@settings(deadline=None, max_examples=150)
@given(hashes, st.sampled_from([0, 1, 6, 12, 31]))
def test_pairs_within_radius(values: list[int | None], radius: int) -> None:
    found = pairs(values, Config(radius=radius))
    rows = zip(found.left.tolist(), found.right.tolist(), strict=True)
    assert dict(zip(rows, found.similarity.tolist(), strict=True)) == pytest.approx(near(values, radius))


def test_every_bit_counts_once() -> None:
    for bit in range(64):
        assert pairs([BASE, BASE ^ 1 << bit], Config(radius=1)).similarity.tolist() == [0.96875]
        assert len(pairs([BASE, BASE ^ 1 << bit], Config(radius=0))) == 0


def test_ranks_of_ties() -> None:
    found = pairs([BASE, BASE ^ 1, BASE ^ 2, BASE ^ 7, BASE])
    assert found.left.tolist()[:4] == [0, 0, 0, 0]
    assert found.right.tolist()[:4] == [1, 2, 3, 4]
    assert found.rank_left.tolist()[:4] == [2, 2, 4, 1]


@pytest.mark.fault(9)
def test_blank_or_unknown_hash_is_no_evidence() -> None:
    values = [BLANK, BLANK, 0, 0, None, None, 2**64 - 1, 2**64 - 1, BASE, BASE]
    listings = catalog_of(len(values), phash=values)
    assert embed(listings, None, Config(), CPU).present.tolist() == [False] * 8 + [True] * 2
    found = pairs(values)
    assert (found.left.tolist(), found.right.tolist()) == ([8], [9])


@pytest.mark.fault(12)
@pytest.mark.parametrize("values", [[], [BASE], [None], [BLANK, BLANK], [None, BASE]])
def test_pool_without_two_hashes(values: list[int | None]) -> None:
    assert len(pairs(values)) == 0


@pytest.mark.fault(11)
@settings(deadline=None, max_examples=50)
@given(hashes, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(values: list[int | None], random: Random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    config = Config(neighbors=10)
    there, here = pairs(values, config), pairs([values[i] for i in order], config)
    assert ranks(there, list(range(len(values)))) == ranks(here, order)


def ranks(found: Candidates, names: Sequence[int]) -> dict[tuple[int, int], int]:
    """(listing, neighbor) → rank, both ways round."""
    left, right = [names[i] for i in found.left], [names[i] for i in found.right]
    there = dict(zip(zip(left, right, strict=True), found.rank_left.tolist(), strict=True))
    return there | dict(zip(zip(right, left, strict=True), found.rank_right.tolist(), strict=True))


@pytest.mark.fault(9)
def test_thousand_equal_hashes_make_few_pairs() -> None:
    config = Config(neighbors=10)
    found = pairs([BASE] * 1000 + [BASE ^ 1, BASE ^ 2], config)
    assert len(found) <= 1002 * 4 * config.neighbors
    assert (np.bincount(np.concatenate([found.left, found.right]), minlength=1002) >= config.neighbors).all()


def test_vectors_are_exact_unit_rows() -> None:
    found = embed(catalog_of(3, phash=[BASE, None, BASE ^ 1]), None, Config(), CPU)
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == (3, 64)
    assert np.unique(np.abs(found.vectors[[0, 2]])).tolist() == [0.125]
    assert not found.vectors[1].any()
