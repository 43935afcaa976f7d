"""Folders that are replaced as a whole, and the places that may be written to.

A folder of outputs is written beside its place, and is on the disk before it takes the place. Where the system can do
so, the two exchange their names in one step, and whoever looks sees the old folder or the new one. Elsewhere the old
one is put aside first; if the process is killed just then, the next one puts it back.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psutil

from shared.artifacts import PARTIAL, folder_to_disk, to_disk
from shared.errors import MatcherError

OLD = ".old"  # ending of the folder that is being replaced
MOST_OTHERS = 1000  # files in a folder that gets outputs
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2); RENAME_SWAP of renamex_np(2) is 2, too


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into; it replaces `folder` as a whole when the block ends without an error.

    Raises:
        MatcherError: `folder` is a file, cannot be written or cannot be replaced; see `require_replaceable`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     with atomic_folder(Path(parent) / "matches") as folder:
        ...         _ = (folder / "pairs.txt").write_text("a b")
        ...     [path.name for path in Path(parent).rglob("*")]
        ['matches', 'pairs.txt']
    """
    with _beside(folder) as (folder, partial):
        yield partial
        folder_to_disk(partial)
        _replace(folder, partial)


@contextmanager
def updated_folder(folder: Path, without: Collection[str] = ()) -> Iterator[Path]:
    """Yield a folder to write into; with the other files of `folder` it replaces it as a whole when the block ends.

    What a user put into the folder stays: until the names are exchanged it has a name in both folders (a hard link).

    Args:
        folder: The folder; made where there is none.
        without: Names of earlier outputs that do not stay.

    Raises:
        MatcherError: As for `atomic_folder`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     out = Path(parent) / "matches"
        ...     out.mkdir()
        ...     _ = (out / "notes.txt").write_text("mine")
        ...     with updated_folder(out) as folder:
        ...         _ = (folder / "pairs.txt").write_text("a b")
        ...     sorted(path.name for path in out.iterdir())
        ['notes.txt', 'pairs.txt']
    """
    with _beside(folder) as (folder, partial):
        yield partial
        folder_to_disk(partial)
        outputs = {path.name for path in partial.iterdir()} | set(without)
        if folder.exists():
            shutil.copystat(folder, partial)
            for path in folder.iterdir():
                if path.name not in outputs:
                    _keep(path, partial / path.name)
            to_disk(partial)
        names = outputs | {path.name for path in partial.iterdir()}
        _replace(folder, partial)
        for path in partial.iterdir() if partial.exists() else ():
            if path.name not in names:  # it came into the old folder meanwhile
                path.rename(folder / path.name)


@contextmanager
def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the real path of a folder, and an empty folder beside it that is gone at the end."""
    require_replaceable(folder)
    folder = Path(os.path.realpath(folder))
    partial = _partial(folder, os.getpid())
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        partial.mkdir()
    except OSError as error:
        raise MatcherError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield folder, partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(folder: Path, process: int) -> Path:
    return folder.with_name(f".{folder.name}.{platform.node()}-{process}{PARTIAL}")


def _tidy(folder: Path) -> None:
    """Put back a folder that a killed process put aside, and remove what killed processes left beside it.

    On a network share, what processes of other machines are writing stays: they may be alive.
    """
    old = folder.with_name(f".{folder.name}{OLD}")
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old) if folder.exists() else old.rename(folder)
    for path in folder.parent.iterdir():
        process = path.name.removeprefix(f".{folder.name}.{platform.node()}-").removesuffix(PARTIAL)
        is_ours = process.isdecimal() and path == _partial(folder, int(process)) and not path.is_symlink()
        if is_ours and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            shutil.rmtree(path)


def _keep(path: Path, to: Path) -> None:
    """Give a file, or all files in a folder, a second name; a copy where the system has no second names."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, to, symlinks=True, copy_function=_second_name)
    else:
        _second_name(path, to)


def _second_name(path: Path | str, to: Path | str) -> None:
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, to, follow_symlinks=False)


