"""The second half of the pipeline: candidates, features, scorer, decision, matches and metrics.

From Python all of it is used through `from ensemble import Matcher`; `Index` keeps a catalog that grows.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"]:  # the first import of a command
    import shared  # noqa: F401 - an interrupt of all other imports ends with a word

if TYPE_CHECKING:
    from ensemble.index.index import Index
    from ensemble.match_result import MatchResult
    from ensemble.matcher import Matcher

__all__ = ["Index", "MatchResult", "Matcher"]


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: the modules of this package do not depend on it."""
    if name == "Index":
        from ensemble.index.index import Index

        return Index
    if name == "Matcher":
        from ensemble.matcher import Matcher

        return Matcher
    if name == "MatchResult":
        from ensemble.match_result import MatchResult

        return MatchResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
