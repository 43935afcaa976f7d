"""No command writes to what it reads, or into another result: it is refused before anything is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ensemble.bundle.archive import seal
from shared.demo.__main__ import main as demo_main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with a bundle, an index, a run and a catalog that only look like such, and a table."""
    for name in ("B/settings.json", "R/settings.json", "R/split/manifest.json", "I/CURRENT.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"stage": "split"}' if name.endswith("manifest.json") else "{}")
    for name in ("shop/train.csv", "shop/train_images/x", "tables/new.csv", "tables/images/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("posting_id,title\n1,mug\n")
    seal(tmp_path / "B", {"branches": []})
    (tmp_path / "link").symlink_to("B")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MATCH = ["ensemble.match", "--bundle", "B", "--data"]
INDEX = ["ensemble.index", "add", "--bundle", "B"]


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([*MATCH, "shop", "--out", "B"], "is the bundle"),
        ([*MATCH, "shop", "--out", "link"], "is the bundle"),
        ([*MATCH, "shop", "--out=~/B"], "is the bundle"),
        ([*MATCH, "shop", "--out", "shop/../B/new"], "lies within the bundle"),
        ([*MATCH, "shop", "--out", "I"], "is an index"),
        ([*MATCH, "shop", "--out", "I/new/deep"], "I, an index"),
        ([*MATCH, "shop", "--out", "R"], "is a run"),
        ([*MATCH, "shop", "--out", "R/split"], "is a stage"),
        ([*MATCH, "shop", "--out", "R/new"], "R, a run"),
        ([*MATCH, "shop", "--out", "shop"], "contains the table"),
        ([*MATCH, "shop", "--out", "shop/train_images/new"], "lies within the image folder"),
        ([*MATCH, "tables/new.csv", "--out", "tables"], "contains the table"),
        ([*MATCH, "tables/new.csv", "--out", "tables/new.csv"], "is the table"),
        ([*MATCH, "tables/new.csv", "--out", "tables/images"], "is the image folder"),
        ([*MATCH, "tables/new.csv", "--out", "."], "contains the bundle"),
        (["ensemble.match", "--run", "R", "--data", "shop", "--out", "R/new"], "lies within the run"),
        ([*INDEX, "--index", "I", "--data", "shop", "--out", "I"], "is the index"),
        ([*INDEX, "--index", "I", "--data", "shop", "--out", "I/000001"], "lies within the index"),
        ([*INDEX, "--index", "B", "--data", "shop"], "is the bundle"),
        ([*INDEX, "--index", "B/index", "--data", "shop"], "lies within the bundle"),
        ([*INDEX, "--index", "R", "--data", "shop"], "is a run"),
        ([*INDEX, "--index", "shop/train_images/index", "--data", "shop"], "lies within the image folder"),
        (["ensemble.bundle", "--run", "R", "--out", "R"], "is the run"),
        (["ensemble.bundle", "--run", "R", "--out", "R/bundle"], "lies within the run"),
        (["ensemble.bundle", "--run", "R", "--out", "I"], "is an index"),
        (["ensemble.report", "--out", "B"], "is a bundle"),
        (["ensemble.report", "--out", "R/split"], "is a stage"),
        (["ensemble.review", "--bundle", "B", "--data", "shop", "--out", "B"], "is the bundle"),
        (["ensemble.review", "--bundle", "B", "--data", "shop", "--out", "shop"], "contains the table"),
        (["ensemble.answers", "export", "--run", "R", "--out", "R/answers.jsonl"], "lies within the run"),
        (["ensemble.answers", "labels", "--run", "R", "--out", "B/labels.csv"], "B, a bundle"),
        (["ensemble", "--run", "B", "--data", "shop"], "the run folder B is a bundle"),
        (["ensemble", "--run", "I", "--data", "shop"], "the run folder I is an index"),
        (["ensemble", "--run", "shop", "--data", "shop"], "the run folder shop is the catalog"),
        (["ensemble", "--run", "B/run", "--data", "shop", "--bundle", "B"], "lies within the bundle"),
        (["ensemble", "--run", "B/run", "--data", "shop"], "B, a bundle"),
        (["ensemble", "--run", "I/new/run", "--data", "shop"], "I, an index"),
        (["ensemble", "--run", "R/new", "--data", "shop"], "R, a run"),
        (["ensemble.transfer", "--run", "I"], "the run folder I is an index"),
        (["ensemble.ablation", "--run", "B"], "the run folder B is a bundle"),
        (["ensemble.tune", "--run", "B"], "the run folder B is a bundle"),
    ],
)
def test_place_that_is_read_or_another_result_is_refused(
    there: Path, line: list[str], words: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there)
    monkeypatch.setenv("HOME", str(there))
    before = content(there)
    code, _, error = command(*line)
    assert (code, words in error) == (2, True), error
    assert content(there) == before


@pytest.mark.fault(34)
@pytest.mark.parametrize("out", ["B/demo", "R/demo", "I"])
def test_demo_is_not_written_into_another_result(
    there: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(there)
    before = content(there)
    assert demo_main(["--out", out, "--listings", "4", "--workers", "1"]) == 2
    assert "cannot write to" in capsys.readouterr().err
    assert content(there) == before
