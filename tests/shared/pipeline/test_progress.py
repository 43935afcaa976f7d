import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.pipeline.progress import Progress, is_terminal, line_of, live_line, progress_of, seconds_left, weight
from shared.pipeline.run import RunFolder
from shared.pipeline.stage import Stage
from tests.support.paths import ROOT

# A job of three stages with a bar each, done twice.
JOB = """
import sys
from pathlib import Path

from tqdm import tqdm

from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage


def work(inputs, config, out):
    for _ in tqdm(range(3), "train", disable=None, mininterval=0):
        pass
    if out.name.startswith("refused"):
        raise KeyError("refused")
    return {"steps": 3}


names = sys.argv[2:]
stages = [Stage(name, work, code=(), reads=tuple(names[:index])) for index, name in enumerate(names)]
for _ in range(2):
    bring_up_to_date(RunFolder(Path(sys.argv[1])), Settings({}, {}), Graph(stages), names)
print("end")
"""
NAMES = ["image/encoder/fold0", "image/encoder/fold1", "matches"]


def chain(*names: str) -> list[Stage]:
    """Stages, each of which reads the one before."""
    return [Stage(name, dict, code=(), reads=names[max(index - 1, 0) : index]) for index, name in enumerate(names)]


@pytest.mark.parametrize(
    ("to_come", "seconds", "left"),
    [
        ([], {}, 0),
        (["a"], {"a": 7.0}, 7),
        (["x/encoder/fold1"], {"x/encoder/fold0": 7.0}, 7),
        (["x/encoder/all"], {"x/encoder/fold0": 7.0}, 14),
        (["x/encoder/fold2"], {"x/encoder/fold0": 7.0, "x/encoder/fold1": 9.0}, 8),
        (["y/encoder/fold0"], {"x/encoder/fold0": 7.0}, 7),
        (["y/encoder/fold0"], {"x/encoder/fold0": 7.0, "y/encoder/fold1": 1.0}, 1),
        (["ensemble/scorer"], {"ensemble/decision": 7.0}, None),
        (["matches"], {"x/encoder/fold0": 600.0}, 2),
        (["x/encoder/fold0", "matches"], {"split": 1.0}, None),
    ],
)
def test_seconds_left(to_come: list[str], seconds: dict[str, float], left: float | None) -> None:
    assert seconds_left(to_come, seconds) == (None if left is None else pytest.approx(left))


def test_weight_of_a_whole_catalog_is_more_than_that_of_a_fold() -> None:
    assert weight("image/encoder/all") > weight("image/encoder/fold0") > weight("image/candidates/fold0-shop")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, "3 of 1,041 stages · split"),
        (0.0, "3 of 1,041 stages · less than a minute left · split"),
        (100.0, "3 of 1,041 stages · about 2 min left · split"),
        (3900.0, "3 of 1,041 stages · about 1 h 5 min left · split"),
        (72_000.0, "3 of 1,041 stages · about 20 h left · split"),
    ],
)
def test_line_of_progress(left: float | None, said: str) -> None:
    assert line_of(3, 1041, "split", left) == said


def test_stages_that_read_what_changed_will_run() -> None:
    progress = Progress(chain("a", "b", "c"), {"a": 1.0, "b": 60.0, "c": 120.0}, set())
    assert progress.left(now=0.0) == 0
    progress.start("a", now=0.0)
    progress.end("a", 2.0)
    assert progress.to_run() == ["b", "c"]
    progress.start("b", now=2.0)
    assert progress.left(now=32.0) == 150
    assert progress.left(now=999.0) == 120
    progress.end("b", None)
    assert progress.to_run() == []


def test_progress_begins_with_what_the_run_has(
    run: RunFolder, do: Callable[..., Path], writes: Callable[..., object]
) -> None:
    do(writes(), "a")
    assert progress_of(run, chain("a", "b", "c"), redo=[]).to_run() == ["b", "c"]
    assert progress_of(run, chain("a"), redo=[]).to_run() == []
    assert progress_of(run, chain("a"), redo=["a"]).to_run() == ["a"]


def test_no_live_line_without_a_terminal(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_terminal()
    say, stages = run.say, chain("a", "b")
    with live_line(run, stages, redo=[]) as each:
        assert list(each) == stages
        assert run.say is say
    assert tuple(capsys.readouterr()) == ("", "")


def on_terminal(folder: Path, *names: str) -> str:
    """What the job writes to a terminal of 100 columns."""
    (folder / "job.py").write_text(JOB)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, folder / "job.py", folder / "run", *names]
    process = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while part := _read(ours):
        output += part
    process.wait()
    os.close(ours)
    return output.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


def screen(output: str) -> list[str]:
    """The rows that a terminal shows in the end."""
    rows, row, column = [""], 0, 0
    for escape, order, char in re.findall(r"(\x1b\[\d*([A-Z]))|([^\x1b])", output):
        if order == "A":
            row -= int(re.sub(r"\D", "", escape) or 1)
        elif order in ("K", "J"):
            rows[row] = rows[row][:column]
            del rows[row + 1 if order == "J" else len(rows) :]
        elif char == "\r":
            column = 0
        elif char == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row].ljust(column)[:column] + char + rows[row][column + 1 :]
            column += 1
    return [text.rstrip() for text in rows]


@pytest.mark.slow
def test_live_line_comes_and_goes_on_a_terminal(tmp_path: Path) -> None:
    output = on_terminal(tmp_path, *NAMES)
    assert "0 of 3 stages · image/encoder/fold0" in output
    assert "1 of 3 stages · less than a minute left · image/encoder/fold1" in output
    rows = [row for row in screen(output) if row and not row.startswith("train: 100%")]
    seconds = re.compile(r"\d+\.\d s$")
    assert [seconds.sub("0.0 s", row) for row in rows] == [
        *(f"{name:<30} steps 3 · 0.0 s" for name in NAMES),
        *(f"{name:<30} unchanged" for name in NAMES),
        "end",
    ]


@pytest.mark.slow
def test_live_line_goes_when_a_stage_fails(tmp_path: Path) -> None:
    output = on_terminal(tmp_path, "a", "refused")
    assert "1 of 2 stages" in output
    rows = screen(output)
    assert rows[-2].startswith("KeyError")
    assert not any("of 2 stages" in row for row in rows)
