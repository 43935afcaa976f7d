"""The same seed gives the same bytes, whatever surrounds the process."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support.disturbed_job import SETTINGS, files, table
from tests.support.paths import ROOT

ELSEWHERE = {"PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}


def job(run: Path, data: Path, cwd: Path, *settings: str, **environment: str) -> None:
    """Run the whole job on titles in a process of its own."""
    line = [sys.executable, "-W", "error", "-m", "ensemble", "--run", str(run), "--data", str(data)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"} | environment
    done = subprocess.run(
        [*line, *SETTINGS, *settings], cwd=cwd, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def groups(run: Path) -> dict[str, frozenset[str]]:
    """The listings of each listing's group."""
    of_listing = pd.read_parquet(run / "matches" / "groups.parquet").set_index("posting_id")["group_id"]
    members = {group: frozenset(of_listing.index[of_listing == group]) for group in of_listing}
    return {str(listing): members[group] for listing, group in of_listing.items()}


@pytest.mark.slow
@pytest.mark.fault(16, 25)
def test_job_does_not_depend_on_its_surroundings(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "titles.csv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    table(data, 40)
    job(tmp_path / "a", data, ROOT)
    job(tmp_path / "b", data, elsewhere, "--compute.threads=2", **ELSEWHERE)
    first, second = files(tmp_path / "a"), files(tmp_path / "b")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == ["settings.json"]  # the number of threads

    lines = data.read_text(encoding="utf-8").splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", encoding="utf-8")
    job(tmp_path / "c", turned, ROOT)
    assert groups(tmp_path / "c") == groups(tmp_path / "a")
    assert max(map(len, groups(tmp_path / "a").values())) > 1
