"""The image files that a table names: looked up inside their folder only, decoded once, digested."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from tqdm import tqdm

from shared.catalog.image_memo import ImageMemo
from shared.catalog.image_names import match_names
from shared.catalog.images import MISSING, ImageFacts, ImageFault, inspect, raise_if_lost

OUTSIDE = "outside the image folder"
LINK = "a link out of the image folder, not followed without data.follow_links=true"
URL = "a URL: images must be files"

Item = TypeVar("Item")
Result = TypeVar("Result")
Files = Mapping[str, Path | str]  # name as written → path below the image folder, or why there is no file

_URL = re.compile(r"\s*(?:[a-z][a-z0-9+.-]+:/|data:|//)", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Return whether a name is the address of an image somewhere else.

    Examples:
        >>> is_url("https://cdn.example.com/a.jpg"), is_url("C:/a.jpg"), is_url("a.jpg")
        (True, False, False)
    """
    return _URL.match(name) is not None


def locate(folder: Path, name: str, *, follow_links: bool = False) -> Path:
    """Return the path of the file of a name, below the image folder.

    Args:
        folder: The image folder.
        name: As written in the table.
        follow_links: Whether a link may lead out of the folder.

    Raises:
        ImageFault: There is no such file, the name is a URL or absolute or climbs out with "..", or it is a link that
            leads out of the folder.
        OSError: The network share that the folder is on is gone.

    Examples:
        >>> locate(Path("images"), "mugs/../../secret.jpg")
        Traceback (most recent call last):
        shared.catalog.images.ImageFault: outside the image folder
    """
    if is_url(name):
        raise ImageFault(URL)
    there = PureWindowsPath(name)
    if os.path.isabs(name) or there.is_absolute() or ".." in there.parts:
        raise ImageFault(OUTSIDE)
    try:
        is_link = stat.S_ISLNK(os.lstat(folder / name).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageFault(MISSING) from None
    except (OSError, ValueError) as error:  # too long, or with a NUL character
        raise_if_lost(folder / name, error)
        raise ImageFault(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    may_leave = is_link or len(there.parts) > 1  # any other file lies directly in the folder
    if may_leave and not follow_links and not _is_below(folder / name, folder):
        raise ImageFault(LINK)
    return Path(name)


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether a path leads into a folder once all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def find_images(
    folder: Path, names: Iterable[str], *, follow_links: bool = False, guess: bool = True, threads: int = 8
) -> Files:
    """Return the file of every image that is named, whatever it holds.

    A name that no file has may stand for a file in another spelling, see `match_names`.

    Args:
        folder: The image folder.
        names: As written in the table.
        follow_links: Whether links may lead out of the folder.
        guess: Whether to look in folders that the table does not name, and for names without their ending.
        threads: Number of names that are looked up at once.

    Returns:
        For each name the path of its file below the folder, or in a few words why there is none.
    """
    files = _each({name: name for name in names}, lambda name: locate(folder, name, follow_links=follow_links), threads)
    missing = [name for name, file in files.items() if file == MISSING]
    if missing:
        others = [name for name, file in files.items() if isinstance(file, Path)]
        spelled = match_names(folder, missing, others, guess=guess)
        paths = {name: str(file) for name, file in spelled.items() if isinstance(file, Path)}
        checked = _each(paths, lambda name: locate(folder, name, follow_links=follow_links), threads)
        files = {**files, **spelled, **checked}
    return files


def inspect_images(
    folder: Path, files: Files, max_pixels: int, threads: int, progress: bool
) -> Mapping[str, ImageFacts | str]:
    """Decode every image, once.

    Args:
        folder: The image folder.
        files: From `find_images`.
        max_pixels: Larger images are refused.
        threads: Number of images that are decoded at once.
        progress: Whether to draw a bar when on a terminal.

    Returns:
        For each name the facts about its image, or in a few words why it cannot be used.
    """
    distinct = {str(file): file for file in files.values() if isinstance(file, Path)}
    facts = _each(distinct, lambda file: inspect(folder / file, max_pixels), threads, progress)
    return {name: file if isinstance(file, str) else facts[str(file)] for name, file in files.items()}


def content_digest(folder: Path, files: Files, memo: ImageMemo | None = None, threads: int = 8) -> str:
    """Return one SHA-256 over all images that are named, hex.

    It changes with any name or content, not with times or the order of rows. An image that cannot be read counts with
    the reason why.

    Args:
        folder: The image folder.
        files: From `find_images`.
        memo: Digests of before, and place for new ones; None: every file is read.
        threads: Number of files that are read at once.
    """
    digests = ImageMemo() if memo is None else memo
    paths = {name: file for name, file in files.items() if isinstance(file, Path)}
    contents = {**files, **_each(paths, lambda file: digests.sha256(folder / file), threads)}
    return hashlib.sha256(json.dumps(sorted(contents.items())).encode()).hexdigest()


def _each(
    items: Mapping[str, Item], work: Callable[[Item], Result], threads: int, progress: bool = False
) -> dict[str, Result | str]:
    """Return by key what `work` returns for each item, or the image's fault."""

    def attempt(item: Item) -> Result | str:
        try:
            return work(item)
        except ImageFault as fault:
            return str(fault)

    pool = ThreadPoolExecutor(threads)  # Pillow and hashlib let other threads run while they work
    try:
        results = pool.map(attempt, items.values())
        bar = tqdm(results, "reading images", len(items), unit="image", disable=None if progress else True)
        return dict(zip(items, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
