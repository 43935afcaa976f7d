"""A bundle: the parts of a run that matching needs, in one folder that is checked as a whole and only read.

Its folders have the names of a run's, so that the same code reads both. `bundle.json` lists every file with its
SHA-256; no file is parsed before all files are checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.artifacts import digest, file_digest, read_json, write_json
from shared.errors import ArtifactError

FORMAT = 2
CONTENTS = "bundle.json"


class Bundle:
    """An open bundle, which is an `ArtifactStore` like a run folder.

    Args:
        folder: Where it is.

    Attributes:
        contents: The content of `bundle.json`.

    Raises:
        ArtifactError: It is no bundle, or a file in it is missing, altered, a link, or not part of the bundle.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "settings.json").write_text("{}")
        ...     seal(Path(folder), {"branches": ["tfidf"]})
        ...     Bundle(Path(folder)).contents["branches"]
        ['tfidf']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents = checked(folder)

    def open(self, stage: str) -> Path:
        """Return the folder of a stage.

        Raises:
            ArtifactError: The bundle does not hold it.
        """
        self.files(stage)
        return self.folder / stage

    def files(self, stage: str) -> Mapping[str, str]:
        """Return the files of a stage: name below its folder → SHA-256.

        Raises:
            ArtifactError: The bundle does not hold it.
        """
        files = self.contents["files"].items()
        of_stage = {name.removeprefix(f"{stage}/"): sha for name, sha in files if name.startswith(f"{stage}/")}
        if not of_stage:
            raise ArtifactError(f"the bundle {self.folder} does not hold {stage}")
        return of_stage


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the `bundle.json` of a folder, which makes it a bundle.

    Args:
        folder: Holds all other files already.
        about: Further entries for `bundle.json`, JSON-able.
    """
    files = {name: file_digest(folder / name) for name in sorted(regular_files(folder)) if name != CONTENTS}
    contents = {"format": FORMAT, **about, "files": files}
    write_json(folder / CONTENTS, contents | {"digest": digest(contents)})


def checked(folder: Path) -> dict[str, Any]:
    """Return the content of `bundle.json` after checking every file against it.

    Raises:
        ArtifactError: As for `Bundle`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     seal(Path(folder), {"branches": ["tfidf"]})
        ...     sorted(checked(Path(folder)))
        ['branches', 'digest', 'files', 'format']
    """
    contents = _contents(folder)
    present = regular_files(folder) - {CONTENTS}
    listed = contents["files"]
    if missing := sorted(listed.keys() - present):
        raise ArtifactError(f"the bundle {folder} is damaged: {missing[0]} is missing")
    if foreign := sorted(present - listed.keys()):
        raise ArtifactError(f"the bundle {folder} holds {foreign[0]}, which is no part of it; remove that file")
    for name, sha in listed.items():
        if file_digest(folder / name) != sha:
            raise ArtifactError(f"the bundle {folder} is damaged: {name} does not have the checksum it was made with")
    return contents


def is_bundle(folder: Path) -> bool:
    """Return whether a folder holds no other files than its `bundle.json` lists; the files may be damaged.

    Examples:
        >>> is_bundle(Path("no/such/folder"))
        False
    """
    try:
        contents = _contents(folder)
        return regular_files(folder) <= {CONTENTS, *contents["files"]}
    except ArtifactError:
        return False


def _contents(folder: Path) -> dict[str, Any]:
    path = folder / CONTENTS
    if path.is_symlink() or not path.is_file():
        what = f"it has no {CONTENTS}" if folder.is_dir() else "no such folder"
        raise ArtifactError(f"{folder} is not a bundle ({what}); python -m ensemble.bundle makes one of a run")
    damaged = ArtifactError(f"the bundle {folder} is damaged: {CONTENTS} is not as it was written")
    try:
        contents = read_json(path)
    except ArtifactError:
        raise damaged from None
    if not isinstance(contents.get("files"), dict):
        raise damaged
    if contents.get("format") != FORMAT:
        raise ArtifactError(f"{folder} is a bundle of format {contents.get('format')}, and this code reads {FORMAT}")
    if contents.get("digest") != digest({key: value for key, value in contents.items() if key != "digest"}):
        raise damaged
    return contents


def regular_files(folder: Path) -> set[str]:
    """Return the files in a folder and below it, by their paths relative to it.

    Raises:
        ArtifactError: There is a link, or something else that is neither a file nor a folder.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "ids.txt").write_text("p1")
        ...     regular_files(Path(folder))
        {'ids.txt'}
    """
    paths = set()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArtifactError(f"{path} is a {'link' if path.is_symlink() else 'special file'}; remove it")
        paths |= {str((Path(parent) / name).relative_to(folder)) for name in files}
    return paths
