"""Stages that are brought up to date: settings that a run remembers, memory, and folders that are not the run's."""

import json
import shutil
from pathlib import Path

import pytest

from shared.errors import MatcherError
from shared.memory import Need
from shared.pipeline.catalog_stages import catalog_stages, sources_of
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph
from shared.pipeline.update import update_stages
from tests.support.catalog_runs import settings_of, update

# --- settings that are remembered ------------------------------------------------------------------------------------


def test_settings_that_a_stage_refuses_are_not_remembered(demo_folder: Path, tmp_path: Path) -> None:
    update(tmp_path / "run", settings_of(demo_folder), ["split"])
    before = remembered(tmp_path / "run")
    with pytest.raises(MatcherError, match="20 folds and a holdout need 21 products"):
        update(tmp_path / "run", settings_of(demo_folder, split={"folds": 20}), ["split"])
    assert remembered(tmp_path / "run") == before


def test_settings_are_remembered_once_the_catalog_is_sound(demo_folder: Path, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", settings_of(demo_folder)
    update(run, settings, [])
    assert remembered(run) == settings.values
    table = tmp_path / "faulty.csv"
    table.write_text("posting_id,title\na,red mug\na,fan\n")
    with pytest.raises(MatcherError, match=r"faulty.csv"):
        update(run, settings_of(table), [])
    assert remembered(run) == settings.values


def test_missing_data_leaves_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match="nowhere: no such file or folder"):
        update(tmp_path / "run", settings_of(tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


def test_settings_that_a_stage_refuses_are_not_remembered_by_a_run_without_settings(
    demo_folder: Path, tmp_path: Path
) -> None:
    settings = settings_of(demo_folder)
    update(tmp_path / "run", settings, ["split"])
    RunFolder(tmp_path / "run").remember({})
    with pytest.raises(MatcherError, match="20 folds"):
        update(tmp_path / "run", settings_of(demo_folder, split={"folds": 20}), ["split"])
    assert json.loads((tmp_path / "run" / "settings.json").read_text()) == {}


def test_settings_of_a_measurement_are_remembered_by_a_new_run_alone(demo_folder: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", settings_of(demo_folder, split={"folds": 2})
    update(run, settings_of(demo_folder), ["split"], measures=True)
    assert remembered(run) == settings_of(demo_folder).values
    assert update(run, other, ["split"], measures=True) == ["split"]
    assert remembered(run) == settings_of(demo_folder).values
    with pytest.raises(MatcherError, match="20 folds"):
        update(run, settings_of(demo_folder, split={"folds": 20}), ["split"], measures=True)
    assert remembered(run) == settings_of(demo_folder).values


# --- folders that are not the run's ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["catalog/train", "catalog/train.work/deep", "split.old", "demo.work"])
def test_catalog_in_the_place_of_a_stage_is_refused(demo_folder: Path, tmp_path: Path, place: str) -> None:
    data = tmp_path / "run" / place
    shutil.copytree(demo_folder, data)
    for sign in ("manifest.json", "key"):
        (data / sign).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    names = {"data": {"path": [str(data), "demo"]}} if place == "demo.work" else {}
    with pytest.raises(MatcherError, match="is written, which would replace it; name another run folder with --run"):
        update(tmp_path / "run", settings_of(data, **names))
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_of_the_user_in_the_place_of_a_stage_is_refused(demo_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "catalog" / "train"
    shutil.copytree(demo_folder, data)
    before = sorted(tmp_path.rglob("*"))
    for folder in (data, demo_folder):
        with pytest.raises(MatcherError, match=r"would replace"):
            update(tmp_path, settings_of(folder))
    assert sorted(tmp_path.rglob("*")) == before


def test_catalog_beside_the_stages_of_a_run(demo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_folder, tmp_path / "run" / "catalog" / "mine")
    update(tmp_path / "run", settings_of(tmp_path / "run" / "catalog" / "mine"), ["split"])
    assert (tmp_path / "run" / "catalog" / "mine" / "train.csv").exists()


# --- memory ----------------------------------------------------------------------------------------------------------


def test_stage_that_will_not_fit_into_memory_is_told_once_and_beforehand(demo_folder: Path, tmp_path: Path) -> None:
    settings, lines, asked = settings_of(demo_folder), list[str](), list[int]()

    def need_of(stage: str, listings: int, _: Settings) -> Need | None:
        asked.append(listings)
        return {"split": Need(1e15, "less of it"), "pools/fold0": Need(2e15, "a smaller fold")}.get(stage)

    run = RunFolder(tmp_path / "run", say=lines.append)
    graph = Graph(catalog_stages(run, settings, sources_of(run, settings)))
    update_stages(run, settings, graph, list(graph), need_of=need_of)
    told = [line for line in lines if "of memory" in line]
    assert [line.split()[0] for line in told] == ["pools/fold0"]
    assert "a smaller fold" in told[0]
    assert lines.index(told[0]) < lines.index(next(line for line in lines if line.startswith("split")))
    assert set(asked) == {40}
    lines.clear()
    update_stages(run, settings, graph, list(graph), need_of=need_of)
    assert not [line for line in lines if "of memory" in line]  # nothing is left to do
