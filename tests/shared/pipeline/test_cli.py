import argparse
import errno
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import branches.stages
from branches.ablation import main_ablate
from branches.benchmark import main_speed
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.config import ConfigSection
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.cli import command
from shared.pipeline.run import ROOT, Run
from shared.pipeline.settings import Settings, branch_names, section_classes

Does = Callable[[Run, Settings, argparse.Namespace], None]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command takes over SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def nothing(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
    pass


def call(run: Path, *arguments: str, body: Does = nothing, **options: Any) -> int:
    argv = ["--run", str(run), *arguments]
    return command(body, "Does something.", ["split"], usage="python -m something", argv=argv, **options)


def seen(run: Path, *arguments: str) -> Settings:
    """The settings that a command's body gets; the run remembers them."""
    found: list[Settings] = []

    def body(run: Run, settings: Settings, _: argparse.Namespace) -> None:
        found.append(settings)
        run.remember(settings.values)

    assert call(run, *arguments, body=body) == 0
    return found[0]


def raises(error: BaseException) -> Does:
    def body(*_: object) -> None:
        raise error

    return body


# --- settings --------------------------------------------------------------------------------------------------------


def test_defaults_then_remembered_then_config_then_arguments(tmp_path: Path) -> None:
    run, config = tmp_path / "run", tmp_path / "c.yaml"
    config.write_text("split:\n  folds: 4\n")

    def split(*arguments: str) -> tuple[int, float]:
        section = seen(run, *arguments)[SplitConfig]
        return section.folds, section.holdout

    assert split() == (2, 0.2)
    assert split("--split.folds=3", "--split.holdout=0.3") == (3, 0.3)
    assert split() == (3, 0.3)
    assert split("--config", str(config)) == (4, 0.3)
    assert split("--config", str(config), "--split.folds=5") == (5, 0.3)
    assert split() == (5, 0.3)


def test_data_on_the_command_line_wins_over_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data:\n  path: /of/config\n  id_column: sku\n")

    def data(*arguments: str) -> tuple[str, str]:
        section = seen(tmp_path / "run", "--config", str(config), *arguments)[DataConfig]
        return section.path, section.id_column

    assert data() == ("/of/config", "sku")
    assert data("--data", "/of/argument") == ("/of/argument", "sku")
    assert data("--data", "/of/argument", "--data.path=/longer") == ("/longer", "sku")


def test_a_path_is_remembered_so_that_it_holds_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert seen(tmp_path / "run", "--data", "x")[DataConfig].path == str(tmp_path / "x")
    assert seen(tmp_path / "run")[DataConfig].path == str(tmp_path / "x")
    assert seen(tmp_path / "run", "--data=~/a b")[DataConfig].path == "/home/somebody/a b"
    assert seen(tmp_path / "run", "--data=~no-such-user/x")[DataConfig].path == str(tmp_path / "~no-such-user/x")
    assert seen(tmp_path / "run", "--data", "demo")[DataConfig].path == "demo"


def test_paths_of_more_training_data_hold_in_any_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    extra = seen(tmp_path / "run", "--image.extra=more,/else.csv").branch("image").model_dump()["extra"]
    assert extra == [str(tmp_path / "more"), "/else.csv"]


def test_the_image_folder_of_other_data_is_forgotten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert seen(run, "--data=/x", "--data.images=pictures", "--data.id_column=sku")[DataConfig].images == "pictures"
    assert seen(run)[DataConfig].images == "pictures"
    section = seen(run, "--data=/y")[DataConfig]
    assert (section.images, section.id_column) == ("", "sku")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split.fold=3"], "there is no setting split.fold; did you mean 'folds'?"),
        (["--spilt.folds=3"], "there is no section 'spilt'; did you mean 'split'?"),
        (["--split.folds=1", "--split.holdout=x"], "settings: 2 faults"),
        (["--split.folds", "3"], "cannot read '--split.folds'"),
        (["train"], "cannot read 'train'"),
        (["--config", "/no/such.yaml"], "cannot read the settings file /no/such.yaml: No such file"),
        (["--ensemble.branches=[tfidf"], "a list is written a,b or [a, b]"),
    ],
)
def test_bad_settings_end_in_one_message_and_no_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(tmp_path / "run", *arguments, body=raises(AssertionError("not to be done"))) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["5", "null", "[a]", "2024-01-01"])
def test_a_data_path_that_is_no_text_is_a_bad_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    (tmp_path / "c.yaml").write_text(f"data:\n  path: {path}\n")
    assert call(tmp_path / "run", "--config", str(tmp_path / "c.yaml")) == 2
    assert "data.path=" in capsys.readouterr().err


def test_a_path_of_odd_bytes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"/caf\xe9")
    assert call(tmp_path / "run", "--data", odd, body=lambda run, settings, _: run.remember(settings.values)) == 2
    assert "is not text in UTF-8" in capsys.readouterr().err


