"""Wheels for a machine without internet: what is collected, what is left out, and what is refused."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from ensemble import wheels
from ensemble.wheels import collect, main, wheels_in, write_empty_wheel
from shared.errors import MatcherError

CONSTRAINTS = "# versions\nalpha==1.0\nBeta_Two==1.0\ntorch==2.6.0\ntorchvision==0.21.0\n"


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    """A wheel without code that needs other packages."""
    write_empty_wheel(folder, name, version)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = f"{name}-{version}.dist-info/METADATA"
    with zipfile.ZipFile(path) as archive:
        files = {file: archive.read(file).decode() for file in archive.namelist()}
    files[metadata] += "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that needs alpha and torch, and a folder of wheels in place of the network."""
    root, index = tmp_path / "project", tmp_path / "index"
    for folder in ("shared", "branches", "ensemble"):
        (root / folder / "__pycache__").mkdir(parents=True)
        (root / folder / "__init__.py").touch()
    for file, text in {"pyproject.toml": "", "README.md": "", ".constraints.txt": CONSTRAINTS}.items():
        (root / file).write_text(text)
    wheel(index, "alpha", "1.0", "beta-two")
    wheel(index, "alpha", "2.0")
    wheel(index, "beta_two", "1.0", "torch>=2")
    wheel(index, "torch", "2.6.0", "cuda")
    monkeypatch.setattr(wheels, "ROOT", root)
    monkeypatch.setattr(
        wheels, "_build", lambda root, copy, folder: wheel(folder, "product_matcher", "0.1.0", "alpha", "torch>=2.6")
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return root


@pytest.mark.slow
def test_collect_takes_pinned_versions_and_leaves_out_torch(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wheel(out, "alpha", "0.9")
    (out / "notes.txt").touch()
    found = collect(out, "3.12")
    assert [(each.name, each.version) for each in found] == [
        ("alpha", "1.0"),
        ("beta_two", "1.0"),
        ("product_matcher", "0.1.0"),
    ]
    assert all(each.size for each in found)
    assert {path.name for path in out.iterdir() if path.suffix != ".whl"} == {"notes.txt"}


@pytest.mark.slow
def test_collect_leaves_out_what_is_named(project: Path, tmp_path: Path) -> None:
    found = collect(tmp_path / "out", "3.12", ["Alpha", "torch"])
    assert [each.name for each in found] == ["product_matcher"]


@pytest.mark.slow
def test_collect_missing_package_keeps_earlier_wheels(project: Path, tmp_path: Path) -> None:
    (tmp_path / "index" / "beta_two-1.0-py3-none-any.whl").unlink()
    old = wheel(tmp_path / "out", "alpha", "0.9")
    with pytest.raises(MatcherError, match=r"(?s)pip download failed:.*alpha 1.0 depends on beta-two"):
        collect(tmp_path / "out", "3.12")
    assert list((tmp_path / "out").iterdir()) == [old]


@pytest.mark.slow
def test_collect_incomplete_folder_is_an_error(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = wheels._pip

    def lossy(name: str, *arguments: str, **options: Any) -> None:
        pip(name, *arguments, **options)
        for folder in (each.partition("=")[2] for each in arguments if each.startswith("--dest=")):
            next(Path(folder).glob("beta_two-*")).unlink()

    monkeypatch.setattr(wheels, "_pip", lossy)
    with pytest.raises(MatcherError, match=r"(?s)pip install failed:.*alpha 1.0 depends on beta-two"):
        collect(tmp_path / "out", "3.12")


def test_build_sees_a_copy_of_the_sources_alone(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (project / "build").mkdir()
    seen: list[str] = []

    def pip(name: str, *arguments: str) -> None:
        copy = Path(arguments[-1])
        seen.extend(sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()))
        write_empty_wheel(tmp_path, "product_matcher", "0.1.0")

    monkeypatch.setattr(wheels, "_pip", pip)
    assert wheels._build(project, tmp_path / "copy", tmp_path).name == "product_matcher-0.1.0-py3-none-any.whl"
    sources = [f"{folder}/__init__.py" for folder in ("branches", "ensemble", "shared")]
    assert seen == ["README.md", *sources[:2], "pyproject.toml", *sources[2:]]


def test_every_source_of_the_project_is_there() -> None:
    assert [name for name in (*wheels.SOURCES, ".constraints.txt") if not (wheels.ROOT / name).exists()] == []
    assert set(wheels.LEFT_OUT) <= set(wheels._pinned(wheels.ROOT))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says that it does not do."""
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_unknown_package_to_leave_out(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    said = refused(capsys, "--out", out, "--python", "3.12", "--leave-out", "torch, gamma,Delta")
    assert "--leave-out: delta, gamma: not a package of" in said


@pytest.mark.parametrize("python", ["3", "312", "3.12.1", "cp312"])
def test_python_that_is_no_version(python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--out", str(tmp_path / "out"), "--python", python)
    assert f"--python: '{python}' is not a version such as 3.12" in said


def test_installed_project_cannot_collect(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".constraints.txt").unlink()
    said = refused(capsys, "--out", str(tmp_path / "out"), "--python", "3.12")
    assert "is not the project's own folder; call this command in a checkout" in said


def test_wheels_are_not_written_into_the_sources(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--out", str(project / "shared" / "wheels"), "--python", "3.12")
    assert "lies within the project" in said


def test_python_without_pip(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    said = refused(capsys, "--out", str(tmp_path / "out"), "--python", "3.12")
    assert "has no pip; python -m ensurepip installs it" in said


def test_wheels_in_sorts_by_name(tmp_path: Path) -> None:
    for name in ("Zebra", "apple"):
        wheel(tmp_path, name, "1.0")
    assert [each.name for each in wheels_in(tmp_path)] == ["apple", "Zebra"]
