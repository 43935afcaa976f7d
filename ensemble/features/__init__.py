"""Pair features: a module per family, put together by `assemble.py`; the same for (a, b) and (b, a)."""
