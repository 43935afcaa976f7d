"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCES = [path for room in ("shared", "branches", "ensemble") for path in sorted((ROOT / room).rglob("*.py"))]
MODULES = [path.relative_to(ROOT) for path in SOURCES if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_examples_of_a_module(path: Path) -> None:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
