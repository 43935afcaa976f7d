"""Arrays of Python objects."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def object_array(values: Iterable[Any]) -> NDArray[Any]:
    """Return the values as an object array of one dimension, whatever they are.

    Args:
        values: n objects, such as strings or None.

    Returns:
        object [n], in the order of the values.

    Examples:
        >>> object_array(["a", None])
        array(['a', None], dtype=object)
        >>> object_array([]).shape
        (0,)
    """
    array: NDArray[Any] = np.fromiter(values, dtype=object)
    return array
