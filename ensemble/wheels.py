"""All that a machine without internet installs: this project and what it needs, as wheels in one folder.

    python -m ensemble.wheels --python 3.12 --out wheels

Versions are those of `.constraints.txt`. torch and torchvision are left out: with the libraries of CUDA they take
several GB, and every image with a GPU has them. On the other machine `pip install --no-index --find-links wheels
product-matcher` keeps what is there and fits, and takes the rest from the folder. Where a package is needed by some
versions of Python only, pip asks for it by the version that this command runs in.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from shared.errors import MatcherError
from shared.exits import ended
from shared.folders import require_place, updated_folder

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "README.md", "shared", "branches", "ensemble")
PROJECT = "product-matcher"
LEFT_OUT = ("torch", "torchvision")
# Where a package is left out, pip is given an empty wheel of it. A local version such as 2.14.1+image meets the
# constraint ==2.14.1 and counts as newer than 2.14.1 (PEP 440), so pip takes the empty wheel, which needs nothing.
LOCAL = "image"
# Wheels for any Linux on this processor whose C library is 2.35 or older, that of Ubuntu 22.04.
PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(5, 36)))


class Wheel(NamedTuple):
    """A wheel in the folder.

    Args:
        name: Of the package, as its file spells it.
        version: Of the package.
        size: Bytes.
    """

    name: str
    version: str
    size: int


def collect(out: Path, python: str, left_out: Sequence[str] = LEFT_OUT) -> list[Wheel]:
    """Return the wheels that a folder holds after they were built and downloaded into it; earlier ones leave it.

    Args:
        out: The folder; files in it that are no wheels stay.
        python: Version of the Python that the wheels are for, such as `3.12`.
        left_out: Packages that the other machine has.

    Raises:
        MatcherError: This is not the project's own folder, pip is missing or fails, or the folder does not hold all
            that the project needs.
    """
    versions = _pinned(ROOT)
    if unknown := sorted(set(map(_normal, left_out)) - set(versions)):
        raise MatcherError(f"--leave-out: {', '.join(unknown)}: not a package of {ROOT / '.constraints.txt'}")
    require_place(out, [("the project", ROOT / name) for name in SOURCES])
    earlier = [path.name for path in out.glob("*.whl")]
    with TemporaryDirectory() as scratch, updated_folder(out, without=earlier) as folder:
        empty = Path(scratch) / "empty"
        for name in map(_normal, left_out):
            write_empty_wheel(empty, name, f"{versions[name]}+{LOCAL}")
        wheel = _build(ROOT, Path(scratch) / "source", folder)
        target = ["--only-binary=:all:", f"--python-version={python}", *(f"--platform={each}" for each in PLATFORMS)]
        where = [f"--find-links={empty}", f"--constraint={ROOT / '.constraints.txt'}"]
        _pip("download", *target, *where, f"--dest={folder}", str(wheel))
        for path in folder.glob(f"*+{LOCAL}-*.whl"):
            path.unlink()
        nowhere = ["--dry-run", "--ignore-installed", "--no-index", f"--target={scratch}/nowhere"]
        _pip("install", *nowhere, *target, *where, f"--find-links={folder}", PROJECT, alone=True)
    return wheels_in(out)


def wheels_in(folder: Path) -> list[Wheel]:
    """Return the wheels of a folder, by name.

    Examples:
        >>> with TemporaryDirectory() as scratch:
        ...     write_empty_wheel(Path(scratch), "torch", "2.6.0")
        ...     [(wheel.name, wheel.version) for wheel in wheels_in(Path(scratch))]
        [('torch', '2.6.0')]
    """
    paths = sorted(folder.glob("*.whl"), key=lambda path: path.name.lower())
    return [Wheel(name, version, path.stat().st_size) for path in paths for name, version, *_ in [path.name.split("-")]]


def write_empty_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel without code and without needs (PEP 427).

    Examples:
        >>> with TemporaryDirectory() as scratch:
        ...     write_empty_wheel(Path(scratch), "torch", "2.6.0")
        ...     [path.name for path in Path(scratch).iterdir()]
        ['torch-2.6.0-py3-none-any.whl']
    """
    folder.mkdir(parents=True, exist_ok=True)
    spelled = name.replace("-", "_")
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: empty\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{spelled}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{spelled}-{version}.dist-info/{file}", text)


