"""The targets of the fuzzer, briefly: every seed, and seeds in which a few places were changed."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from tests.fuzz import seeds, targets
from tests.support.fuzzing import edited, fuzz
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", targets.TARGETS)
def test_targets_take_their_seeds(name: str) -> None:
    for data in getattr(seeds, name)():
        targets.TARGETS[name](data)


@pytest.mark.fault(20, 31)
@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "fuzz" / "inputs").glob("*/*")), ids=lambda path: path.name)
def test_inputs_that_ended_a_process_end_none(path: Path) -> None:
    """An input that a library does not bear may end the process without an error, so each has one of its own."""
    code = "import sys; from tests.fuzz.targets import TARGETS; TARGETS[sys.argv[1]](open(sys.argv[2], 'rb').read())"
    line = [sys.executable, "-c", code, path.parent.name, path]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.fault(3, 31)
@given(edited(seeds.titles()))
@fuzz(300)
def test_any_titles_are_read(data: bytes) -> None:
    targets.titles(data)


@pytest.mark.fault(3)
@given(edited(seeds.long_titles()))
@fuzz(20)
def test_long_titles_of_any_piece_are_read_soon(data: bytes) -> None:
    targets.long_titles(data)


@pytest.mark.fault(1, 2, 31)
@given(edited(seeds.tables(), most=2))
@fuzz(400)
def test_any_table_is_a_catalog_or_one_error(data: bytes) -> None:
    targets.tables(data)


@pytest.mark.fault(6, 7, 31)
@given(edited(seeds.images()))
@fuzz(500)
def test_any_image_is_shown_or_refused(data: bytes) -> None:
    targets.images(data)
