"""How a training went, line by line: `metrics.jsonl` for programs, TensorBoard's event files for eyes.

    tensorboard --logdir runs/mine

A training that was killed and goes on from a checkpoint leaves the same log as one that was left alone, timings apart.
"""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
EVENTS = "events.out.tfevents.*"


class TrainingLog:
    """Writes figures of a training's steps as they become known; to be used in a `with` statement.

    `metrics.jsonl` holds one object a line: the step, the group, then the values; a value that is not finite is null.
    TensorBoard shows the same as `group/name` over steps. Every write is flushed, so a killed process loses no more
    than the line it was writing.

    Args:
        folder: Where to write; made if missing.
        resumed_step: Steps that the checkpoint holds from which the training goes on. What an earlier process noted of
            later steps, which are now done again, is dropped, so a step's lines must be written before a checkpoint
            that holds the step. 0: the training begins anew, and so does the log.
    """

    def __init__(self, folder: Path, resumed_step: int) -> None:
        self.folder, self.resumed_step = folder, resumed_step

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / METRICS
        _keep_lines(path, self.resumed_step)
        if self.resumed_step == 0:
            for events in self.folder.glob(EVENTS):
                events.unlink()
        self._writer = _summary_writer(self.folder, self.resumed_step)
        self._file = path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._writer:
            self._writer.close()

    def write(self, step: int, values: Mapping[str, float], group: str = "train") -> None:
        """Note the values of a step.

        Args:
            step: Steps done so far, this one included.
            values: Figures by name; units stand in the names.
            group: What they are figures of: `train`, or the pool that was judged.
        """
        shown = {name: _json_number(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "group": group, **shown}, ensure_ascii=False) + "\n")
        self._file.flush()
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
            self._writer.flush()


def _json_number(value: float) -> float | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _keep_lines(path: Path, last_step: int) -> None:
    """Leave only the whole lines up to a step, atomically; 0 leaves none."""
    if not path.exists():
        return
    partial = path.with_name(path.name + ".partial")
    with path.open("rb") as old, partial.open("wb") as new:
        if last_step > 0:
            new.writelines(line for line in old if _is_kept(line, last_step))
        new.flush()
        os.fsync(new.fileno())
    partial.replace(path)


def _is_kept(line: bytes, last_step: int) -> bool:
    """Whether a line is whole and of a step that is not done again."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):
        return False
    return line.endswith(b"\n") and isinstance(step, int) and step <= last_step


def _summary_writer(folder: Path, resumed_step: int) -> SummaryWriter | None:
    """TensorBoard's writer; None, with a warning, where the package cannot be imported.

    It is imported here because that takes seconds. TensorBoard loads TensorFlow for its file system where it finds it,
    which takes longer still and claims the GPU; the name `notf` tells it not to (tensorboard/compat/__init__.py).

    An old event file stays as it is. The new one, which is read after it as its name holds a later second, begins with
    a mark that hides the steps that are done again.
    """
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        warnings.warn(f"no curves for TensorBoard, only {folder / METRICS}: {error}", stacklevel=3)
        return None
    return SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)
