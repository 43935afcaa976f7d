"""The file with what was measured: JSON with the facts of one machine and a row for each measurement."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from joblib import cpu_count

from shared.artifacts import read_json, write_json
from shared.errors import MatcherError

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "faiss-cpu", "lightgbm", "rapidfuzz", "pyarrow", "pandas")
KINDS = ("stages", "alternatives", "profiles", "device")  # of rows
Row = Mapping[str, Any]


@dataclass
class Results:
    """What was measured on one machine.

    Args:
        path: The file; it is written anew after each row, so that an interrupted measurement goes on from there.
        rows: Kind → rows.
        machine: Facts of the machine.
    """

    path: Path
    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    machine: Mapping[str, Any] = field(default_factory=lambda: machine_facts())

    @classmethod
    def open(cls, path: Path, *, to_add: bool = False) -> Results:
        """Return the results in a file, or none where there is no file.

        Args:
            path: The file.
            to_add: Whether rows of this machine are to be added.

        Raises:
            MatcherError: The rows there are of another machine or of other versions.
        """
        if not path.exists():
            return cls(path)
        content = read_json(path, "name another file")
        results = cls(path, {kind: list(content.get(kind, [])) for kind in KINDS}, content["machine"])
        if to_add and (other := _differences(results.machine, machine_facts())):
            raise MatcherError(f"{path} holds measurements with other facts ({other}); name another file with --out")
        return results

    def add(self, kind: str, rows: Iterable[Row], key: Sequence[str]) -> None:
        """Add rows of a kind and write the file; they take the place of rows with the same values of `key`."""
        new: list[Row] = [{**row, "date": date.today().isoformat()} for row in rows]
        keys = {_key(row, key) for row in new}
        self.rows[kind] = [row for row in self.rows[kind] if _key(row, key) not in keys] + new
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"machine": dict(self.machine), **self.rows})

    def holds(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Return whether there is a row of a kind with some values."""
        return any(all(row.get(name) == value for name, value in values.items()) for row in self.rows[kind])


def _key(row: Row, names: Sequence[str]) -> str:
    return repr([row.get(name) for name in names])


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = [name for name in one if one[name] != other.get(name)]
    return ", ".join(f"{name}: {one[name]}, now {other.get(name)}" for name in names)


def machine_facts() -> dict[str, Any]:
    """Return what times depend on: processor, cores, memory, versions. It names neither the machine nor a folder."""
    facts = {
        "processor": _processor(),
        "cores": cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    return facts | {name: _version(name) for name in PACKAGES}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