def _replace(folder: Path, partial: Path) -> None:
    """Give the place of a folder, if there is one, to another folder, and the name of that one to the first."""
    if not folder.exists():
        partial.rename(folder)
    elif not _exchange(folder, partial):
        old = folder.with_name(f".{folder.name}{OLD}")
        try:
            folder.rename(old)
        except OSError as error:
            raise MatcherError(f"cannot replace {folder}: {error.strerror}; name a folder in it") from error
        try:
            partial.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        old.rename(partial)
    to_disk(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; return whether system and file system can do so."""
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and (renameat2 := getattr(ctypes.CDLL(None), "renameat2", None)):
        return bool(renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
    if sys.platform == "darwin" and (renamex := getattr(ctypes.CDLL(None), "renamex_np", None)):
        return bool(renamex(*names, _EXCHANGE) == 0)
    return False


# --- places that may be written to -----------------------------------------------------------------------------------


def require_replaceable(folder: Path) -> None:
    """Raise an error unless a folder of outputs may be written to a place, and later be replaced as a whole there.

    Raises:
        MatcherError: There is a file, a mount point, the folder that the command was started in or one above it, a
            folder with more than `MOST_OTHERS` files, or one that may not be written to.

    Examples:
        >>> require_replaceable(Path("no/such/folder"))
    """
    real = Path(os.path.realpath(folder))
    if os.path.lexists(real) and not real.is_dir():
        raise MatcherError(f"cannot write to {folder}: it is a file, and a folder is needed")
    for place in (real, real.parent) if real.exists() else [next(each for each in real.parents if each.exists())]:
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise MatcherError(f"cannot write to {folder}: no rights to write to {place}; name another place")
    if not real.exists():
        return
    what = ""
    if os.path.ismount(real):
        what = "is a mount point"
    elif lies_within(Path.cwd(), real):
        what = "is the folder that the command was started in, or one above it"
    elif any(True for _ in islice((name for _, _, files in os.walk(real) for name in files), MOST_OTHERS, None)):
        what = f"holds more than {MOST_OTHERS:,} files"
    if what:
        raise MatcherError(
            f"cannot write to {folder}: it {what}, and a folder of outputs is replaced as a whole; name a folder in it"
        )


def require_place(out: Path, read: Sequence[tuple[str, Path]], own: str = "") -> None:
    """Raise an error unless something may be written to a place without harm to what is read, or to another result.

    Args:
        out: The place, a file or a folder, there or not.
        read: What is read, in words such as `the index`, and its place.
        own: What `out` itself may be already: `a bundle`, `an index`, `a run` or nothing of these.

    Raises:
        MatcherError: It is, contains or lies within a place that is read, or lies within a bundle, an index or a run.

    Examples:
        >>> require_place(Path("matches"), [("the catalog", Path("shop"))])
        >>> require_place(Path("shop/matches"), [("the catalog", Path("shop"))])
        Traceback (most recent call last):
        ...
        shared.errors.MatcherError: cannot write to shop/matches: it lies within the catalog shop; name another place
    """
    for what, path in read:
        relation = "is" if is_same(out, path) else "lies within" if lies_within(out, path) else "contains"
        if relation != "contains" or lies_within(path, out):
            raise MatcherError(f"cannot write to {out}: it {relation} {what} {path}; name another place")
    place = Path(os.path.realpath(out))
    for folder in (place, *place.parents):
        kind = kind_of(folder)
        if kind and (kind != own or folder != place):
            relation = "is" if folder == place else f"lies within {folder},"
            raise MatcherError(f"cannot write to {out}: it {relation} {kind}; name another place")


def kind_of(folder: Path) -> str:
    """Return what a folder is by the files in it: `a bundle`, `an index`, `a stage`, `a run`, or nothing of these.

    Examples:
        >>> kind_of(Path("no/such/folder"))
        ''
    """
    if (folder / "bundle.json").is_file():
        return "a bundle"
    if (folder / "CURRENT.json").is_file() or (folder / "000001" / "manifest.json").is_file():
        return "an index"
    if _is_stage(folder / "manifest.json"):
        return "a stage"
    if (folder / "settings.json").is_file() and any(folder.glob("*/manifest.json")):
        return "a run"
    return ""


def _is_stage(manifest: Path) -> bool:
    """Return whether a file is the manifest of a stage; other programs have files of that name, too."""
    try:
        if not manifest.is_file():
            return False
        with manifest.open("rb") as file:
            return file.read(64).lstrip(b"{ \r\n\t").startswith(b'"stage"')
    except OSError:
        return False


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths name one file or folder, by whatever links and letters.

    Examples:
        >>> is_same(Path("a/../b"), Path("b"))
        True
    """
    try:
        return os.path.samefile(one, other)
    except ValueError:  # a NUL in a name, which no file has
        return False
    except OSError:  # one of them is not there
        return "\0" not in f"{one}{other}" and _spelling(one) == _spelling(other)


def _spelling(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def lies_within(path: Path, folder: Path) -> bool:
    """Return whether a path, there or not, is a folder or lies below it.

    Examples:
        >>> lies_within(Path("a/b/c"), Path("a")), lies_within(Path("ab"), Path("a"))
        (True, False)
    """
    real = Path(os.path.realpath(path))
    return any(is_same(place, folder) for place in (real, *real.parents))
