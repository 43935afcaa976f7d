"""Digests, checksums, files written whole or not at all, and the one reader of JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import ArtifactError, MatcherError
from shared.exits import is_out_of_memory

T = TypeVar("T")
PARTIAL = ".partial"  # ending of what is being written
MAX_JSON_BYTES, MAX_JSON_DEPTH = 2**28, 64
MANY_FILES = 500  # that are written to the disk all at once, with what else waits for it
_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

# errors of the system that tell of a file, and not of a disk, a share, rights or a limit of the process
_OF_FILES = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


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
        if not is_name_below(name):
            return f"{name[:100]!r} is no name of a file in it"
        if any(place.is_symlink() for place in (path, *path.parents) if folder in place.parents):
            return f"{name} is a link, or in a folder that is one"
        if not path.is_file():
            return f"{name} is missing"
        if file_digest(path) != expected:
            return f"{name} does not have the checksum it was written with"
    return None


def is_name_below(name: str) -> bool:
    r"""Return whether a relative name of a file stays in the folder that it is of, on any system.

    Examples:
        >>> is_name_below("tokenizer/tokenizer.json"), is_name_below("../settings.json"), is_name_below("C:\\x")
        (True, False, False)
    """
    parts = name.split("/")
    return not set(name) & set("\\\0:") and not {"", ".", ".."} & set(parts)


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
        to_disk(path.absolute().parent)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: the file is the old one or the new one, never a part.

    A number that is not finite, which JSON does not have, is written as null.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "metrics.json"
        ...     write_json(path, {"row_f1": 0.5})
        ...     read_json(path)
        {'row_f1': 0.5}
    """
    text = json.dumps(_json_value(value), indent=2, ensure_ascii=False, default=str)
    with atomic_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_value(of_key) for key, of_key in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, advice: str = "") -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: The file.
        advice: Says in the error message what to do about a damaged file.

    Raises:
        ArtifactError: The file is missing, a link or no regular file, too large, no JSON, or holds something else than
            an object; see `parse_json`.
        OSError: The system cannot read it now; see `reading`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "settings.json"
        ...     write_json(path, {"compute": {"threads": 2}})
        ...     read_json(path)["compute"]
        {'threads': 2}
    """
    with reading(path, advice):
        value = parse_json(_bytes(path))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, and an object is needed")
    return value


def parse_json(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8, as the standard has it (RFC 8259) and with bounds.

    Raises:
        ValueError: It is something else, holds a key twice, a number that is not finite or has more than 4,300 digits,
            or is nested deeper than `MAX_JSON_DEPTH`.

    Examples:
        >>> parse_json(b'{"threads": 2}')
        {'threads': 2}
        >>> parse_json(b'{"threads": NaN}')
        Traceback (most recent call last):
        ...
        ValueError: NaN is not a number
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_JSON_DEPTH}") from None
    level: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
    if level:
        raise ValueError(f"it is nested deeper than {MAX_JSON_DEPTH}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it holds the key {twice[:40]!r} twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a number")
    return value


def _bytes(path: Path) -> bytes:
    """Return what a regular file holds; raises a ValueError where it is something else, or too large."""
    if path.is_symlink():
        raise ValueError("it is a link")
    descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES:,} bytes")
        return file.read()


@contextmanager
def reading(path: Path, advice: str = "") -> Iterator[None]:
    """Turn whatever is raised while a file is read into one `ArtifactError` that names the file.

    An error that says that there is not enough memory stays what it is, and so does one of the system that says that
    the file cannot be read now: no rights, a share that is gone, too many open files.

    Args:
        path: The file, or a folder of files.
        advice: Says in the error message what to do about it.

    Examples:
        >>> with reading(Path("a.json"), "remove it"):
        ...     raise ValueError("it is empty")
        Traceback (most recent call last):
        ...
        shared.errors.ArtifactError: a.json is damaged (it is empty); remove it
    """
    try:
        yield
    except MatcherError:
        raise
    except Exception as error:  # each library raises its own, and what is damaged may raise any
        if is_out_of_memory(error) or _is_of_system(error):  # the file may be as it was written
            raise
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error).strip() or type(error).__name__
        ending = f"; {advice}" if advice else ""
        raise ArtifactError(f"{path} is damaged ({what[:500]}){ending}") from error


def _is_of_system(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_FILES


def checked_type(kind: type[T], value: Any) -> T:
    """Return a value of JSON as a dataclass, or another type, after a check of all the types in it.

    Args:
        kind: The type.
        value: JSON-able.

    Raises:
        ValueError: It is of another type.

    Examples:
        >>> checked_type(tuple[int, ...], [1, 2])
        (1, 2)
    """
    from pydantic import TypeAdapter  # here, since a run with nothing to do reads no such file

    return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)


def folder_to_disk(folder: Path) -> None:
    """Write all files in a folder and below it, and their names, from memory to the disk; see `to_disk`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.txt").write_text("a")
        ...     folder_to_disk(Path(folder))
    """
    paths = [folder, *folder.rglob("*")]
    if len(paths) > MANY_FILES and sys.platform == "linux":  # where sync(2) returns when all is written
        os.sync()
        return
    for path in reversed(paths):
        to_disk(path)


def to_disk(path: Path) -> None:
    """Write a file, or the names in a folder, from memory to the disk, so that it outlasts a power failure.

    Nothing happens on a file system that cannot do so on demand, as some network shares.
    """
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # the file may be read-only
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
