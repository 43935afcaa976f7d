"""The image files that a table names: looked up inside their folder only, decoded once, digested."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from shared.catalog.image_memo import ImageMemo
from shared.catalog.images import ImageFacts, ImageFault, inspect

T = TypeVar("T")


def locate(folder: Path, name: str) -> Path:
    """Return the file that a name stands for; links are followed, and the file need not be there.

    Args:
        folder: The image folder.
        name: As written in the table.

    Raises:
        ImageFault: The name is absolute, climbs out with "..", or is a link that leads out of the folder.

    Examples:
        >>> locate(Path("images"), "mugs/../../secret.jpg")
        Traceback (most recent call last):
        shared.catalog.images.ImageFault: outside the image folder
    """
    outside = ImageFault("outside the image folder")
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise outside
    try:
        path, root = Path(os.path.realpath(folder / name)), Path(os.path.realpath(folder))
    except (OSError, ValueError) as error:  # a NUL character
        raise ImageFault(f"cannot be opened ({error})") from None
    if not path.is_relative_to(root):
        raise outside
    return path


def inspect_images(
    folder: Path, names: Iterable[str], max_pixels: int, threads: int, progress: bool
) -> dict[str, ImageFacts | str]:
    """Decode every image that is named, once.

    Args:
        folder: The image folder.
        names: As written in the table; repeated ones are decoded once.
        max_pixels: Larger images are refused.
        threads: Number of images that are decoded at once.
        progress: Whether to draw a bar when on a terminal.

    Returns:
        For each name the facts about its image, or in a few words why it cannot be used.
    """
    return _each(names, lambda name: inspect(locate(folder, name), max_pixels), threads, progress)


def content_digest(folder: Path, names: Iterable[str], memo: ImageMemo | None = None, threads: int = 8) -> str:
    """Return one SHA-256 over all images that are named, hex.

    It changes with any name or content, not with times or the order of rows. An image that cannot be read counts with
    the reason why.

    Args:
        folder: The image folder.
        names: As written in the table.
        memo: Digests of before, and place for new ones; None: every file is read.
        threads: Number of files that are read at once.
    """
    files = ImageMemo() if memo is None else memo
    contents = _each(names, lambda name: files.sha256(locate(folder, name)), threads, progress=False)
    return hashlib.sha256(json.dumps(sorted(contents.items())).encode()).hexdigest()


def _each(names: Iterable[str], work: Callable[[str], T], threads: int, progress: bool) -> dict[str, T | str]:
    """Return by name what `work` returns, or the image's fault."""

    def attempt(name: str) -> T | str:
        try:
            return work(name)
        except ImageFault as fault:
            return str(fault)

    distinct = list(dict.fromkeys(names))
    pool = ThreadPoolExecutor(threads)  # Pillow and hashlib let other threads run while they work
    try:
        results = pool.map(attempt, distinct)
        bar = tqdm(results, "reading images", len(distinct), unit="image", disable=None if progress else True)
        return dict(zip(distinct, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
