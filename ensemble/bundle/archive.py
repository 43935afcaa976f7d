"""A bundle: what matching needs of a run, in one folder that is checked as a whole and only read.

Its folders are named as a run's, so that the same code reads both. `bundle.json` names every file with its SHA-256;
nothing in the folder is parsed before all of that has been found to hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.artifacts import digest, file_digest, read_json, write_json
from shared.errors import ArtifactError

FORMAT = 1
CONTENTS = "bundle.json"


class Bundle:
    """A bundle, opened: an `ArtifactStore`, as a run folder is.

    Args:
        folder: Where it is.

    Attributes:
        contents: What `bundle.json` says.

    Raises:
        ArtifactError: It is no bundle, or a file in it is missing, altered, a link, or not one of its own.
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
    """Make a bundle of a folder: write its `bundle.json`.

    Args:
        folder: Holds everything else already.
        about: What else to say there, JSON-able.
    """
    files = {name: file_digest(folder / name) for name in sorted(regular_files(folder)) if name != CONTENTS}
    contents = {"format": FORMAT, **about, "files": files}
    write_json(folder / CONTENTS, contents | {"digest": digest(contents)})


def checked(folder: Path) -> dict[str, Any]:
    """What `bundle.json` says, once every file is known to be as it was written.

    Raises:
        ArtifactError: As for `Bundle`.
    """
    contents = _contents(folder)
    there = regular_files(folder) - {CONTENTS}
    named = contents["files"]
    if missing := sorted(named.keys() - there):
        raise ArtifactError(f"the bundle {folder} is damaged: {missing[0]} is missing")
    if foreign := sorted(there - named.keys()):
        raise ArtifactError(f"the bundle {folder} holds {foreign[0]}, which is no part of it; remove that file")
    for name, sha in named.items():
        if file_digest(folder / name) != sha:
            raise ArtifactError(f"the bundle {folder} is damaged: {name} does not have the checksum it was made with")
    return contents


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds nothing but the files that a `bundle.json` in it names, though perhaps damaged ones."""
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
    """The files in a folder and below it, by their path from there.

    Raises:
        ArtifactError: There is a link, or something else that is neither a file nor a folder.
    """
    found = set()
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArtifactError(f"{path} is a {'link' if path.is_symlink() else 'special file'}; remove it")
        found |= {str((Path(where) / name).relative_to(folder)) for name in files}
    return found
