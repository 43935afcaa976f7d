"""Digests, checksums, atomic writers of files and folders, and a reader of JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import ArtifactError, MatcherError

PARTIAL, OLD = ".partial", ".old"  # endings of what is being written, and of what it is about to replace
MAX_JSON_BYTES = 2**28


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value in canonical form, 64 hex digits.

    Examples:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "title.txt"
        ...     _ = path.write_bytes(b"red mug")
        ...     file_digest(path) == hashlib.sha256(b"red mug").hexdigest()
        True
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(folder: Path, files: Mapping[str, str]) -> str | None:
    """Return in words what is wrong with the first file that is not as it was written; None when all are.

    Args:
        folder: Where the files lie.
        files: Name below the folder → SHA-256.

    Examples:
        >>> damage(Path("no/such/folder"), {"titles.txt": "00"})
        'titles.txt is missing'
    """
    for name, expected in files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            return f"{name} is {'a link' if path.is_symlink() else 'missing'}"
        if file_digest(path) != expected:
            return f"{name} does not have the checksum it was written with"
    return None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; its file replaces `path` when the block ends without an error.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "title.txt"
        ...     with atomic_file(path) as partial:
        ...         _ = partial.write_text("red mug")
        ...     path.read_text()
        'red mug'
    """
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)  # of a killed process; or a link, which is not to be followed
    try:
        yield partial
        to_disk(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: the file is the old one or the new one, never a part.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "metrics.json"
        ...     write_json(path, {"row_f1": 0.5})
        ...     read_json(path)
        {'row_f1': 0.5}
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    with atomic_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, advice: str = "") -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: The file.
        advice: Says in the error message what to do about a damaged file.

    Raises:
        ArtifactError: The file is missing, too large, no JSON, or holds something else than an object.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "settings.json"
        ...     write_json(path, {"compute": {"threads": 2}})
        ...     read_json(path)["compute"]
        {'threads': 2}
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, and an object is needed")
    except (OSError, ValueError, RecursionError) as error:
        ending = f"; {advice}" if advice else ""
        raise ArtifactError(f"{path} is damaged ({error}){ending}") from error
    return value


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into; it replaces `folder` as a whole when the block ends without an error.

    Until then it lies beside `folder` as `.<name>.partial`; the old folder is `.<name>.old` while it is replaced.

    Raises:
        MatcherError: `folder` is a file or cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     with atomic_folder(Path(parent) / "matches") as folder:
        ...         _ = (folder / "pairs.txt").write_text("a b")
        ...     [path.name for path in Path(parent).rglob("*")]
        ['matches', 'pairs.txt']
    """
    folder = folder.absolute()
    partial, old = (folder.with_name(f".{folder.name}{ending}") for ending in (PARTIAL, OLD))
    with _new_folder(folder, partial):
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def updated_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into; its files replace those of the same names in `folder` when the block ends.

    It lies in `folder`, which may be a mount point. Files with other names stay as they are.

    Raises:
        MatcherError: `folder` is a file or cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     _ = (Path(parent) / "notes.txt").write_text("mine")
        ...     with updated_folder(Path(parent)) as folder:
        ...         _ = (folder / "pairs.txt").write_text("a b")
        ...     sorted(path.name for path in Path(parent).iterdir())
        ['notes.txt', 'pairs.txt']
    """
    folder = folder.absolute()
    new = not folder.exists()
    partial = folder / PARTIAL
    try:
        with _new_folder(folder, partial):
            yield partial
            for path in sorted(partial.iterdir()):
                path.replace(folder / path.name)
    finally:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _new_folder(folder: Path, partial: Path) -> Iterator[None]:
    if folder.exists() and not folder.is_dir():
        raise MatcherError(f"cannot write to {folder}: it is a file, and a folder is needed")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise MatcherError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Write a file, or the names in a folder, from memory to the disk, so that it outlasts a power failure."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
