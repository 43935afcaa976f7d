"""What all commands share: options, settings, errors, exit codes, help."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from branches import cli as branch_cli
from branches.ablation import main as main_ablation
from branches.benchmark import main as main_benchmark
from ensemble import sections as ensemble_sections
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.cli import Arguments, Command, run_subcommand
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from tests.support.paths import ROOT

SECTIONS = ensemble_sections.sections()
pytestmark = pytest.mark.usefixtures("sigterm")
Body = Callable[[RunFolder, Settings, Arguments], object]


def nothing(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    pass


def command(body: Body = nothing, **options: Any) -> Command:
    return Command(
        "python -m something", "Does something.", options.pop("sections", SECTIONS), ["split"], body, **options
    )


def call(run: Path, *arguments: str, body: Body = nothing, **options: Any) -> int:
    return command(body, **options).run(["--run", str(run), *arguments])


def seen(run: Path, *arguments: str, **options: Any) -> Settings:
    """The settings that a command's body gets; the run remembers them."""
    found: list[Settings] = []

    def body(run: RunFolder, settings: Settings, _: Arguments) -> None:
        found.append(settings)
        run.remember(settings.values)

    assert call(run, *arguments, body=body, **options) == 0
    return found[0]


def raises(error: BaseException) -> Body:
    def body(*_: object) -> None:
        raise error

    return body


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_defaults_remembered_config_arguments(tmp_path: Path) -> None:
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


def test_settings_data_over_config(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data:\n  path: /of/config\n  id_column: sku\n")

    def data(*arguments: str) -> tuple[str, str]:
        section = seen(tmp_path / "run", "--config", str(config), *arguments)[DataConfig]
        return str(section.path), section.id_column

    assert data() == ("/of/config", "sku")
    assert data("--data", "/of/argument") == ("/of/argument", "sku")
    assert data("--data", "/of/argument", "--data.path=/longer") == ("/longer", "sku")


@pytest.mark.parametrize(("beside_the_data", "remembered"), [(True, "pics"), (False, "{here}/pics")])
def test_settings_image_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside_the_data: bool, remembered: str
) -> None:
    run, here, data = tmp_path / "run", tmp_path / "here", tmp_path / "data"
    for folder in (here / "pics", data / "pics" if beside_the_data else data):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    seen(run, "--data", str(data))
    assert seen(run, "--data.images=pics")[DataConfig].images == remembered.format(here=here)


def test_settings_data_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert seen(tmp_path / "run", "--data", "x")[DataConfig].path == str(tmp_path / "x")
    assert seen(tmp_path / "run")[DataConfig].path == str(tmp_path / "x")
    assert seen(tmp_path / "run", "--data=~/a b")[DataConfig].path == "/home/somebody/a b"
    assert seen(tmp_path / "run", "--data=~no-such-user/x")[DataConfig].path == str(tmp_path / "~no-such-user/x")
    assert seen(tmp_path / "run", "--data", "demo")[DataConfig].path == "demo"


@pytest.mark.parametrize("text", ["x,demo,~/y", "[x, demo, ~/y]", "x,demo,~/y,"])
def test_settings_several_catalogs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    paths = [str(tmp_path / "x"), "demo", "/home/somebody/y"]
    assert seen(tmp_path / "run", "--data", text)[DataConfig].paths == paths
    assert seen(tmp_path / "run")[DataConfig].paths == paths
    assert seen(tmp_path / "run", f"--data.path={text}")[DataConfig].paths == paths


def test_settings_path_that_holds_a_comma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    assert seen(tmp_path / "run", "--data", "a,b")[DataConfig].path == str(tmp_path / "a,b")
    assert seen(tmp_path / "run", "--data", "a,")[DataConfig].path == str(tmp_path / "a")
    assert seen(tmp_path / "run", "--data", "a,c")[DataConfig].paths == [str(tmp_path / "a"), str(tmp_path / "c")]


def test_settings_image_folder_beside_one_of_several_catalogs(tmp_path: Path) -> None:
    (tmp_path / "two" / "pics").mkdir(parents=True)
    data = f"--data={tmp_path / 'one.csv'},{tmp_path / 'two'}"
    assert seen(tmp_path / "run", data, "--data.images=pics")[DataConfig].images == "pics"


