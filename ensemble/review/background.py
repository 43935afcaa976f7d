"""Work that goes on while people answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread


class Background:
    """One piece of work, done by a thread of its own whenever it is wanted, and never twice at the same time.

    If it is wanted again meanwhile, it is done once more afterwards.

    Args:
        work: The work.
        failed: Called with an error that the work raised.

    Examples:
        >>> done = []
        >>> background = Background(lambda: done.append(1), failed=print)
        >>> background.want()
        >>> background.wait()
        >>> done
        [1]
    """

    def __init__(self, work: Callable[[], object], failed: Callable[[Exception], object]) -> None:
        self._work, self._failed = work, failed
        self._thread: Thread | None = None
        self._lock, self._again = Lock(), False

    def want(self) -> None:
        """Have the work done; return at once."""
        with self._lock:
            self._again = True
            if self._thread is None:
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until no work is left."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._work()
            except Exception as error:
                self._failed(error)

    def _goes_on(self) -> bool:
        with self._lock:
            again, self._again = self._again, False
            if not again:
                self._thread = None
            return again
