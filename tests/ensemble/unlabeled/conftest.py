from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.support.unlabeled import LISTINGS, QUICK, Call


@pytest.fixture(scope="module")
def labels(listings: pd.DataFrame) -> dict[str, str]:
    """The label group of each listing, which the runs never see."""
    return dict(zip(listings["posting_id"], listings["label_group"], strict=True))


@pytest.fixture(scope="module")
def table(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles and hashes of some listings of the demo."""
    path = tmp_path_factory.mktemp("unlabeled") / "offers.csv"
    listings[:LISTINGS][["posting_id", "title", "image_phash"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finished(table: Path, quiet_command: Callable[..., str]) -> tuple[Path, str]:
    """A finished run on them, and what it printed. Not to be written to."""
    run = table.parent / "run"
    return run, quiet_command("ensemble", "--run", run, "--data", table, *QUICK)


@pytest.fixture
def unlabeled(finished: tuple[Path, str], copy_run: Callable[[Path, Path], Path], tmp_path: Path) -> Path:
    """A copy of it."""
    return copy_run(finished[0], tmp_path / "run")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sigterm: None) -> Call:
    """Calls a function that is a command with some arguments; returns its exit code and what it said of errors."""

    def call(main: Callable[[], int], *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
        return main(), capsys.readouterr().err

    return call
