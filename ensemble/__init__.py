"""The second half of the pipeline: candidates, features, scorer, decision, matches and metrics.

From Python all of it is used through `from ensemble import Matcher`; `Index` keeps a catalog that grows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble.index.index import Index
    from ensemble.matcher import Matched, Matcher

_PUBLIC = {"Index": "ensemble.index.index", "Matched": "ensemble.matcher", "Matcher": "ensemble.matcher"}
__all__ = ["Index", "Matched", "Matcher"]


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: the modules of this package do not depend on it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
