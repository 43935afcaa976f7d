"""What encoders learn from beside the catalog, through the stages of a run."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from branches import registry
from branches.cli import branch_graph, sections
from shared.catalog.extra_data import Extra
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import SPLIT, TRAIN
from shared.pipeline.pools import ALL, load_catalog, load_split, training_rows
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.update import update_stages
from shared.schema import Catalog
from tests.support.tables import write_image

HEADER = "image_id class_id super_class_id path"
ENCODERS = [f"image/encoder/{name}" for name in ("fold0", "fold1", ALL)]


def products(folder: Path) -> Path:
    """Four images of two products in the layout of Stanford Online Products."""
    names = [
        "mug_final/111085122871_0.JPG",
        "mug_final/111085122871_1.JPG",
        "fan_final/281465231240_0.JPG",
        "fan_final/281465231240_1.JPG",
    ]
    for seed, name in enumerate(names):
        write_image(folder / name, seed)
    rows = [f"{row + 1} {1 + row // 2} 1 {name}" for row, name in enumerate(names)]
    (folder / "Ebay_train.txt").write_text("\n".join([HEADER, *rows, ""]))
    return folder


def pairs(path: Path, *rows: tuple[str, str, int]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title_1", "title_2", "label"), *rows])
    return path


class Recorder:
    """Stands in for the training of every branch and keeps what it was given."""

    def __init__(self) -> None:
        self.trained: dict[str, tuple[Catalog, NDArray[np.int32]]] = {}

    def train(
        self,
        branch: Any,
        catalog: Catalog,
        components: NDArray[np.int32],
        config: ConfigSection,
        compute: ComputeConfig,
        out: Path,
    ) -> Mapping[str, Any]:
        self.trained[out.name.removesuffix(".work")] = catalog, components
        (out / "encoder").write_text("trained")
        return {"listings": len(catalog)}

    def ids(self, encoder: str) -> set[str]:
        """Ids as an extra has them, without its name."""
        return {i.rpartition(":")[2] for i in self.trained[encoder][0].ids if ":" in i}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(registry.FolderBranch, "train", lambda *given: made.train(*given))
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", say=lambda line: None)


def settings_of(folder: Path, **extras: list[Path]) -> Settings:
    branches = {name: {"extra": [str(path) for path in paths]} for name, paths in extras.items()}
    values = {"data": {"path": str(folder)}, "compute": {"threads": 1, "device": "cpu"}}
    return Settings(values | branches, sections())


def go(run: RunFolder, settings: Settings, *names: str) -> tuple[list[str], list[str]]:
    """Train some branches; returns the extras that were read and the encoders that were trained."""
    lines: list[str] = []
    fresh = RunFolder(run.folder, say=lines.append)
    graph = branch_graph(fresh, settings, names or ["image"])
    update_stages(fresh, settings, graph, graph.below([f"{name}/encoder" for name in names or ["image"]]))
    done = [line.split()[0] for line in lines if not line.endswith("unchanged")]
    return [name for name in done if "/extra/" in name], [name for name in done if "/encoder/" in name]


@pytest.fixture
def more(demo_folder: Path, tmp_path: Path) -> Path:
    """Title pairs that name a title of every listing of the demo, and one group that shares nothing with it."""
    with (demo_folder / "train.csv").open(encoding="utf-8", newline="") as file:
        titles = [row["title"] for row in csv.DictReader(file)]
    rows = [(title, f"partner {row}", 1) for row, title in enumerate(titles) if title]
    return pairs(tmp_path / "more.csv", *rows, ("nothing like it", "nothing at all like it", 1))


@pytest.mark.fault(26)
def test_encoder_learns_nothing_of_what_it_is_measured_on(
    run: RunFolder, demo_folder: Path, more: Path, recorder: Recorder
) -> None:
    go(run, settings_of(demo_folder, image=[more]))
    catalog, split = load_catalog(run.open(TRAIN)), load_split(run.open(SPLIT))
    extra = load_catalog(run.open(Extra(more).stage))
    for encoder in ("fold0", "fold1", ALL):
        trained, component = recorder.trained[encoder]
        rows = training_rows(split, encoder)
        unseen = set(catalog.titles[np.setdiff1d(np.arange(40), rows)]) - {""}
        own = [i for i in trained.ids if not i.startswith(Extra(more).name)]
        assert own == catalog.ids[rows].tolist()
        assert not unseen & set(trained.titles)
        assert {"nothing like it", "nothing at all like it"} <= set(trained.titles)
        assert set(catalog.titles[rows]) & set(extra.titles) <= set(trained.titles[len(rows) :])
        assert len(component) == len(trained)
        metrics = (run.manifest(f"image/encoder/{encoder}") or {})["metrics"]
        assert metrics["extra_joined"] == len(trained) - len(rows) > 2
        assert metrics["extra_left_out"] == len(extra) - metrics["extra_joined"] > 0
        assert metrics["listings"] == len(trained)


@pytest.mark.fault(26)
def test_leaked_group_is_left_out_whole(run: RunFolder, demo_folder: Path, more: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder, image=[more]))
    for trained, _ in recorder.trained.values():
        partners = {title for title in trained.titles if title.startswith("partner")}
        assert partners
        for row, title in enumerate(load_catalog(run.open(TRAIN)).titles):
            assert (f"partner {row}" in partners) <= (title in trained.titles)


def test_encoder_of_all_folds_excludes_test_listings(
    run: RunFolder, demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    data = shutil.copytree(demo_folder, tmp_path / "data")
    (data / "test.csv").write_text("posting_id,title\nt1,seen in the test\n")
    extra = pairs(tmp_path / "more.csv", ("seen in the test", "its match", 1), ("other", "its other match", 1))
    settings = settings_of(data, image=[extra])
    go(run, settings)
    assert recorder.ids(ALL) == {"1", "3"}
    assert recorder.ids("fold0") == recorder.ids("fold1") == {"0", "1", "2", "3"}
    (data / "test.csv").write_text("posting_id,title\nt1,other\n")
    assert go(run, settings) == ([], [f"image/encoder/{ALL}"])
    assert "seen in the test" in recorder.trained[ALL][0].titles
    assert "other" not in recorder.trained[ALL][0].titles


def test_images_of_extras_reach_the_training(
    run: RunFolder, demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    folder = products(tmp_path / "products")
    go(run, settings_of(demo_folder, image=[folder]))
    paths = recorder.trained[ALL][0].image_paths()
    assert {folder / "mug_final/111085122871_0.JPG", folder / "fan_final/281465231240_1.JPG"} <= set(paths)
    assert all(path is None or path.is_file() for path in paths)
    assert any(path and path.is_relative_to(demo_folder) for path in paths)


def test_branch_learns_from_its_own_extras_alone(
    run: RunFolder, demo_folder: Path, more: Path, recorder: Recorder
) -> None:
    assert go(run, settings_of(demo_folder, image=[more]), "distilbert")[0] == []
    assert recorder.ids(ALL) == set()


def test_extra_of_two_branches_is_read_once(run: RunFolder, demo_folder: Path, more: Path, recorder: Recorder) -> None:
    settings = settings_of(demo_folder, image=[more], distilbert=[more, more.parent / "." / more.name])
    read, trained = go(run, settings, "image", "distilbert")
    assert read == [Extra(more).stage]
    assert len(trained) == 6


def test_changed_extra_trains_again(run: RunFolder, demo_folder: Path, recorder: Recorder, tmp_path: Path) -> None:
    folder, titles = products(tmp_path / "products"), pairs(tmp_path / "pairs.csv", ("a", "b", 1))
    settings = settings_of(demo_folder, image=[folder, titles])
    assert go(run, settings) == ([Extra(folder).stage, Extra(titles).stage], ENCODERS)
    assert go(run, settings) == ([], [])
    write_image(folder / "mug_final/111085122871_0.JPG", 99)
    assert go(run, settings) == ([Extra(folder).stage], ENCODERS)
    with (folder / "Ebay_train.txt").open("a") as file:
        file.write("5 2 1 mug_final/none.JPG\n")
    assert go(run, settings) == ([Extra(folder).stage], ENCODERS)
    pairs(titles, ("a", "b", 1), ("a", "c", 0))
    assert go(run, settings) == ([Extra(titles).stage], ENCODERS)


def test_naming_an_extra_trains_again(run: RunFolder, demo_folder: Path, more: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    assert go(run, settings_of(demo_folder, image=[more]))[1] == ENCODERS
    assert go(run, settings_of(demo_folder))[1] == ENCODERS
    assert recorder.ids(ALL) == set()


@pytest.mark.parametrize("branch", ["image", "distilbert"])
def test_missing_extra_stops_a_run_before_anything_is_done(
    branch: str, run: RunFolder, demo_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(MatcherError, match=r"gone: no such file or folder; known are"):
        go(run, settings_of(demo_folder, **{branch: [tmp_path / "gone"]}), "image", "distilbert")
    assert not run.folder.exists()
