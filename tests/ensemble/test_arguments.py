"""Every command with arguments that cannot be right: one message, the exit code of a mistake, no traceback."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from branches import registry
from branches.cli import main_embed, main_train
from shared.pipeline.run import MANIFEST

Call = Callable[..., tuple[int, str, str]]

STEPS = [f"ensemble.{step}" for step in ("candidates", "features", "train", "tune", "score", "evaluate")]
OTHERS = ["ensemble", *(f"ensemble.{name}" for name in ("match", "report", "review", "explain", "search"))]
STUDIES = ["ensemble.ablation", "ensemble.transfer"]
LEARNERS = [f"branches.{name}.train" for name in registry.names() if registry.get(name).learns]
EMBEDDERS = [f"branches.{name}.embed" for name in registry.names()]
OF_A_RUN = [*STEPS, *OTHERS, *STUDIES, *LEARNERS, *EMBEDDERS, "ensemble.bundle --out {new}"]
OF_A_RUN += [f"ensemble.answers {name}" for name in ("export --out {new}", "contradictions", "labels --out {new}")]
ALL = [*OF_A_RUN, *(f"ensemble.index {name} --index {{new}}" for name in ("add", "rebuild", "query", "remove"))]


@pytest.fixture
def command(command: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process, one of a branch too; returns its exit code and what it wrote to the streams."""

    def call(module: str, *arguments: object) -> tuple[int, str, str]:
        if not module.startswith("branches."):
            return command(module, *arguments)
        _, branch, step = module.split(".")
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        return ({"train": main_train, "embed": main_embed}[step](branch), *capsys.readouterr())

    return call


def refused(command: Call, line: str, *arguments: object, folder: Path) -> tuple[int, str]:
    """Call a command; return its exit code and message, which must be one."""
    module, *words = line.format(new=folder / "new").split()
    try:
        code, output, errors = command(module, *words, *arguments)
    except SystemExit as end:
        code, output, errors = int(str(end.code)), "", "error: see its usage"  # argparse has said it
    assert "Traceback" not in output + errors
    assert code in (2, 3), f"{output}\n{errors}"
    return code, errors


@pytest.mark.parametrize("line", ALL)
@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["--nonsense"],
            ["no", "such", "word"],
            ["--compute.threads"],
            ["--compute.threads=many"],
            ["--compute.threads=-1"],
        ),
        *(["--compute.thread=1"], ["--nowhere.x=1"], ["--run"], ["--config", "{missing}"], ["--=1"], ["--.=1"]),
        ["--config", "{folder}"],
    ],
    ids=" ".join,
)
def test_wrong_options(command: Call, tmp_path: Path, line: str, arguments: list[str]) -> None:
    given = [each.format(missing=tmp_path / "none.yaml", folder=tmp_path) for each in arguments]
    run = [] if arguments == ["--run"] else ["--run", tmp_path / "run"]
    code, _ = refused(command, line, *run, *given, folder=tmp_path)
    assert code == 2
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "new").exists()


def file_in_the_way(run: Path) -> None:
    run.write_text("mine")


def below_a_file(run: Path) -> None:
    run.parent.rmdir()
    run.parent.write_text("mine")


def damaged_settings(run: Path) -> None:
    run.mkdir()
    (run / "settings.json").write_text("[")


def settings_of_another_version(run: Path) -> None:
    run.mkdir()
    (run / "settings.json").write_text(json.dumps({"tune": {"treshold": 1}, "old": {"x": 1}, "compute": {"cores": 2}}))


def listed_settings(run: Path) -> None:
    run.mkdir()
    (run / "settings.json").write_text(json.dumps({"compute": [1, 2]}))


RUNS = [file_in_the_way, below_a_file, damaged_settings, settings_of_another_version, listed_settings]


@pytest.mark.fault(18, 20)
@pytest.mark.parametrize("line", OF_A_RUN)
@pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)
def test_folder_that_is_no_run(command: Call, tmp_path: Path, line: str, make: Callable[[Path], None]) -> None:
    run = tmp_path / "above" / "run"
    run.parent.mkdir()
    make(run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused(command, line, "--run", run, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


NEED_A_RUN = [f"ensemble.{name}" for name in ("report", "review", "explain", "transfer", "bundle --out {new}")]
NEED_A_RUN += [f"ensemble.answers {name}" for name in ("contradictions", "labels --out {new}")]


@pytest.mark.parametrize("line", NEED_A_RUN)
@pytest.mark.parametrize("kind", ["missing", "empty", "empty manifests"])
def test_run_without_what_is_needed(command: Call, tmp_path: Path, line: str, kind: str) -> None:
    run = tmp_path / "run"
    if kind != "missing":
        run.mkdir()
    if kind == "empty manifests":
        for stage in ("matches", "ensemble/decision", "ensemble/scorer", "pools/catalog", "catalog/train"):
            (run / stage).mkdir(parents=True)
            (run / stage / MANIFEST).write_text("{}")
    code, _ = refused(command, line, "--run", run, folder=tmp_path)
    assert code in (2, 3)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", ["nowhere", "empty", "x\0y"])
@pytest.mark.parametrize("line", ["ensemble", "ensemble.match --out {new}", *LEARNERS, *STEPS])
def test_data_that_is_not_there(command: Call, tmp_path: Path, line: str, data: str) -> None:
    (tmp_path / "empty").mkdir()
    code, errors = refused(command, line, "--run", tmp_path / "run", "--data", tmp_path / data, folder=tmp_path)
    assert code in (2, 3)
    assert errors.startswith("error: ")
    assert not (tmp_path / "run").exists()
