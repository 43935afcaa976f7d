"""A folder whose content is replaced as a whole: if a writer is killed, it holds the old content or the new one.

    000006/        the previous snapshot, kept for processes that still read it
    000007/        the present one; a snapshot never changes once it is written
    CURRENT.json   which one is the present one, with the SHA-256 of its manifest

A snapshot is written beside the others, its manifest (checksums of all its files) last, and is on the disk before
`CURRENT.json` is replaced by one that names it; the first one needs none. What a killed writer left, and all snapshots
but the present one, are removed when the next one is written.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.artifacts import PARTIAL, checked_type, damage, file_digest, folder_to_disk, read_json, to_disk, write_json
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.locks import is_lock_file, locked
from shared.pipeline.run import MANIFEST

T = TypeVar("T")
CURRENT = "CURRENT.json"
FIRST = "000001"
_OWN = re.compile(rf"\d{{6,}}(\.work)?|{re.escape(CURRENT)}({PARTIAL})?")  # beside the files of locks
_NAME = re.compile(r"\d{6,}")
ATTEMPTS = 10  # to read a folder that others write to meanwhile


@dataclass(frozen=True)
class Snapshot:
    """The content of a folder at one time.

    Args:
        number: From 1, one more each time.
        folder: Where its files are; they have been checked.
        about: The description that it was written with.
        sha256: Of its manifest, 64 hex digits; that of a folder that was made anew differs, whatever its number.

    Examples:
        >>> Snapshot(7, Path("my-index/000007"), {"listings": 100}, "0" * 64).about["listings"]
        100
    """

    number: int
    folder: Path
    about: dict[str, Any]
    sha256: str

    @property
    def entry(self) -> dict[str, Any]:
        """Return what `CURRENT.json` says while this is the present snapshot."""
        return {"snapshot": self.folder.name, "sha256": self.sha256}


@dataclass(frozen=True)
class _Manifest:
    about: dict[str, Any]
    files: dict[str, str]


class Snapshots:
    """A folder of snapshots.

    Args:
        folder: Where it is; made when the first snapshot is written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     snapshots = Snapshots(Path(folder) / "index")
        ...     with snapshots.locked():
        ...         _ = snapshots.write(0, {"listings": 3}, lambda work: (work / "ids.txt").write_text("a b c"))
        ...     snapshot = snapshots.current()
        ...     snapshot.number, snapshot.about, (snapshot.folder / "ids.txt").read_text()
        (1, {'listings': 3}, 'a b c')
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other writers; readers need no lock.

        Raises:
            MatcherError: Another process holds it, it cannot be written, or it holds something else.
        """
        self._check_own()
        return locked(self.folder)

    def current(self) -> Snapshot | None:
        """Return the present snapshot, its files checked against their checksums; None if none was ever written.

        Raises:
            ArtifactError: A file is missing or altered.
            MatcherError: The folder holds something else.
        """
        return self.read(lambda snapshot: snapshot)

    def read(self, load: Callable[[Snapshot], T]) -> T | None:
        """Return what a function reads from the present snapshot; None if none was ever written.

        A snapshot that writers replaced and removed meanwhile is not damaged: the one that is present then is read.

        Args:
            load: Gets the snapshot, its files checked against their checksums.

        Raises:
            ArtifactError: A file is missing or altered.
            MatcherError: The folder holds something else, or was written to each time that it was read.
        """
        self._check_own()
        for _ in range(ATTEMPTS):
            entry = self._entry()
            if entry is None:
                return None
            try:
                return load(self._checked(entry))
            except (ArtifactError, OSError):
                if self._entry() == entry:
                    raise
        raise MatcherError(f"{self.folder} was written to each of {ATTEMPTS} times that it was read; try again")

    def is_current(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot is the present one, by what `CURRENT.json` says: no file is checked.

        Raises:
            ArtifactError: The folder is damaged.
        """
        return self._entry() == snapshot.entry

    def _entry(self) -> dict[str, Any] | None:
        """Return the name of the present snapshot and the SHA-256 of its manifest; None if none was ever written."""
        if (self.folder / CURRENT).exists():
            return self._parsed(self.folder / CURRENT)
        finished = sorted(path.name for path in self.folder.glob("*") if _NAME.fullmatch(path.name))
        if not finished:
            return None
        manifest = self.folder / FIRST / MANIFEST
        if finished != [FIRST] or not manifest.is_file():
            raise self._damaged(f"{CURRENT} is missing")
        return {"snapshot": FIRST, "sha256": file_digest(manifest)}  # its writer was killed just before `CURRENT.json`

    def _checked(self, entry: Mapping[str, Any]) -> Snapshot:
        folder = self.folder / str(entry.get("snapshot"))
        if not _NAME.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
            raise self._damaged(f"{CURRENT} names no snapshot that is there")
        if fault := damage(folder, {MANIFEST: str(entry.get("sha256"))}):
            raise self._damaged(f"{folder.name}/{fault}")
        try:
            manifest = checked_type(_Manifest, self._parsed(folder / MANIFEST))
        except ValueError:
            raise self._damaged(f"{folder.name}/{MANIFEST} is not as it was written") from None
        if fault := damage(folder, manifest.files):
            raise self._damaged(f"{folder.name}/{fault}")
        return Snapshot(int(folder.name), folder, manifest.about, str(entry.get("sha256")))

    def write(self, previous: int, about: Mapping[str, Any], fill: Callable[[Path], object]) -> Snapshot:
        """Make a new snapshot the present one, and return it. The folder must be held.

        Args:
            previous: Number of the snapshot that it follows, the present one; 0 where there is none.
            about: Its description, JSON-able.
            fill: Writes its files into the folder that it gets.
        """
        self._tidy(previous)
        final = self.folder / f"{previous + 1:06}"
        work = final.with_name(final.name + ".work")
        work.mkdir()
        try:
            fill(work)
            files = {str(path.relative_to(work)): path for path in sorted(work.rglob("*")) if path.is_file()}
            checksums = {name: file_digest(path) for name, path in files.items()}
            write_json(work / MANIFEST, {"about": dict(about), "files": checksums})
            folder_to_disk(work)
            work.rename(final)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        to_disk(self.folder)
        snapshot = Snapshot(previous + 1, final, dict(about), file_digest(final / MANIFEST))
        write_json(self.folder / CURRENT, snapshot.entry)
        return snapshot

    def _tidy(self, present: int) -> None:
        """Remove all snapshots but the present one, finished or not."""
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != f"{present:06}":
                shutil.rmtree(path)

    def _check_own(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise MatcherError(f"{self.folder} is a file; a folder is needed")
        links = [path for path in self.folder.glob("*") if path.is_symlink()]
        if links:
            raise MatcherError(f"{min(links)} is a link, which is no part of an index; remove it")
        names = [path.name for path in self.folder.glob("*")]
        foreign = [name for name in names if not _OWN.fullmatch(name) and not is_lock_file(name)]
        if foreign:
            raise MatcherError(
                f"{self.folder} holds {min(foreign)!r}, which is no part of an index; name another folder"
            )

    def _parsed(self, path: Path) -> dict[str, Any]:
        try:
            return read_json(path)
        except ArtifactError as error:
            raise self._damaged(f"{path.name} is not as it was written") from error

    def _damaged(self, fault: str) -> ArtifactError:
        return ArtifactError(
            f"{self.folder} is damaged: {fault}; restore the folder from a copy, or make the index again"
        )
