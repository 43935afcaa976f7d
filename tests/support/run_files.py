"""Files of a run."""

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file but the one that says which process holds the run."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
