"""An index: a catalog that grows. New listings are searched against all, and only what they touch is matched again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble.index.index import Index

__all__ = ["Index"]


def __getattr__(name: str) -> Any:
    """Import what it takes to match when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ensemble.index import index

    return getattr(index, name)
