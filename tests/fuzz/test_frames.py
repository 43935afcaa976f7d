"""Frames whose columns hold anything: a catalog, or one error."""

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.config import DataConfig
from shared.catalog.reader import frame_catalog
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from tests.support.fuzzing import fuzz

NAMES = ["posting_id", "title", "image", "image_phash", "label_group", "price", 7, ("a", "b"), None]
VALUES: list[Any] = ["a", "b", "", " ", "nan", "\ud800", b"a", b"\xff", None, pd.NA, pd.NaT, float("nan"), np.inf, 0, 7]
VALUES += [10**30, 1.5, np.float16(2), True, 1j, decimal.Decimal("1.0"), datetime.date(2026, 1, 31), pd.Timestamp(0)]
VALUES += [
    pd.Timedelta(1),
    pd.Interval(0, 1),
    pd.Period("2026-01"),
    [1],
    {},
    {"a": 1},
    (),
    frozenset(),
    object,
    np.ones(2),
]
TYPES = ["object", "string", "category", "Int64", "float32", "boolean", "datetime64[ns]", "string[pyarrow]"]


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A few rows of any values, each column of any type that takes its values."""
    count = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
    names += draw(st.sampled_from([[], *[[name for name in NAMES[:2] if name not in names]] * 5, NAMES[:1]]))
    columns = []
    for _ in names:
        values = draw(st.lists(st.sampled_from(VALUES), min_size=count, max_size=count))
        if draw(st.booleans()):
            values = [f"{row}{value}" if isinstance(value, str) else row for row, value in enumerate(values)]
        column = pd.Series(values, dtype=object)
        try:
            column = column.astype(draw(st.sampled_from(TYPES)))
        except Exception:  # of that type, it does not exist
            column = pd.Series(values, dtype=object)
        columns.append(column)
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(count))
    frame.columns = pd.Index(names, dtype=object)
    frame.index = pd.Index(draw(st.permutations(range(count))))
    return frame


@pytest.mark.fault(2, 31)
@given(frames())
@fuzz(300)
def test_any_frame_is_a_catalog_or_one_error(frame: pd.DataFrame) -> None:
    try:
        catalog = frame_catalog(frame, None, DataConfig(), ComputeConfig(device="cpu", threads=1))
    except MatcherError as error:
        str(error).encode()
    else:
        assert len(catalog) == len(frame) == len(set(catalog.ids))
