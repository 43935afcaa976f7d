"""The examples in docstrings run, and show what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "shared.config",
    "shared.processes",
    *(
        f"shared.training.{name}"
        for name in (
            "cross_batch_memory",
            "distributed",
            "encoder",
            "logger",
            "losses",
            "optimizer",
            "prefetch",
            "sampler",
            "trainer",
            "validation",
        )
    ),
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_module(module: str) -> None:
    done = doctest.testmod(import_module(module))
    assert done.attempted > 0
    assert done.failed == 0
