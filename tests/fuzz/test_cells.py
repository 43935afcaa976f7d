"""Cells of CSV files: no spreadsheet takes one for a formula, and nothing is lost."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.submission import csv_cell
from tests.support.fuzzing import fuzz

TEXTS = st.text(st.one_of(st.sampled_from("=+-@＝＋－＠\t\r\n,;\"'| a1"), st.characters(exclude_categories=["Cs"])))


@pytest.mark.fault(27)
@given(st.lists(TEXTS, min_size=1, max_size=4))
@fuzz(300)
def test_no_cell_is_a_formula(texts: list[str]) -> None:
    line = ",".join(map(csv_cell, texts)) + "\n"
    (row,) = csv.reader(io.StringIO(line, newline=""), strict=True) if line.strip() else [[""]]
    assert len(row) == len(texts)
    for cell, text in zip(row, texts, strict=True):
        assert cell in (text, f"'{text}")
        assert not cell.startswith(tuple("=+-@＝＋－＠\t\r\n"))
