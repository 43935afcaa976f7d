"""Options and paths that a command takes: what is refused, what is remembered, and in which spelling."""

from pathlib import Path
from typing import Any

import pytest

from branches.benchmark import main as main_benchmark
from ensemble.answers.__main__ import commands as answer_commands
from ensemble.index.__main__ import commands as index_commands
from shared.catalog.config import DataConfig
from tests.shared.pipeline.test_cli import SECTIONS, call, command, raises, seen

pytestmark = pytest.mark.usefixtures("sigterm")
UNWANTED = raises(AssertionError("not to be done"))


def test_run_folder_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command(UNWANTED).run(["--run", ""])
    assert end.value.code == 2
    assert "argument --run: it names no folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--data=", "--data= ", "--data.path=", "--data=[a, '']"])
def test_catalog_without_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert call(tmp_path / "run", option, body=UNWANTED) == 2
    assert "--data (data.path) is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--shard=1/2"],
        ["--engine=processes", "--workers=2"],
        ["--workers=2"],
        ["--cluster=x"],
        ["--force"],
        ["--patience=5"],
    ],
)
def test_option_that_does_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    kind: dict[str, Any] = {"stages": "shared", "holds": lambda arguments: arguments.data is None}
    assert call(tmp_path / "run", *options, "--data=x", body=UNWANTED, **kind) == 2
    shown = capsys.readouterr().err
    assert f"{options[0].partition('=')[0]} does nothing here" in shown
    assert all(option.partition("=")[0] in shown for option in options)
    assert call(tmp_path / "run", "--data=x", **kind) == 0


def test_force_is_offered_only_where_it_does_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path / "run", "--force", body=UNWANTED, force=False) == 2
    assert "cannot read '--force'" in capsys.readouterr().err
    assert not any(each.force for each in (*index_commands().values(), *answer_commands().values()))
    assert main_benchmark(["image", "--force"]) == 2
    assert "cannot read '--force'" in capsys.readouterr().err


# --- paths -----------------------------------------------------------------------------------------------------------


def test_catalog_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "sub").mkdir()
    spellings = set()
    for here, data in ((tmp_path, "shop"), (tmp_path / "sub", "../shop"), (tmp_path, "./sub/..//shop/")):
        monkeypatch.chdir(here)
        spellings.add(str(seen(tmp_path / "run", "--data", data)[DataConfig].path))
    assert spellings == {str(tmp_path / "shop")}


def test_catalog_above_a_link_is_not_that_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "a")
    monkeypatch.chdir(tmp_path)
    assert seen(tmp_path / "run", "--data", "link/../shop")[DataConfig].path == str(tmp_path / "link/../shop")
    assert seen(tmp_path / "run", "--data", "link")[DataConfig].path == str(tmp_path / "link")


@pytest.mark.parametrize(("section", "key"), [("image", "backbone"), ("distilbert", "model")])
def test_folder_of_weights_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, key: str
) -> None:
    (tmp_path / "weights" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("weights/mine", "~/weights/mine", "../" + tmp_path.name + "/weights/mine"):
        settings = seen(tmp_path / "run", f"--{section}.{key}={given}")
        assert settings[SECTIONS[section]].model_dump()[key] == str(tmp_path / "weights" / "mine")
    assert seen(tmp_path / "run", f"--{section}.{key}=some/name").values[section][key] == "some/name"
