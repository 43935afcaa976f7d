"""Nothing asks the network; see `tests/support/no_network` for how a process of a test is kept from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import NO_NETWORK

pytestmark = pytest.mark.slow


def test_a_process_that_asks_says_so() -> None:
    line = "import urllib.request; urllib.request.urlopen('https://example.org')"
    environment = os.environ | {"PYTHONPATH": str(NO_NETWORK)}
    done = subprocess.run(
        [sys.executable, "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "asks the network: 'example.org'" in done.stderr


@pytest.mark.fault(29)
def test_whole_job_asks_nothing(first: tuple[Path, str]) -> None:
    """Its process is kept from the network, too, and its stderr is empty, as the fixture has made sure."""
    assert "Evaluated on" in first[1]
