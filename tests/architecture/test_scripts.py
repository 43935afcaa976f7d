"""The scripts that make the environment and begin the whole job, with a Python that only tells its arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts need bash")
FILES = ("run_all.sh", ".environment.sh", ".constraints.txt", "pyproject.toml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the scripts, with an environment in which nothing is installed yet."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text("")
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$0 $*"\n')
    python.chmod(0o755)
    return folder


def called(script: Path) -> list[str]:
    """The lines that Python says when a script is called from another folder."""
    done = subprocess.run([script, "--help"], cwd="/", capture_output=True, text=True, timeout=60, check=True)
    return [line for line in done.stdout.splitlines() if "/bin/python " in line]


def test_environment_is_made_once(project: Path) -> None:
    install, run = called(project / "run_all.sh")
    assert f"--editable {project}" in install
    assert run.endswith("-P -m ensemble --help")
    assert called(project / "run_all.sh") == [run]


def test_copy_of_the_project_runs_its_own_code(project: Path) -> None:
    called(project / "run_all.sh")
    copy = project.with_name("copy")
    shutil.copytree(project, copy, symlinks=True)
    install, run = called(copy / "run_all.sh")
    assert f"--editable {copy}" in install
    assert run.startswith(f"{copy}/.venv/bin/python ")


def test_script_may_be_called_by_a_link(project: Path, tmp_path: Path) -> None:
    (tmp_path / "match").symlink_to(project / "run_all.sh")
    assert called(tmp_path / "match")[-1].startswith(f"{project}/.venv/bin/python ")
