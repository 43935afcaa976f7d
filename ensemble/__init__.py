"""The second half of the pipeline, a file a step: candidates, features, train, tune, match, evaluate, report.

From Python all of it is used through `from ensemble import Matcher`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble.matcher import Matched, Matcher

__all__ = ["Matched", "Matcher"]


def __getattr__(name: str) -> Any:
    """Import what matches when it is asked for: the modules of this package do not depend on it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ensemble import matcher

    return getattr(matcher, name)