def test_settings_several_catalogs_of_a_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data:\n  path: [/one, demo]\n")
    assert seen(tmp_path / "run", "--config", str(config))[DataConfig].paths == ["/one", "demo"]


def test_settings_extra_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = seen(tmp_path / "run", "--image.extra=more,/else.csv")
    assert settings[SECTIONS["image"]].model_dump()["extra"] == [str(tmp_path / "more"), "/else.csv"]


def test_settings_image_folder_of_other_data_is_forgotten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert seen(run, "--data=/x", "--data.images=pictures", "--data.id_column=sku")[DataConfig].images == "pictures"
    assert seen(run)[DataConfig].images == "pictures"
    section = seen(run, "--data=/y")[DataConfig]
    assert (section.images, section.id_column) == ("", "sku")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split.fold=3"], "there is no setting split.fold; did you mean 'folds'?"),
        (["--spilt.folds=3"], "spilt.folds is not a setting of this command; did you mean 'split'?"),
        (["--split.folds=1", "--split.holdout=x"], "settings: 2 faults"),
        (["--split.folds", "3"], "cannot read '--split.folds'"),
        (["train"], "cannot read 'train'"),
        (["--config", "/no/such.yaml"], "cannot read the settings file /no/such.yaml: No such file"),
        (["--ensemble.branches=[tfidf"], "a list is written a,b or [a, b]"),
    ],
)
def test_bad_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert call(tmp_path / "run", *arguments, body=raises(AssertionError("not to be done"))) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["5", "null", "[]", "[a, 5]", "2024-01-01"])
def test_bad_settings_data_path_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    (tmp_path / "c.yaml").write_text(f"data:\n  path: {path}\n")
    assert call(tmp_path / "run", "--config", str(tmp_path / "c.yaml")) == 2
    assert "data.path=" in capsys.readouterr().err


def test_bad_settings_path_of_odd_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"/caf\xe9")
    assert call(tmp_path / "run", "--data", odd, body=lambda run, settings, _: run.remember(settings.values)) == 2
    assert "is not valid UTF-8" in capsys.readouterr().err


def test_bad_settings_damaged_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text("{")
    assert call(tmp_path) == 3
    assert "settings.json is damaged" in capsys.readouterr().err


# --- sections that a command carries along ---------------------------------------------------------------------------

OF_BRANCHES = branch_cli.sections()


def test_carried_sections_are_remembered(tmp_path: Path) -> None:
    run = tmp_path / "run"
    seen(run, "--scorer.rounds=7")
    settings = seen(run, "--image.epochs=1", sections=OF_BRANCHES, carry=True)
    assert settings.values == {"scorer": {"rounds": "7"}, "image": {"epochs": "1"}}
    with pytest.raises(KeyError):
        settings[SECTIONS["scorer"]]
    assert seen(run)[SECTIONS["scorer"]].model_dump()["rounds"] == 7


def test_sections_of_a_file_that_are_not_known_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("tune:\n  thresholds: 5\nimage:\n  epochs: 1\n")
    settings = seen(tmp_path / "run", "--config", str(config), sections=OF_BRANCHES, carry=True)
    assert settings.values == {"image": {"epochs": 1}}
    assert f"{config}: not read by this command: tune; " in capsys.readouterr().out


def test_sections_of_a_file_are_refused_unless_carried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("scorer:\n  rounds: 7\n")
    assert call(tmp_path / "run", "--config", str(config), sections=OF_BRANCHES) == 2
    assert "there is no section 'scorer'" in capsys.readouterr().err
    assert call(tmp_path / "run", "--config", str(config), sections=OF_BRANCHES, carry=True) == 0


