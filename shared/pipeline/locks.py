"""A lock on a folder, for one process at a time; the system releases it when the process ends for any reason.

Where a network share has no such locks, a file takes their place that names its process: that of a process that was
killed on another machine has to be removed by hand, as the error says.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from shared.errors import MatcherError

LOCK, HOLDER = ".lock", ".lock.holder"  # the second names the process that holds the first
# the two, the file where there are no locks, what filelock puts aside, and the file by which it tries locks
_FILES = re.compile(rf"{re.escape(LOCK)}(\..+)?|\.filelock-probe-[0-9a-f]+")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path, lock_name: str = LOCK, *, tidy: bool = True) -> Iterator[None]:
    """Lock a folder; a missing one is made, and removed at the end if nothing was written into it.

    Args:
        folder: The folder.
        lock_name: File of the lock in it; locks of different names do not know of each other.
        tidy: Whether the folder is removed if nothing was written into it; not if other processes may be about to.

    Raises:
        MatcherError: Another process holds the lock, or the folder cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, locked(Path(folder)):
        ...     (Path(folder) / HOLDER).exists()
        True
    """
    new, holder = not folder.exists(), folder / (lock_name + HOLDER.removeprefix(LOCK))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / lock_name, holder):
            if path.is_symlink() or (path.exists() and not path.is_file()):  # a FIFO would be waited for
                raise MatcherError(f"{path} is {'a link' if path.is_symlink() else 'no regular file'}; remove it")
        lock = _acquired(folder / lock_name)
    except Timeout as error:
        raise MatcherError(f"{folder} is in use by {_in_words(holder)}") from error
    except OSError as error:
        raise MatcherError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        who = f"process {os.getpid()} on {platform.node()}: {' '.join(sys.argv)}\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(holder, flags, 0o644), "w", encoding="utf-8", errors="replace") as file:
            file.write(who)
        yield
    finally:
        holder.unlink(missing_ok=True)
        if tidy and new and all(is_lock_file(path.name) for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def is_lock_file(name: str) -> bool:
    """Return whether a file in a locked folder belongs to its locks, by its name.

    Examples:
        >>> is_lock_file(".lock.file"), is_lock_file("photo.jpg")
        (True, False)
    """
    return _FILES.fullmatch(name) is not None


def _acquired(path: Path) -> BaseFileLock:
    """Return a lock of the system that this process now holds, or a file in its place where there are none.

    Raises:
        Timeout: Another process holds it.
    """
    lock: BaseFileLock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        lock = SoftFileLock(path.with_name(f"{path.name}.file"), blocking=False)
        lock.acquire()
    return lock


def _in_words(holder: Path) -> str:
    try:
        who = holder.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        who = "another process"
    file = holder.with_name(holder.name.removesuffix(HOLDER.removeprefix(LOCK)) + ".file")
    return f"{who}; if that is not so, remove {file}" if file.exists() else who