def table(wheels: Iterable[Wheel]) -> str:
    """Return a table of wheels in words, with their sizes in MB.

    Examples:
        >>> print(table([Wheel("faiss_cpu", "1.15.1", 18_834_180), Wheel("h11", "0.16.0", 37_515)]))
        faiss_cpu  1.15.1  18.8 MB
        h11        0.16.0   0.0 MB
    """
    rows = [(wheel.name, wheel.version, f"{wheel.size / 1e6:.1f} MB") for wheel in wheels]
    name, version, size = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    return "\n".join(f"{row[0]:<{name}}  {row[1]:<{version}}  {row[2]:>{size}}" for row in rows)


def _pinned(root: Path) -> Mapping[str, str]:
    """Return the version of each package that `.constraints.txt` names, by normal name."""
    file = root / ".constraints.txt"
    if not file.is_file() or not (root / "pyproject.toml").is_file():
        raise MatcherError(f"{root} is not the project's own folder; call this command in a checkout of the project")
    pins = re.findall(r"^([\w.-]+)==(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {_normal(name): version for name, version in pins}


def _normal(name: str) -> str:
    """Return the normal name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _build(root: Path, copy: Path, folder: Path) -> Path:
    """Return the project's own wheel, built from a copy, so that no file of an earlier build gets into it."""
    copy.mkdir()
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, copy / name)
    _pip("wheel", "--no-deps", f"--wheel-dir={folder}", str(copy))
    return next(folder.glob(f"{PROJECT.replace('-', '_')}-*.whl"))


def _pip(*arguments: str, alone: bool = False) -> None:
    """Run pip.

    Args:
        arguments: Its own.
        alone: Whether it sees no other place with packages that the settings of this machine name.

    Raises:
        MatcherError: It is not there, or fails; the message has its own words.
    """
    if find_spec("pip") is None:
        raise MatcherError(f"{sys.executable} has no pip; python -m ensurepip installs it")
    environment = {key: value for key, value in os.environ.items() if not (alone and key.startswith("PIP_"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull} if alone else {}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        conflict = done.stdout.partition("The conflict is caused by:")[2].partition("To fix this")[0].splitlines()
        said = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", "error"))]
        lines = [line.strip() for line in (*said, *conflict) if line.strip()] or [done.stderr.strip()[-2000:]]
        raise MatcherError(f"pip {arguments[0]} failed:\n  " + "\n  ".join(lines[:20]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `python -m ensemble.wheels` and return its exit code; see `shared.exits`."""
    parser = argparse.ArgumentParser(
        prog="python -m ensemble.wheels",
        description="Build this project's wheel and download those of all that it needs, for a Linux machine without "
        "internet, such as an offline notebook.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheels; earlier ones are replaced")
    parser.add_argument("--python", required=True, metavar="X.Y", help="version of Python on that machine (python -V)")
    parser.add_argument("--leave-out", default=",".join(LEFT_OUT), metavar="NAMES",
                        help="packages that the machine has in a version that fits (default: %(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)

    def work() -> None:
        if not re.fullmatch(r"3\.\d+", options.python):
            raise MatcherError(f"--python: {options.python!r} is not a version such as 3.12")
        left_out = [name.strip() for name in options.leave_out.split(",") if name.strip()]
        wheels = collect(Path(os.path.expanduser(options.out)), options.python, left_out)
        print(table(wheels))
        total, lacking = sum(wheel.size for wheel in wheels), f" but for {', '.join(left_out)}" if left_out else ""
        print(f"\n{len(wheels)} wheels ({total / 1e6:,.0f} MB) in {options.out}, complete{lacking}")

    return ended(work, interrupted="interrupted; nothing was written")


if __name__ == "__main__":
    sys.exit(main())