def test_carried_sections_are_refused_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path / "run", "--scorer.rounds=7", sections=OF_BRANCHES, carry=True) == 2
    assert "scorer.rounds is not a setting of this command; " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_branch_commands_carry_the_sections_of_the_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.json").write_text('{"scorer": {"rounds": 7}}')
    ours = ["--run", str(tmp_path), "--data", str(tmp_path / "nowhere")]
    mains = [partial(branch_cli.main_embed, "tfidf"), partial(branch_cli.main_train, "image")]
    for main in (*mains, partial(main_ablation, None), partial(main_benchmark, None)):
        named = ["image"] if main.func in (main_ablation, main_benchmark) else []
        given = [*ours, "--out", str(tmp_path.with_name("out"))] if main.args == ("tfidf",) else ours
        for arguments, message in ((given, "no such file or folder"), ([*given, "--scorer.rounds=8"], "not a setting")):
            monkeypatch.setattr(sys, "argv", ["x", *named, *arguments])
            assert main() == 2
            assert message in capsys.readouterr().err


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MatcherError("bad input"), 2, "error: bad input\n"),
        (ArtifactError("bad file"), 3, "error: bad file\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted; run the same command again to continue\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "error: /x: No space left on device; "),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: cannot write a file: No space left on device; "),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: /x: Permission denied; "),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "error: /x: Read-only file system; "),
    ],
)
def test_error_message_and_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert call(tmp_path, body=raises(error)) == code
    shown = capsys.readouterr().err
    assert shown.startswith(message)
    assert shown.count("\n") == message.count("\n") + (not message.endswith("\n"))


@pytest.mark.parametrize("error", [ValueError("bug"), FileNotFoundError(errno.ENOENT, "bug"), AssertionError("bug")])
def test_error_that_is_a_bug(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match="bug"):
        call(tmp_path, body=raises(error))


def test_terminated(tmp_path: Path) -> None:
    def body(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert call(tmp_path, body=body) == 143


def test_body_holds_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner: list[int] = []

    def body(*_: object) -> None:
        inner.append(call(tmp_path / "run"))

    assert call(tmp_path / "run", body=body) == 0
    assert inner == [2]
    assert f"is in use by process {os.getpid()} on" in capsys.readouterr().err


def test_reading_command_does_not_lock_the_run(tmp_path: Path) -> None:
    inner: list[int] = []

    def body(*_: object) -> None:
        inner.append(call(tmp_path / "run", holds=lambda arguments: False))

    assert call(tmp_path / "run", body=body) == 0
    assert inner == [0]


FULL = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from shared.artifacts import write_json
from shared.compute import ComputeConfig
from shared.pipeline.cli import Command
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.stage import Stage
from shared.schema import PairFeatures, Embeddings

unit = Embeddings(np.eye(200, dtype=np.float32), np.ones(200, dtype=bool))
left, right = (side.astype(np.int32) for side in np.triu_indices(300, 1))
noise = np.random.default_rng(0).random(len(left), dtype=np.float32)
pairs = PairFeatures(300, left, right, pd.DataFrame({"f": noise}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for save in (unit.save, pairs.save, lambda path: write_json(path, "x" * 60_000)):
    def work(inputs, config, out):
        save(out / "file")
        return {}
    def body(run, settings, arguments):
        bring_stage_up_to_date(run, settings, Stage("a", work, code=()))
    print(Command("x", "", {"compute": ComputeConfig}, [], body).run(["--run", sys.argv[1]]))
    print((Path(sys.argv[1]) / "a").exists())
"""


@pytest.mark.fault(18)
@pytest.mark.slow
def test_full_disk_whatever_writes(tmp_path: Path) -> None:
    (tmp_path / "full.py").write_text(FULL)  # a file, since the source of a stage's work is part of its key
    line = [sys.executable, tmp_path / "full.py", tmp_path / "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["2", "False"] * 3, done.stderr
    assert done.stderr.count("File too large") == 3
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_missing_data_on_the_real_command_line(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "branches.phash.embed", "--run", tmp_path / "run", "--data", tmp_path / "nowhere"]
    done = subprocess.run([*map(str, line), "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'nowhere'}: no such file or folder\n"
    assert list(tmp_path.iterdir()) == []


def test_commands_without_followers_refuse_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shared.processes.connect", nullcontext)
    monkeypatch.setattr("shared.processes.size", lambda: 2)
    assert call(tmp_path / "run", body=raises(AssertionError("not to be done"))) == 2
    assert "only branches.<name>.train runs under torchrun" in capsys.readouterr().err


# --- commands of one module ------------------------------------------------------------------------------------------


def test_run_subcommand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[str] = []
    commands = {name: command(lambda *_, name=name: ran.append(name)) for name in ("one", "other")}
    given = ["--run", str(tmp_path / "run")]
    assert run_subcommand("python -m x", commands, ["other", *given]) == 0
    assert ran == ["other"]
    for arguments, code in ((["third"], 2), ([], 2), (["--help"], 0)):
        assert run_subcommand("python -m x", commands, arguments) == code
        assert "python -m x other" in capsys.readouterr().err
