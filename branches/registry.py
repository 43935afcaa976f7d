"""Finds the branches by their folders; only this module imports modules by name.

A folder `branches/<name>/` is a branch when it has a `config.py` with a class `Config` (a `BranchConfig`). Its
`embed.py` has a function `fit`, and where it learns, its `train.py` a function `train`; `base.py` describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import branches
from branches.base import Branch, BranchConfig, Embedder
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.pipeline.settings import nearest
from shared.schema import Catalog


@dataclass(frozen=True)
class FolderBranch:
    """A branch whose parts are imported from its folder when they are needed; see `base.Branch`.

    Args:
        name: The name of the folder.
        Config: The class of its settings.
        learns: Whether it has an encoder to train.

    Examples:
        >>> get("image").learns, get("image").Config.__name__
        (True, 'Config')
    """

    name: str
    Config: type[BranchConfig]
    learns: bool

    def train(
        self,
        catalog: Catalog,
        components: NDArray[np.int32],
        config: ConfigSection,
        compute: ComputeConfig,
        out: Path,
    ) -> Mapping[str, Any]:
        """Train an encoder by the folder's `train.py`; see `base.Branch.train`."""
        metrics: Mapping[str, Any] = self._part("train").train(catalog, components, config, compute, out)
        return metrics

    def fit(self, pool: Catalog, encoder: Path | None, config: ConfigSection, compute: ComputeConfig) -> Embedder:
        """Return an embedder by the folder's `embed.py`; see `base.Branch.fit`."""
        embedder: Embedder = self._part("embed").fit(pool, encoder, config, compute)
        return embedder

    def _part(self, part: str) -> Any:
        return import_module(module_of(self.name, part))


def module_of(name: str, part: str) -> str:
    """Return the name of a module of a branch.

    Examples:
        >>> module_of("image", "train")
        'branches.image.train'
    """
    return f"branches.{name}.{part}"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all branches, in alphabetical order.

    Examples:
        >>> "tfidf" in names()
        True
    """
    return tuple(sorted(path.parent.name for folder in branches.__path__ for path in Path(folder).glob("*/config.py")))


@cache
def get(name: str) -> Branch:
    """Return a branch.

    Raises:
        MatcherError: There is no branch of that name.

    Examples:
        >>> get("tfidf").learns
        False
    """
    if name not in names():
        raise MatcherError(f"there is no branch {name!r}{nearest(name, names())}")
    folder = next(Path(folder) / name for folder in branches.__path__ if (Path(folder) / name / "config.py").exists())
    return FolderBranch(name, import_module(module_of(name, "config")).Config, (folder / "train.py").exists())


def sections() -> dict[str, type[ConfigSection]]:
    """Return the section of the settings of every branch, by name.

    Examples:
        >>> sections()["tfidf"] is get("tfidf").Config
        True
    """
    return {name: get(name).Config for name in names()}
