"""Words for missing values, and perceptual hashes in other spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.cells import is_missing, read_hash

HASH = 0xAF48C947D86B690B


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nan",
        "NaN",
        "None",
        "null",
        "NULL",
        "NA",
        "N/A",
        "n/a",
        "<NA>",
        "NaT",
        "#N/A",
        "\\N",
        "-",
        " nan ",
        "undefined",
        "[NULL]",
    ],
)
def test_words_for_a_missing_value(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "Nano", "Nana", "no", "na 1", "unknown", "x" * 100_000, "NaNa", "."])
def test_other_words_are_values(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize(
    "text",
    [
        "af48c947d86b690b",
        "AF48C947D86B690B",
        " 0xaf48c947d86b690b ",
        "0XAF48C947D86B690B",
        "af48-c947-d86b-690b",
        "af:48:c9:47:d8:6b:69:0b",
        "af 48 c9 47 d8 6b 69 0b",
        "af48_c947_d86b_690b",
        "'af48c947d86b690b'",
        '"AF48C947D86B690B"',
        "b'af48c947d86b690b'",
        "\\xaf48c947d86b690b",
        str(HASH),
        str(HASH - 2**64),  # as a database with signed numbers has it
        f"{HASH:b}",
    ],
)
def test_spellings_of_a_hash(text: str) -> None:
    assert read_hash(text) == HASH


@given(st.integers(0, 2**64 - 1))
def test_any_hash_is_read_in_every_spelling(value: int) -> None:
    assert read_hash(f"{value:016x}") == read_hash(hex(value)) == read_hash(f"{value:064b}") == value
    assert len(str(value)) < 17 or read_hash(str(value)) == value


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    "text",
    [
        "xyz",
        "12345",
        "af48c947d86b690",
        "af48c947d86b690b0",
        "-8171747302999999",
        "0x",
        "1e19",
        "af48--c947",
        str(2**64),
        str(-(2**63) - 1),
        "٣" * 16,
    ],
)
def test_what_is_no_hash(text: str) -> None:
    assert read_hash(text) is None
