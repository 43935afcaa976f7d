"""The whole job, killed and refused at random moments: the same command goes on, and ends as an undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import disturbed_job
from tests.support.paths import ROOT

KILLED = -9


@pytest.mark.slow
@pytest.mark.fault(17, 18)
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_job_that_was_killed_and_refused_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    line = [sys.executable, disturbed_job.__file__, str(tmp_path / "study"), "3", "7"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [line for line in lines if "code" in line]
    assert {end["code"] for end in ends} == {KILLED, 2}
    for end in ends:
        assert "Traceback" not in end["said"], end
        assert end["said"].count("error: ") == (end["code"] == 2), end
    assert [line["differing"] for line in lines if "differing" in line] == [[]] * (len(lines) - len(ends))
