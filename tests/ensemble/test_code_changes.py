"""Which stages of a finished run are done again when the project's code changes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

StageLines = Callable[[str], dict[str, str]]
POOLS = ("fold0", "fold1", "holdout", "catalog")
WORDS = (r'\bdescription="', r'\babout = "', r'\b(?:print|run\.say)\(f"')  # help texts and progress lines
OTHER_FEATURES = """

_features = of_images


def of_images(pool, pairs):
    describe = _features(pool, pairs)
    return lambda rows: {name: 0 * column for name, column in describe(rows).items()}
"""


def reword(project: Path) -> None:
    """Put other words into every help text and progress line, and change how a stage's line is laid out."""
    counts = dict.fromkeys(WORDS, 0)
    for path in project.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for pattern in WORDS:
            text, count = re.subn(pattern, lambda match: f"{match[0]}(in other words) ", text)
            counts[pattern] += count
        path.write_text(text.replace("{stage:<30}", "{stage:<40}"), encoding="utf-8")
    assert min(counts.values()) > 4, counts


def append(path: Path, code: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + code, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """A copy of the project's code."""
    for name in ("shared", "branches", "ensemble"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(pytestconfig.rootpath / name, tmp_path / "project" / name, ignore=ignore)
    return tmp_path / "project"


@pytest.mark.fault(22)
@pytest.mark.slow
def test_stages_redone_after_code_changes(
    run: Path, project: Path, python: Callable[..., Any], stage_lines: StageLines
) -> None:
    def redone() -> set[str]:
        done = python("ensemble", "--run", run, project=project)
        assert (done.returncode, done.stderr) == (0, "")
        assert "(in other words)" in done.stdout  # the copy is what ran
        lines = stage_lines(done.stdout)
        assert "image/encoder/all" in lines
        return {name for name, text in lines.items() if text != "unchanged"}

    reword(project)
    for path in (project / "shared" / "demo").glob("*.py"):
        append(path, "\n\nNOT_DRAWN = 1\n")
    assert redone() == set()

    append(project / "ensemble" / "features" / "images.py", OTHER_FEATURES)
    of_pools = {f"ensemble/features/{pool}" for pool in POOLS} | {f"ensemble/thinned/{pool}" for pool in POOLS[:2]}
    of_pools |= {"ensemble/scores/holdout", "ensemble/scores/catalog"}
    assert redone() == of_pools | {"ensemble/scorer", "ensemble/decision", "matches", "ensemble/evaluation"}
