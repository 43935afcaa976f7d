"""Versions of the project and its libraries: what manifests hold, and what all workers of a run must have alike."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shared.artifacts import digest, file_digest
from shared.errors import MatcherError
from shared.pipeline.code_digest import PROJECT

LIBRARIES = ("numpy", "torch", "timm", "transformers", "pytorch-metric-learning", "scikit-learn", "lightgbm")
# Libraries whose versions may change what a shard holds, too.
OF_SHARDS = ("faiss-cpu", "pillow", "pyarrow", "rapidfuzz", "scipy", "sparse-dot-topn", "tokenizers")
_ROOT = Path(__file__).parents[2]


@cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries that manifests hold, and of Python.

    Examples:
        >>> library_versions()["python"] == platform.python_version()
        True
    """
    return {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}


@cache
def worker_versions() -> Mapping[str, str]:
    """Return what must be alike in all processes that work on a run, as it was when this process first asked.

    That is the code of the project to the byte, the versions of libraries, and the architecture of the processor.

    Examples:
        >>> len(worker_versions()["the project"])
        8
    """
    files = sorted(path for name in PROJECT for path in (_ROOT / name).rglob("*.py"))
    code = digest([[path.relative_to(_ROOT).as_posix(), file_digest(path)] for path in files])[:8]
    return {"the project": code, "processor": platform.machine(), **library_versions(), **_of_shards()}


def _of_shards() -> dict[str, str]:
    versions = {}
    for name in OF_SHARDS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


def require_same(versions: Mapping[str, str], what: str) -> None:
    """Raise an error unless this process has the versions of the one that leads.

    Args:
        versions: As `worker_versions` returns them there.
        what: What this process was to do, for the message.

    Raises:
        MatcherError: They differ.

    Examples:
        >>> require_same(worker_versions(), "split")
    """
    own = worker_versions()
    for name in {**own, **versions}:  # the project first
        if versions.get(name) != own.get(name):
            raise MatcherError(
                f"{what}: a worker on {platform.node()} has another version of {name} ({own.get(name)}) than the "
                f"command that it works for ({versions.get(name)}); all workers and jobs must have the same: "
                "install it there, and start the worker again"
            )