def test_damaged_remembered_settings_end_in_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text("{")
    assert call(tmp_path) == 3
    assert "settings.json is damaged" in capsys.readouterr().err


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MatcherError("bad input"), 2, "error: bad input\n"),
        (ArtifactError("bad file"), 3, "error: bad file\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted; the same command goes on from here\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "error: /x: No space left on device; "),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: cannot write a file: No space left on device; "),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: /x: Permission denied; "),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "error: /x: Read-only file system; "),
    ],
)
def test_an_error_becomes_one_message_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert call(tmp_path, body=raises(error)) == code
    shown = capsys.readouterr().err
    assert shown.startswith(message)
    assert shown.count("\n") == message.count("\n") + (not message.endswith("\n"))


@pytest.mark.parametrize("error", [ValueError("bug"), FileNotFoundError(errno.ENOENT, "bug"), AssertionError("bug")])
def test_a_bug_is_not_dressed_up_as_a_users_mistake(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match="bug"):
        call(tmp_path, body=raises(error))


def test_a_terminated_command_ends_as_an_interrupted_one(tmp_path: Path) -> None:
    def body(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert call(tmp_path, body=body) == 130


def test_the_body_holds_the_run_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner: list[int] = []

    def body(*_: object) -> None:
        inner.append(call(tmp_path / "run"))

    assert call(tmp_path / "run", body=body) == 0
    assert inner == [2]
    assert f"is in use by process {os.getpid()} on" in capsys.readouterr().err


FULL = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from shared.pipeline.cli import command
from shared.pipeline.run import write_json
from shared.schema import Embeddings, PairFeatures

unit = Embeddings(np.eye(200, dtype=np.float32), np.ones(200, dtype=bool))
left, right = (side.astype(np.int32) for side in np.triu_indices(300, 1))
noise = np.random.default_rng(0).random(len(left), dtype=np.float32)
pairs = PairFeatures(300, left, right, pd.DataFrame({"f": noise}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for save in (unit.save, pairs.save, lambda path: write_json(path, "x" * 60_000)):
    def body(run, settings, arguments):
        run.stage("a", "shared.errors", {}, {"n": arguments.run.name}, lambda out: save(out / "file") or {})
    print(command(body, "", [], usage="x", argv=["--run", sys.argv[1]]))
    print((Path(sys.argv[1]) / "a").exists())
"""


@pytest.mark.slow
def test_a_file_that_cannot_be_written_whole_is_an_error_whatever_writes_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "run"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["2", "False"] * 3, done.stderr
    assert done.stderr.count("File too large") == 3
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_users_mistake_on_the_real_command_line_gives_no_traceback(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--run", str(run), "--data", str(tmp_path / "nowhere")]
    done = subprocess.run(
        [sys.executable, "-m", "branches.phash.candidates", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'nowhere'}: no such file or folder\n"
    assert list(tmp_path.iterdir()) == []


# --- help ------------------------------------------------------------------------------------------------------------


COMMANDS = [
    *(f"branches.{n}.{p.stem}" for n in branch_names() for p in (ROOT / "branches" / n).glob("[atecs]*.py")
      if p.stem in ("train", "embed", "candidates", "ablate", "speed")),
    "ensemble.__main__",
    "ensemble.ablation.study",
    "ensemble.search",
    "ensemble.bundle.pack",
    "ensemble.candidates",
    "ensemble.features.__main__",
    "ensemble.scorer.training",
    "ensemble.decision.tuning",
    "ensemble.evaluate",
    "ensemble.match",
]  # fmt: skip


def shown_help(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    if module.startswith("branches."):
        _, name, step = module.split(".")
        mains = {"ablate": partial(main_ablate, name, {}), "speed": partial(main_speed, name, argparse, argparse)}
        main = mains.get(step) or partial(getattr(branches.stages, f"main_{step}"), name)
    else:
        main = importlib.import_module(module).main
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_tells_its_usage_options_and_settings(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown_help(module, monkeypatch, capsys)
    typed = "./run_all.sh" if module == "ensemble.__main__" else f"python -m {module.removesuffix('.__main__')}"
    assert text.startswith(f"usage: {typed} ")
    for option in ("--run RUN", "--data DATA", "--config CONFIG", "--force"):
        assert option in text
    section: type[ConfigSection] = section_classes()[module.split(".")[1]] if "branches" in module else SplitConfig
    if "branches" in module:
        assert all(f"  --{module.split('.')[1]}.{key}=" in text for key in section.model_fields)
    assert "  --compute.threads=0\n" in text


def test_the_whole_job_lists_every_setting_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown_help("ensemble.__main__", monkeypatch, capsys)
    for name, cls in section_classes().items():
        assert all(f"  --{name}.{key}=" in text for key in cls.model_fields), name


def test_every_module_that_is_a_command_is_among_those_tested() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("branches", "ensemble")
        for path in (ROOT / room).rglob("*.py")
        if "raise SystemExit(main" in path.read_text(encoding="utf-8")
    }
    assert found == set(COMMANDS)
