"""Which library works while a piece of code runs, by looking at it every few milliseconds.

A thread looks at the innermost frame of the main thread, and counts the time since its last look to

1. the library whose code the innermost frame is of, if it is one of `LIBRARIES`; a frame of the standard library or of
   another package counts to its caller;
2. in a frame of the project, the library of the objects that the present instruction works on, such as numpy for
   `a @ b` or `np.sort(a)`: compiled code has no frames of its own;
3. `OWN` otherwise: Python of the project, with what it calls of the standard library.

While the main thread waits for others, these are looked at instead. Shares are right to a few hundredths: compiled code
that keeps the interpreter's lock is seen when it ends, at an instruction near it.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

from tests.support.paths import ROOT

LIBRARIES = ("torch", "faiss", "lightgbm", "rapidfuzz", "scipy", "numpy", "sklearn", "pandas", "pyarrow")
OWN = "own Python"
INTERVAL_S = 0.005
_WAITING = ("threading.py", "thread.py", "queue.py", "selectors.py", "connection.py")


class Sampler:
    """A context in which the time is counted by library.

    Attributes:
        label: What the time counts for; None: for nothing.

    Examples:
        >>> with Sampler() as sampler:
        ...     total = sum(number * number for number in range(300_000))
        >>> list(sampler.shares())[0]
        'own Python'
    """

    def __init__(self) -> None:
        self.label: str | None = ""
        self._seconds: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def shares(self, label: str = "") -> dict[str, float]:
        """Return the share of each library in the time that counts for a label, the largest first."""
        total = sum(self._seconds[label].values()) or 1.0
        ranked = sorted(self._seconds[label].items(), key=lambda item: -item[1])
        return {name: round(seconds / total, 4) for name, seconds in ranked}

    def _look(self, main: int) -> None:
        last = time.perf_counter()
        while not self._end.wait(INTERVAL_S):
            now, label = time.perf_counter(), self.label
            frames = sys._current_frames()
            own = threading.get_ident()
            places = [frames[main]]
            if _waits(places[0]):
                others = [frame for thread, frame in frames.items() if thread not in (own, main) and not _waits(frame)]
                places = others or places
            for frame in places if label is not None else ():
                self._seconds[label][library(frame)] += (now - last) / len(places)
            last = now


def _waits(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).name in _WAITING


def library(frame: FrameType) -> str:
    """Return the library that works in a frame or in those that it calls; see the module."""
    innermost = True
    each: FrameType | None = frame
    while each is not None:
        name = _package(each.f_code.co_filename)
        if name in LIBRARIES:
            return name
        if name == OWN:
            return (_worked_on(each) if innermost else None) or OWN
        innermost = innermost and name == ""  # code without a file, such as that of dataclasses
        each = each.f_back
    return OWN


@cache
def _package(filename: str) -> str:
    """Return the package of a file, `OWN` of a file of the project, "" where there is no file."""
    path = Path(filename)
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1]
    if path.is_relative_to(ROOT):
        return OWN
    return "the standard library" if path.is_absolute() else ""


def _worked_on(frame: FrameType) -> str | None:
    """Return the library of an object that the present instruction of a frame works on."""
    values: Mapping[str, Any] = {**frame.f_globals, **frame.f_locals}
    for name in _names(frame.f_code, frame.f_lasti):
        value = values.get(name)
        module = getattr(value, "__name__" if isinstance(value, type(sys)) else "__module__", None)
        of_value = str(module if module is not None else type(value).__module__).partition(".")[0]
        of_type = type(value).__module__.partition(".")[0]
        for root in (of_value, of_type):
            if root in LIBRARIES:
                return root
    return None


@cache
def _names(code: CodeType, instruction: int) -> tuple[str, ...]:
    """Return the names in the expression that an instruction of some code is of."""
    positions = list(code.co_positions())[instruction // 2] if instruction >= 0 else (None,) * 4
    first, last, start, end = positions
    if first is None or last is None or start is None or end is None:
        return ()
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        tree = ast.parse("(" + b"".join(lines).decode().strip() + ")")
    except (SyntaxError, ValueError):
        try:
            tree = ast.parse(b"".join(lines).decode().strip())
        except (SyntaxError, ValueError):
            return ()
    return tuple(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
