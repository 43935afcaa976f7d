"""A lock on a folder, for one process at a time; the system releases it when the process ends for any reason."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from shared.errors import MatcherError

LOCK, HOLDER = ".lock", ".lock.holder"  # the second names the process that holds the first


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder; a missing one is made, and removed at the end if nothing was written into it.

    Raises:
        MatcherError: Another process holds the lock, or the folder cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, locked(Path(folder)):
        ...     (Path(folder) / HOLDER).exists()
        True
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / LOCK, folder / HOLDER):
            if path.is_symlink() or (path.exists() and not path.is_file()):  # a FIFO would be waited for
                raise MatcherError(f"{path} is {'a link' if path.is_symlink() else 'no regular file'}; remove it")
        lock = FileLock(folder / LOCK, blocking=False)
        lock.acquire()
    except Timeout as error:
        raise MatcherError(f"{folder} is in use by {_holder(folder)}") from error
    except OSError as error:
        raise MatcherError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        who = f"process {os.getpid()} on {platform.node()}: {' '.join(sys.argv)}\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(folder / HOLDER, flags, 0o644), "w", encoding="utf-8", errors="replace") as file:
            file.write(who)
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        if new and {path.name for path in folder.iterdir()} <= {LOCK}:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
