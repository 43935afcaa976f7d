"""Which file a table means by a name that no file has: names written in another way, and folders left out or added."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path, PureWindowsPath
from typing import NamedTuple
from urllib.parse import unquote

AMBIGUOUS = "unclear which file is meant"
MAX_LISTED = 500_000  # files; of a folder that holds more, those directly in it are known by name only
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".heic")

Parts = tuple[str, ...]


def match_names(
    folder: Path, missing: Collection[str], others: Collection[str], *, guess: bool
) -> Mapping[str, Path | str]:
    """Return for names without a file the file that each of them stands for, or why none is taken.

    A file is taken for the name that it has in another Unicode form or letter case, with backslashes for slashes, with
    blanks at its ends or with percent codes. Where there is none, a `guess` may be taken: a file whose name goes
    without its ending in the table, or with more or fewer folders before it. A guess is taken for one name only.

    Args:
        folder: The image folder; it is listed once.
        missing: Names as written in the table.
        others: The table's names that files have.
        guess: Whether to guess.

    Returns:
        Name → the path of its file below the folder, or `AMBIGUOUS` where several files have it in other spellings. A
        name for which there is no file is left out.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place:
        ...     for name in ("A.JPG", "b.jpg", "B.jpg"):
        ...         (Path(place) / name).touch()
        ...     match_names(Path(place), ["a.jpg", "b.JPG", "c.jpg", "old/a.jpg"], [], guess=False)
        {'a.jpg': PosixPath('A.JPG'), 'b.JPG': 'unclear which file is meant'}
    """
    spellings = {name: _spellings(name) for name in missing}
    files = _listed(folder, spellings.values(), guess=guess)
    named = {_folded(PureWindowsPath(name).parts) for name in others}
    guesses: dict[Parts, dict[Parts, list[str]]] = defaultdict(lambda: defaultdict(list))  # path → spelling → names
    result: dict[str, Path | str] = {}
    for name, forms in spellings.items():
        nearest, paths = _nearest(forms, files, guess=guess)
        if len(paths) == 1 and nearest:
            guesses[paths[0]][forms[0]].append(name)
        elif len(paths) == 1:
            result[name] = Path(*paths[0])
            named.add(_folded(paths[0]))
        elif paths:
            result[name] = AMBIGUOUS
    for path, of_path in guesses.items():
        alone = len(of_path) == 1 and _folded(path) not in named
        for name in (name for names in of_path.values() for name in names):
            result[name] = Path(*path) if alone else AMBIGUOUS
    return result


class _Files(NamedTuple):
    """The files of a folder by folded paths, each with 0 for its own name and 1 for the name without its ending.

    Args:
        whole: By their paths.
        ends: By the ends of their paths, with one folder or more left out.
    """

    whole: Mapping[Parts, list[tuple[int, Parts]]]
    ends: Mapping[Parts, list[tuple[int, Parts]]]


def _listed(folder: Path, spellings: Iterable[list[Parts]], *, guess: bool) -> _Files:
    """Return the files of a folder; names without their ending and ends of paths only for guesses."""
    on_the_way = {part for forms in spellings for form in forms for part in form[:-1]}
    files = _Files(defaultdict(list), defaultdict(list))
    for path in _paths(folder, None if guess else on_the_way):
        *above, name = _folded(path)
        stem, dot, ending = name.rpartition(".")
        for without_ending, form in enumerate((name, stem) if guess and dot + ending in _ENDINGS else (name,)):
            files.whole[(*above, form)].append((without_ending, path))
            for start in range(1, len(path)) if guess else ():
                files.ends[(*above[start:], form)].append((without_ending, path))
    return files


def _nearest(forms: list[Parts], files: _Files, *, guess: bool) -> tuple[int, list[Parts]]:
    """Return how far off the files are that a name most likely stands for, 0 for another spelling, and their paths."""
    for form in forms:
        paths: dict[int, list[Parts]] = defaultdict(list)
        for without_ending, path in files.whole.get(form, []):
            paths[without_ending].append(path)
        shorter = (files.whole.get(form[start:], []) for start in range(1, len(form)) if guess)
        for without_ending, path in chain(files.ends.get(form, []), *shorter):
            paths[without_ending + 2].append(path)
        if paths:
            return min(paths), paths[min(paths)]
    return 0, []


def _spellings(name: str) -> list[Parts]:
    """Return the folded parts of a name, and those of the name without percent codes where it has any."""
    forms = [_folded(PureWindowsPath(each).parts) for each in dict.fromkeys((name, unquote(name)))]
    return [form for form in forms if form]


def _folded(parts: Parts) -> Parts:
    """Return the parts of a path such that all spellings of a name are equal: canonical caseless matching."""

    def decomposed(text: str) -> str:
        return unicodedata.normalize("NFD", text)

    return tuple(decomposed(decomposed(part.strip()).casefold()) for part in parts)


def _paths(folder: Path, only: Collection[str] | None) -> list[Parts]:
    """Return the paths of all files below a folder, of hidden and linked folders none.

    Args:
        folder: The folder.
        only: Folded names of the folders to look into; None: all.
    """
    files: list[Parts] = []
    level: list[Parts] = [()]
    while level:
        below: list[Parts] = []
        for parts in level:
            for entry in _entries(folder.joinpath(*parts)):
                path = (*parts, entry.name)
                if not entry.is_dir(follow_symlinks=False):
                    files.append(path)
                elif not entry.name.startswith(".") and (only is None or _folded((entry.name,))[0] in only):
                    below.append(path)
            if len(files) > MAX_LISTED:
                return [path for path in files if len(path) == 1]
        level = below
    return files


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder holds, by name; nothing where it cannot be listed. A name that is no Unicode is left out."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    yield from (entry for entry in listed if entry.name.isprintable() or _is_unicode(entry.name))


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
