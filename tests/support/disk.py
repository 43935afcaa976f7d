"""A record of what is on the disk when something is renamed."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import shared.folders

Content = tuple[int, int, int]  # inode, size, time of the last change


def content(status: os.stat_result) -> Content:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Disk:
    """Watches `os.fsync` and every way to rename; `faults` says what a power failure would have lost."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.synced: set[Content] = set()
        self.renamed: list[str] = []
        self.faults: list[str] = []
        self._waiting: dict[int, str] = {}  # folders whose names changed, by inode
        fsync, exchange = os.fsync, shared.folders._exchange
        for name in ("rename", "replace"):
            self._watch(patch, name, getattr(os, name))

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            status = os.fstat(descriptor)
            self.synced.add(content(status))
            self._waiting.pop(status.st_ino, None)

        def exchanged(one: Path, other: Path) -> bool:
            self._before(other)
            done = exchange(one, other)
            self._after(one)
            return done

        patch.setattr(os, "fsync", synced)
        patch.setattr(shared.folders, "_exchange", exchanged)

    def _watch(self, patch: pytest.MonkeyPatch, name: str, rename: Any) -> None:
        def renamed(source: Path, target: Path, **options: Any) -> None:
            self._before(Path(source))
            rename(source, target, **options)
            self._after(Path(target))

        patch.setattr(os, name, renamed)

    def _before(self, source: Path) -> None:
        self.renamed.append(source.name)
        inside = [source, *source.rglob("*")] if source.is_dir() else [source]
        for path in inside:
            status = path.stat(follow_symlinks=False)
            kept = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
            if not kept and content(status) not in self.synced:
                self.faults.append(f"{path} is renamed before it is on the disk")

    def _after(self, target: Path) -> None:
        self._waiting[target.parent.stat().st_ino] = str(target)

    @property
    def lost(self) -> list[str]:
        """What a power failure would lose or leave half: files that were renamed too early, names not on the disk."""
        return self.faults + [f"the name {name} is not on the disk" for name in self._waiting.values()]


def watched(patch: pytest.MonkeyPatch) -> Disk:
    return Disk(patch)
