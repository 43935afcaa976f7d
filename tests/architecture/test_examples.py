"""The examples in docstrings hold."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATHS = [path.relative_to(ROOT) for room in ("shared", "branches", "ensemble") for path in (ROOT / room).rglob("*.py")]
MODULES = sorted(
    ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in PATHS if path.name != "__main__.py"
)
WITH_EXAMPLES = ("shared.schema", "shared.titles", "shared.catalog.reader", "shared.catalog.split")


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    failed, attempted = doctest.testmod(import_module(module))
    assert failed == 0
    assert attempted > 0 or module not in WITH_EXAMPLES
