"""Signs of life of the jobs that share a run: a small file for each, which it writes anew every few seconds.

    runs/mine/.lock.job1    what job 1 does now, as JSON

Whether a job is alive is told by whether its file changes, by the watch of who looks: clocks of machines may differ.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from shared.artifacts import read_json, write_json
from shared.errors import ArtifactError

BEAT_S = 2.0
WORKS, DONE, FAILED = "works", "done", "failed"  # states of a job


class Sign:
    """The file that a job writes.

    Args:
        path: The file.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     sign = Sign(Path(folder) / "job1")
        ...     sign.tell(stage="split")
        ...     seen = Watch(Path(folder) / "job1").look()
        ...     sign.end(DONE)
        >>> seen["state"], seen["stage"]
        ('works', 'split')
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock, self._ended = path, threading.Lock(), threading.Event()
        who = f"process {os.getpid()} on {platform.node()}"
        self._content: dict[str, Any] = {"state": WORKS, "session": uuid.uuid4().hex, "who": who, "beat": 0}
        self.tell()
        self._clock = threading.Thread(target=self._beat, daemon=True)
        self._clock.start()

    def tell(self, **content: Any) -> None:
        """Write what the job does now."""
        with self._lock:
            self._content |= {"beat": self._content["beat"] + 1, **content}
            write_json(self._path, self._content)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self.tell()
            except OSError:  # a share that is gone for a moment
                continue

    def end(self, state: str, **content: Any) -> None:
        """Write the last state of the job, and no more."""
        self._ended.set()
        self._clock.join()
        self.tell(state=state, **content)


class Watch:
    """What is seen of another job.

    Args:
        path: The file that it writes.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._seen, self._changed = path, dict[str, Any](), time.monotonic()

    def look(self) -> dict[str, Any]:
        """Return what the job wrote last; empty before it writes."""
        try:
            now = read_json(self._path)
        except (ArtifactError, OSError):  # not there yet, just replaced, or on a share that is away for a moment
            return self._seen
        if now != self._seen:
            self._seen, self._changed = now, time.monotonic()
        return now

    @property
    def silent_s(self) -> float:
        """Return for how many seconds the file has not changed."""
        return time.monotonic() - self._changed
