import json
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared.training.logger import EVENTS, METRICS, TrainingLog
from tests.support.paths import ROOT


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a folder."""
    events = EventAccumulator(str(folder)).Reload()
    return [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]


def age(folder: Path) -> None:
    """As if written earlier: TensorBoard reads files in the order of their names, which begin with the second."""
    for path in folder.glob(EVENTS):
        path.rename(path.with_name(re.sub(r"tfevents\.\d+", "tfevents.0000000001", path.name)))


def train(folder: Path, first: int, last: int, value: float = 0.5) -> None:
    """Steps `first` to `last`, judged at every third."""
    with TrainingLog(folder, resumed_step=first - 1) as log:
        for step in range(first, last + 1):
            log.write(step, {"loss": value, "seconds": step})
            if step % 3 == 0:
                log.write(step, {"recall_at_1": value}, "validation")


def test_write_line(tmp_path: Path) -> None:
    values = {"loss": np.float32(0.5), "positives": 12, "threshold": math.nan, "learning_rate": 1e-7}
    with TrainingLog(tmp_path / "deep" / "log", resumed_step=0) as log:
        log.write(1, values)
        log.write(1, {"map_at_20": math.inf}, group="validation")
    assert lines(tmp_path / "deep" / "log") == [
        {"step": 1, "group": "train", "loss": 0.5, "positives": 12, "threshold": None, "learning_rate": 1e-7},
        {"step": 1, "group": "validation", "map_at_20": None},
    ]


def test_tensorboard_curves(tmp_path: Path) -> None:
    train(tmp_path, 1, 6, value=0.25)
    assert curve(tmp_path, "train/loss") == [(step, 0.25) for step in range(1, 7)]
    assert curve(tmp_path, "validation/recall_at_1") == [(3, 0.25), (6, 0.25)]


def test_write_flushes(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, resumed_step=0) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": 0.5})
            assert [line["step"] for line in lines(tmp_path)] == list(range(1, step + 1))
            assert len(curve(tmp_path, "train/loss")) == step


@pytest.mark.parametrize("checkpoint", range(8))
def test_resume_leaves_one_line_per_step(tmp_path: Path, checkpoint: int) -> None:
    train(tmp_path / "resumed", 1, 7, value=0.5)
    age(tmp_path / "resumed")
    train(tmp_path / "resumed", checkpoint + 1, 9, value=2.0)
    train(tmp_path / "whole", 1, 9, value=2.0)
    found = lines(tmp_path / "resumed")
    assert [line["step"] for line in found] == [line["step"] for line in lines(tmp_path / "whole")]
    loss = [(step, 0.5 if step <= checkpoint else 2.0) for step in range(1, 10)]
    assert [(line["step"], line["loss"]) for line in found if line["group"] == "train"] == loss
    assert curve(tmp_path / "resumed", "train/loss") == loss


def test_start_from_0_drops_old_log(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, resumed_step=0) as log:
        log.write(0, {"recall_at_1": 0.9}, "validation")
        log.write(1, {"loss": 0.5})
    (tmp_path / "mine.txt").write_text("kept")
    with TrainingLog(tmp_path, resumed_step=0) as log:
        log.write(0, {"recall_at_1": 0.25}, "validation")
    assert lines(tmp_path) == [{"step": 0, "group": "validation", "recall_at_1": 0.25}]
    assert curve(tmp_path, "validation/recall_at_1") == [(0, 0.25)]
    assert EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"] == ["validation/recall_at_1"]
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_torn_line_is_dropped(tmp_path: Path) -> None:
    train(tmp_path, 1, 2)
    path = tmp_path / METRICS
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) + 1):
        path.write_bytes(whole[:length])
        with TrainingLog(tmp_path, resumed_step=2) as log:
            log.write(3, {"loss": 0.5})
        assert [line["step"] for line in lines(tmp_path)] == ([1, 2, 3] if length == len(whole) else [1, 3])


@pytest.mark.parametrize("foreign", ["null", "[1]", "7", "{}", '{"step": "1"}', '{"step": null}', "\0\0", "é{", ""])
def test_foreign_line_is_dropped(tmp_path: Path, foreign: str) -> None:
    (tmp_path / METRICS).write_text(f'{{"step": 1}}\n{foreign}\n{{"step": 2}}\n', encoding="latin-1")
    with TrainingLog(tmp_path, resumed_step=5):
        pass
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}]


KILLED = """
import os, sys
from pathlib import Path
from shared.training.logger import TrainingLog

with TrainingLog(Path(sys.argv[1]), resumed_step=0) as log:
    for step in range(1, 6):
        log.write(step, {"loss": 0.5})
    os._exit(9)  # without any clean-up, as when the system kills it
"""


def python(code: str, *arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.fault(17)
def test_killed_process_loses_no_line(tmp_path: Path) -> None:
    assert python(KILLED, tmp_path).returncode == 9
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]
    assert len(curve(tmp_path, "train/loss")) == 5
    age(tmp_path)
    train(tmp_path, 4, 6, value=2.0)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 6]
    assert [value for _, value in curve(tmp_path, "train/loss")] == [0.5] * 3 + [2.0] * 3


def test_log_after_failure(tmp_path: Path) -> None:
    def failing() -> None:
        with TrainingLog(tmp_path, resumed_step=0) as log:
            log.write(1, {"loss": 0.5})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert len(lines(tmp_path)) == len(curve(tmp_path, "train/loss")) == 1


# --- what it imports -------------------------------------------------------------------------------------------------


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(tmp_path, 1, 3)
    assert [path.name for path in tmp_path.iterdir()] == [METRICS]
    assert len(lines(tmp_path)) == 4
    (warning,) = caught
    assert str(warning.message).startswith("TensorBoard cannot be imported (")
    assert str(warning.message).endswith(f"metrics go to {tmp_path / METRICS} only")
    assert warning.filename == __file__


def test_imports_of_tensorboard_and_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    code = """
import sys
from pathlib import Path
from shared.training.logger import TrainingLog
assert "tensorboard" not in sys.modules and "torch" not in sys.modules, "slow to import"
with TrainingLog(Path(sys.argv[1]), resumed_step=0) as log:
    log.write(1, {"loss": 0.5})
assert "tensorboard" in sys.modules
"""
    done = python(code, tmp_path / "log", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(curve(tmp_path / "log", "train/loss")) == 1
