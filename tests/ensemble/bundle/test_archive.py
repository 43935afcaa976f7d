import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ensemble.bundle.archive import CONTENTS, FORMAT, Bundle, checked, is_bundle, seal
from shared.artifacts import digest
from shared.errors import ArtifactError
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.run import ArtifactStore, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig


def write_weights(inputs: Inputs, config: StageConfig, out: Path) -> dict[str, int]:
    (out / "weights").write_bytes(bytes(range(200)))
    (out / "deep").mkdir()
    (out / "deep" / "words.txt").write_text("tas ransel\n")
    return {}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two stages, each with a folder in its folder."""
    run = RunFolder(tmp_path / "run", say=lambda line: None)
    for name in ("image/encoder/all", "ensemble/scorer"):
        bring_stage_up_to_date(run, Settings({}, {}), Stage(name, write_weights, code=()))
    return run


@pytest.fixture
def folder(run: RunFolder, tmp_path: Path) -> Path:
    """A bundle of it."""
    out = tmp_path / "bundle"
    for name in ("image/encoder/all", "ensemble/scorer"):
        for file in ("weights", "deep/words.txt"):
            path = out / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((run.open(name) / file).read_bytes())
    (out / "README.md").write_text("# Read me\n")
    seal(out, {"branches": ["image"]})
    return out


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_bundle_opens_stages_like_its_run(run: RunFolder, folder: Path) -> None:
    def contents(store: ArtifactStore, stage: str) -> dict[str, bytes]:
        return {name: (store.open(stage) / name).read_bytes() for name in store.files(stage)}

    bundle = Bundle(folder)
    for name in ("image/encoder/all", "ensemble/scorer"):
        assert bundle.open(name) == folder / name
        assert bundle.files(name) == run.files(name)
        assert contents(bundle, name) == contents(run, name)
    assert bundle.contents["branches"] == ["image"]
    assert set(bundle.contents["files"]) | {CONTENTS} == {str(path.relative_to(folder)) for path in files(folder)}


def test_bundle_is_no_run_folder(folder: Path) -> None:
    bundle = Bundle(folder)
    assert not isinstance(bundle, RunFolder)
    assert {name for name in dir(bundle) if not name.startswith("_")} == {"contents", "files", "folder", "open"}


@pytest.mark.parametrize("stage", ["image/encoder/fold0", "image/enc"])
def test_stage_that_is_not_in_the_bundle(stage: str, folder: Path) -> None:
    bundle = Bundle(folder)
    for ask in (bundle.open, bundle.files):
        with pytest.raises(ArtifactError, match=f"does not hold {stage}$"):
            ask(stage)


def test_opened_bundle_is_not_written_to(folder: Path) -> None:
    before = {path: path.read_bytes() for path in files(folder)}
    Bundle(folder).open("ensemble/scorer")
    assert {path: path.read_bytes() for path in files(folder)} == before


def test_sealing_again_writes_the_same_file(folder: Path) -> None:
    before = (folder / CONTENTS).read_bytes()
    seal(folder, {"branches": ["image"]})
    assert (folder / CONTENTS).read_bytes() == before


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.fault(20)
def test_flipped_bit_is_refused(folder: Path) -> None:
    for path in files(folder):
        before = path.read_bytes()
        for at in {0, len(before) // 2, len(before) - 1}:
            path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
            with pytest.raises(ArtifactError, match=f"{path.name} "):
                checked(folder)
            path.write_bytes(before)
    assert checked(folder)


@pytest.mark.fault(20)
def test_missing_or_cut_file_is_refused(folder: Path) -> None:
    for path in files(folder):
        before = path.read_bytes()
        path.write_bytes(before[:-2])
        with pytest.raises(ArtifactError, match=path.name):
            checked(folder)
        path.unlink()
        with pytest.raises(ArtifactError, match=r"is missing|is not a bundle"):
            checked(folder)
        path.write_bytes(before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_file(path: Path) -> None:
    path.symlink_to(path.parent / "README.md")


def link_to_folder(path: Path) -> None:
    path.symlink_to(path.parent / "image")


def dangling(path: Path) -> None:
    path.symlink_to("/no/such/file")


def foreign(path: Path) -> None:
    path.write_text("mine")


@pytest.mark.fault(33)
@pytest.mark.parametrize("add", [fifo, link_to_file, link_to_folder, dangling, foreign])
def test_added_file_or_link_is_refused(add: Callable[[Path], None], folder: Path) -> None:
    add(folder / "stranger")
    with pytest.raises(ArtifactError, match=r"stranger.* remove"):
        checked(folder)
    assert not is_bundle(folder)


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", ["ensemble/scorer/weights", CONTENTS])
def test_file_replaced_by_a_link_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).rename(tmp_path / "copy")
    (folder / name).symlink_to(tmp_path / "copy")
    with pytest.raises(ArtifactError, match=Path(name).name):
        checked(folder)


@pytest.mark.fault(33)
def test_name_outside_of_the_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    contents = json.loads((folder / CONTENTS).read_text())
    contents["files"]["../secret"] = "0" * 64
    contents["digest"] = digest({key: value for key, value in contents.items() if key != "digest"})
    (folder / CONTENTS).write_text(json.dumps(contents))
    with pytest.raises(ArtifactError, match=r"\.\./secret is missing"):
        checked(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', "[" * 100_000, "\x00", '{"files": {}}'])
def test_damaged_contents_are_refused(text: str, folder: Path) -> None:
    (folder / CONTENTS).write_text(text)
    with pytest.raises(ArtifactError, match=r"is damaged|of format"):
        checked(folder)


@pytest.mark.fault(20)
def test_other_format_is_refused(folder: Path) -> None:
    contents = json.loads((folder / CONTENTS).read_text())
    (folder / CONTENTS).write_text(json.dumps(contents | {"format": FORMAT + 1}))
    with pytest.raises(ArtifactError, match=f"format {FORMAT + 1}, and this code reads {FORMAT}"):
        checked(folder)


def test_folder_that_is_no_bundle_is_refused(run: RunFolder, tmp_path: Path) -> None:
    for place in (run.folder, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match=r"is not a bundle .* python -m ensemble.bundle"):
            Bundle(place)


def test_is_bundle_when_damaged_but_not_when_it_holds_more(folder: Path) -> None:
    (folder / "README.md").write_text("altered")
    (folder / "image/encoder/all/weights").unlink()
    assert is_bundle(folder)
    (folder / "image" / "mine.txt").write_text("mine")
    assert not is_bundle(folder)
