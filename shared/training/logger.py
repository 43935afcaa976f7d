"""Log the metrics of a training: `metrics.jsonl` for programs, TensorBoard's event files for curves.

    tensorboard --logdir runs/mine

A training that was killed and resumed leaves the same log as one that ran through, except for timings.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

from shared.artifacts import atomic_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
EVENTS = "events.out.tfevents.*"


class TrainingLog:
    """A log of metrics by step, to be used in a `with` statement.

    Each line of `metrics.jsonl` is an object with the step, the group and the values; a value that is not finite is
    null. TensorBoard shows the same values as curves named `group/name`. Every write is flushed, so a killed process
    loses at most the line it was writing.

    Args:
        folder: Where to write; created if missing.
        resumed_step: Number of steps in the checkpoint that the training resumes from. Lines of later steps, which are
            repeated, are dropped; so the lines of a step must be written before a checkpoint that includes it. 0: the
            training starts from the beginning, and the log too.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with TrainingLog(Path(folder), resumed_step=0) as log:
        ...         log.write(1, {"loss": 0.5})
        ...     print((Path(folder) / METRICS).read_text(), end="")
        {"step": 1, "group": "train", "loss": 0.5}
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
        """Write the metrics of a step.

        Args:
            step: Number of steps done, this one included.
            values: Metrics by name; units are part of the names.
            group: What they measure: `train` or `validation`.
        """
        numbers = {name: _json_number(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "group": group, **numbers}, ensure_ascii=False) + "\n")
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
    """Keep only the complete lines up to a step, atomically; 0 keeps none."""
    if not path.exists():
        return
    with atomic_file(path) as partial, path.open("rb") as old, partial.open("wb") as new:
        if last_step > 0:
            new.writelines(line for line in old if _is_kept(line, last_step))


def _is_kept(line: bytes, last_step: int) -> bool:
    """Return whether a line is complete and of a step that is not repeated."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):
        return False
    return line.endswith(b"\n") and isinstance(step, int) and step <= last_step


def _summary_writer(folder: Path, resumed_step: int) -> SummaryWriter | None:
    """Return TensorBoard's writer; None, with a warning, where the package cannot be imported.

    The import takes seconds, so it is done here. TensorBoard loads TensorFlow, if installed, for its file system, which
    takes longer and claims the GPU; a module named `notf` prevents that (tensorboard/compat/__init__.py).

    Older event files stay as they are. The new one is read after them, since its name contains a later time, and begins
    with a mark that hides the steps that are repeated.
    """
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        warnings.warn(f"TensorBoard cannot be imported ({error}); metrics go to {folder / METRICS} only", stacklevel=3)
        return None
    return SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)
