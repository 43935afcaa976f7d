"""A memo of image files' digests, so that a file is hashed again only when its size or time changed.

As git and DVC do, a file with the size, times and inode of before is taken for unchanged. As with git's racily clean
entries, that is not enough for a file that was written just before it was hashed: a second edit may fall on the same
tick of the clock. Such a file is not noted, and hashed once more the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.artifacts import atomic_file
from shared.catalog.images import ImageFault, read_bytes

RACY_NS = 2_000_000_000  # the coarsest tick of a file's time, that of FAT, in nanoseconds


class _Entry(NamedTuple):
    """A file when it was hashed: bytes, nanoseconds, inode, and SHA-256 in hex."""

    size: int
    mtime_ns: int
    ctime_ns: int  # of the last change of content, name or rights, where a program has set `mtime_ns` back
    inode: int
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, status: os.stat_result, sha256: str) -> Self:
        """Return the entry of a file with this status and digest."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, sha256)


class _File(BaseModel):
    """What a memo's file holds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["image digests 1"]
    files: dict[str, _Entry]


class ImageMemo:
    """Digests of image files by their absolute paths; several threads may ask at once.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     image, file = Path(folder) / "a.jpg", Path(folder) / "memo.json"
        ...     size = image.write_bytes(b"not decoded here")
        ...     memo = ImageMemo.load(file)  # there is none yet
        ...     digest = memo.sha256(image)
        ...     memo.save(file)
        ...     ImageMemo.load(file).sha256(image) == digest
        True
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._changed = True

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the memo that `save` wrote; an empty one where the file is missing, damaged or something else."""
        memo = cls()
        try:
            memo._entries = _File.model_validate_json(read_bytes(path)).files
            memo._changed = False
        except (ImageFault, OSError, ValueError):
            pass
        return memo

    def save(self, path: Path) -> None:
        """Write one JSON file, whole or not at all; nothing where it would say what the file says already.

        Where another process writes the same file at the same moment, one of them has its way.

        Raises:
            OSError: The file cannot be written.
        """
        if not self._changed:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": "image digests 1", "files": self._entries}
        with suppress(FileNotFoundError), atomic_file(path) as partial:  # another one has just put its own in place
            partial.write_text(json.dumps(content, sort_keys=True), encoding="ascii")
        self._changed = False

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, hex; the file is read only if it is new or its size, time or inode changed.

        Raises:
            ImageFault: The file cannot be read, or is no regular file.
        """
        key, start = os.path.abspath(path), time.time_ns()
        status = _status(path)  # before the file is read: an edit that comes later changes the time
        entry = self._entries.get(key)
        if entry is not None and status is not None and entry == _Entry.of(status, entry.sha256):
            return entry.sha256
        sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
        if status is not None and status.st_mtime_ns < start - RACY_NS:
            self._entries[key] = _Entry.of(status, sha256)
            self._changed = True
        elif self._entries.pop(key, None) is not None:
            self._changed = True
        return sha256


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file; None for anything else, which `read_bytes` refuses."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
