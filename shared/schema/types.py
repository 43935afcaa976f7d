"""Array types that all of the schema is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Mask = NDArray[np.uint8]
Vectors = Floats | sparse.csr_array

NORM_TOLERANCE = 1e-3  # how far rounding may take a norm or a cosine from its bound


def require(holds: bool | np.bool_, message: str) -> None:
    """Raise a `ValueError` with a message unless something holds."""
    if not holds:
        raise ValueError(message)
