"""The targets of the fuzzer, briefly: every seed, and seeds in which a few places were changed."""

import pytest
from hypothesis import given

from tests.fuzz import seeds, targets
from tests.support.fuzzing import edited, fuzz


@pytest.mark.parametrize("name", targets.TARGETS)
def test_targets_take_their_seeds(name: str) -> None:
    for data in getattr(seeds, name)():
        targets.TARGETS[name](data)


@pytest.mark.fault(3, 31)
@given(edited(seeds.titles()))
@fuzz(300)
def test_any_titles_are_read(data: bytes) -> None:
    targets.titles(data)


@pytest.mark.fault(3)
@given(edited(seeds.long_titles()))
@fuzz(20)
def test_long_titles_of_any_piece_are_read_soon(data: bytes) -> None:
    targets.long_titles(data)


@pytest.mark.fault(1, 2, 31)
@given(edited(seeds.tables(), most=2))
@fuzz(400)
def test_any_table_is_a_catalog_or_one_error(data: bytes) -> None:
    targets.tables(data)


@pytest.mark.fault(6, 7, 31)
@given(edited(seeds.images()))
@fuzz(500)
def test_any_image_is_shown_or_refused(data: bytes) -> None:
    targets.images(data)
