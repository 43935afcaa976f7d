"""The picture files that a table names: looked up inside their folder only, decoded once, digested."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from shared.catalog.images import ImageFault, Picture, inspect, read_bytes

T = TypeVar("T")


def locate(folder: Path, name: str) -> Path:
    """The file that a name stands for.

    Args:
        folder: The image folder.
        name: As written in the table.

    Raises:
        ImageFault: The name is absolute, climbs out with "..", or is a link that leads out of the folder.
    """
    outside = ImageFault("outside the image folder")
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise outside
    try:
        path, root = os.path.realpath(folder / name), os.path.realpath(folder)
    except (OSError, ValueError) as error:  # a NUL character
        raise ImageFault(f"cannot be opened ({error})") from None
    if os.path.commonpath([path, root]) != root:
        raise outside
    return Path(path)


def scan(folder: Path, names: Iterable[str], max_pixels: int, threads: int, progress: bool) -> dict[str, Picture | str]:
    """Decode every named picture once.

    Args:
        folder: The image folder.
        names: As written in the table; repeated ones are decoded once.
        max_pixels: Larger pictures are refused.
        threads: Pictures decoded at once.
        progress: Whether to draw a bar when on a terminal.

    Returns:
        For each name what is known of its picture, or in a few words why it cannot be used.
    """
    return _each(names, lambda name: inspect(locate(folder, name), max_pixels), threads, progress, "reading images")


def digest(folder: Path, names: Iterable[str], threads: int = 8) -> str:
    """One SHA-256 over all named files: it changes with any name or content, not with times or the order of rows."""

    def content(name: str) -> str:
        return hashlib.sha256(read_bytes(locate(folder, name))).hexdigest()

    contents = _each(names, content, threads, progress=False, title="")
    return hashlib.sha256(json.dumps(sorted(contents.items())).encode()).hexdigest()


def _each(
    names: Iterable[str], work: Callable[[str], T], threads: int, progress: bool, title: str
) -> dict[str, T | str]:
    def attempt(name: str) -> T | str:
        try:
            return work(name)
        except ImageFault as fault:
            return str(fault)

    distinct = list(dict.fromkeys(names))
    pool = ThreadPoolExecutor(threads)  # Pillow and hashlib let other threads run while they work
    try:
        results = pool.map(attempt, distinct)
        bar = tqdm(results, title, len(distinct), unit="image", disable=None if progress else True)
        return dict(zip(distinct, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
