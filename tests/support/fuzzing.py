"""How long fuzz tests take, and inputs that are almost sound."""

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def fuzz(examples: int) -> settings:
    """Return the settings of a fuzz test.

    Args:
        examples: Number of inputs, the same in every run; with HYPOTHESIS_PROFILE=long, a hundred times as many others.
    """
    count = 100 * examples if IS_LONG else examples
    return settings(max_examples=count, deadline=None, derandomize=not IS_LONG, suppress_health_check=list(HealthCheck))


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 6) -> bytes:
    """Draw a sound input in which up to `most` places were changed, cut out, repeated or taken from another."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(data)))
        stop = min(start + draw(st.integers(0, 40)), len(data))
        other = draw(st.sampled_from(seeds))
        repeated = bytes(data[start:stop]) * draw(st.integers(0, 20))
        pieces = st.sampled_from([repeated, other[start:], other[:stop], other[start:stop]])
        data[start:stop] = draw(st.one_of(st.binary(max_size=8), pieces))
    return bytes(data)


ODD_VALUES: list[Any] = [None, True, -1, 0, 1.5, 10**400, float("nan"), float("inf"), "", "x", "\0", "x" * 5000, "../x"]
ODD_VALUES += ["\ud800", [], [[]], {}, {"": {}}, ["x"]]


@st.composite
def other_json(draw: st.DrawFn, value: Any) -> Any:
    """Draw a JSON value in which up to three parts were replaced, removed or added."""
    box = {"value": deepcopy(value)}
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(list(_places(box))))
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove" if parent is not box:
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["x", "", "\0", key + "/../x"]))] = deepcopy(parent[key])
            case _:
                parent[key] = deepcopy(draw(st.sampled_from(ODD_VALUES)))
    return box["value"]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parent and the key of every part of a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
