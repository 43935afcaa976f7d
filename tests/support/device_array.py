"""A device without a GPU: arrays in the processor's memory that refuse what CuPy's refuse."""

from types import ModuleType
from typing import Any

import numpy as np

METHODS = "any astype max reshape sum view"
OPERATORS = "add sub mul truediv floordiv mod pow matmul neg invert and or xor lshift rshift lt le gt ge eq ne"


class DeviceArray:
    """An array that, like CuPy's, never turns into a numpy array, nor mixes with one, unless asked by `get`."""

    __array_ufunc__ = None

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("implicit conversion to numpy")

    def get(self) -> np.ndarray:
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: Any) -> Any:
        return on_device(self.values[on_host(at)])

    def __setitem__(self, at: Any, value: Any) -> None:
        self.values[on_host(at)] = on_host(value)

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    T = property(lambda self: DeviceArray(self.values.T))


def on_host(value: Any) -> Any:
    """Return the numpy array of a device array, and anything else as it is; a numpy array is refused."""
    if isinstance(value, tuple):
        return tuple(map(on_host, value))
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type numpy.ndarray")
    return value.values if isinstance(value, DeviceArray) else value


def on_device(value: Any) -> Any:
    """Return a numpy array or number as a device array, and anything else as it is."""
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def lifted(function: Any) -> Any:
    """Return a function of numpy as one that takes and returns device arrays."""
    return lambda *args, **kwargs: on_device(
        function(*map(on_host, args), **{name: on_host(value) for name, value in kwargs.items()})
    )


for name in METHODS.split():
    setattr(DeviceArray, name, lifted(getattr(np.ndarray, name)))
for name in OPERATORS.split():
    setattr(DeviceArray, f"__{name}__", lifted(getattr(np.ndarray, f"__{name}__")))


# --- functions in which CuPy is not as numpy is ----------------------------------------------------------------------


def asarray(values: Any, dtype: Any = None) -> DeviceArray:
    """Copy to the device, from wherever it is."""
    return DeviceArray(np.array(values.values if isinstance(values, DeviceArray) else values, dtype=dtype))


def bincount(x: Any, weights: DeviceArray | None = None, minlength: int | None = None) -> Any:
    """CuPy takes the largest value first, and an empty array has none."""
    x.max()
    return lifted(np.bincount)(x, weights, minlength or 0)


def argsort(a: DeviceArray, kind: str | None = None) -> Any:
    """CuPy's sort is stable, whatever it is asked for."""
    assert kind in (None, "stable")
    return on_device(np.argsort(a.values, kind="stable"))


def concatenate(arrays: list[DeviceArray]) -> Any:
    return on_device(np.concatenate([array.values for array in arrays]))


def stack(arrays: list[DeviceArray]) -> Any:
    return on_device(np.stack([array.values for array in arrays]))


def searchsorted(a: DeviceArray, v: DeviceArray) -> Any:
    return on_device(np.searchsorted(a.values, v.values))


def where(condition: DeviceArray, x: Any, y: Any) -> Any:
    return on_device(np.where(condition.values, on_host(x), on_host(y)))


OTHER_THAN_NUMPY = {f.__name__: f for f in (argsort, asarray, bincount, concatenate, searchsorted, stack, where)}


def device_module(names: str) -> ModuleType:
    """Return a module that stands in for CuPy and has `asarray` and the functions named, between blanks, alone."""
    module = ModuleType("cupy")
    for name in ("asarray", *names.split()):
        setattr(module, name, OTHER_THAN_NUMPY.get(name) or lifted(getattr(np, name)))
    return module
