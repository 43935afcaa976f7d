"""Arrays, and what is saved and loaded again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse


def rows(*values: int) -> Any:
    return np.array(values, dtype=np.int32)


def floats(*values: float) -> Any:
    return np.array(values, dtype=np.float32)


def reloaded(made: Any, folder: Path) -> Any:
    made.save(folder / "saved")
    return type(made).load(folder / "saved")


def assert_equal(one: Any, other: Any) -> None:
    for name in one.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, sparse.csr_array):
            assert type(a) is type(b)
            assert a.shape == b.shape
            a, b = (np.concatenate([m.data, m.indices, m.indptr]) for m in (a, b))
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b
