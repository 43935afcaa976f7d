import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ensemble.bundle.archive import CONTENTS, FORMAT, Bundle, checked, is_bundle, seal
from shared.errors import ArtifactError
from shared.pipeline.run import Run, digest


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with two stages, one of them with a folder in its folder."""
    made = Run(tmp_path / "run", say=lambda line: None)

    def work(out: Path) -> dict[str, int]:
        (out / "weights").write_bytes(bytes(range(200)))
        (out / "deep").mkdir()
        (out / "deep" / "words.txt").write_text("tas ransel\n")
        return {}

    for name in ("image/encoder/all", "ensemble/scorer"):
        made.stage(name, "shared.errors", {}, {}, work)
    return made


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
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


def test_a_bundle_is_read_as_the_run_it_was_made_of(run: Run, folder: Path) -> None:
    bundle = Bundle(folder)
    for name in ("image/encoder/all", "ensemble/scorer"):
        assert bundle.open(name) == folder / name
        assert bundle.digest_of(name) == run.digest_of(name)
    assert bundle.contents["branches"] == ["image"]
    assert set(bundle.contents["files"]) | {CONTENTS} == {str(path.relative_to(folder)) for path in files(folder)}


def test_what_a_bundle_does_not_hold_is_named(folder: Path) -> None:
    bundle = Bundle(folder)
    assert bundle.manifest("image/enc") is None  # a folder's name is a whole one
    with pytest.raises(ArtifactError, match="does not hold image/encoder/fold0"):
        bundle.open("image/encoder/fold0")


def test_a_bundle_is_not_written_to(folder: Path) -> None:
    before = {path: path.read_bytes() for path in files(folder)}
    with Bundle(folder).locked(), Bundle(folder).locked():
        pass
    assert {path: path.read_bytes() for path in files(folder)} == before


def test_the_same_files_make_the_same_bundle(folder: Path) -> None:
    before = (folder / CONTENTS).read_bytes()
    seal(folder, {"branches": ["image"]})
    assert (folder / CONTENTS).read_bytes() == before


# --- what is refused -------------------------------------------------------------------------------------------------


def test_one_flipped_bit_in_any_file_is_refused(folder: Path) -> None:
    for path in files(folder):
        before = path.read_bytes()
        for at in {0, len(before) // 2, len(before) - 1}:
            path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
            with pytest.raises(ArtifactError, match=f"{path.name} "):
                checked(folder)
            path.write_bytes(before)
    assert checked(folder)


def test_a_missing_or_cut_file_is_refused(folder: Path) -> None:
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


@pytest.mark.parametrize("add", [fifo, link_to_file, link_to_folder, dangling, foreign])
def test_what_a_bundle_did_not_have_is_refused(add: Callable[[Path], None], folder: Path) -> None:
    add(folder / "stranger")
    with pytest.raises(ArtifactError, match=r"stranger.* remove"):
        checked(folder)
    assert not is_bundle(folder)


@pytest.mark.parametrize("name", ["ensemble/scorer/weights", CONTENTS])
def test_a_file_that_became_a_link_to_its_copy_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).rename(tmp_path / "copy")
    (folder / name).symlink_to(tmp_path / "copy")
    with pytest.raises(ArtifactError, match=Path(name).name):
        checked(folder)


def test_a_name_outside_of_the_bundle_is_never_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    contents = json.loads((folder / CONTENTS).read_text())
    contents["files"]["../secret"] = "0" * 64
    contents["digest"] = digest({key: value for key, value in contents.items() if key != "digest"})
    (folder / CONTENTS).write_text(json.dumps(contents))
    with pytest.raises(ArtifactError, match=r"\.\./secret is missing"):
        checked(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', "[" * 100_000, "\x00", '{"files": {}}'])
def test_any_other_contents_are_refused(text: str, folder: Path) -> None:
    (folder / CONTENTS).write_text(text)
    with pytest.raises(ArtifactError, match=r"is damaged|of format"):
        checked(folder)


def test_a_bundle_of_another_format_is_refused_by_name(folder: Path) -> None:
    contents = json.loads((folder / CONTENTS).read_text())
    (folder / CONTENTS).write_text(json.dumps(contents | {"format": FORMAT + 1}))
    with pytest.raises(ArtifactError, match=f"format {FORMAT + 1}, and this code reads {FORMAT}"):
        checked(folder)


def test_what_is_no_bundle_is_told_how_to_become_one(run: Run, tmp_path: Path) -> None:
    for place in (run.folder, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match=r"is not a bundle .* python -m ensemble.bundle"):
            Bundle(place)


def test_a_damaged_bundle_is_still_one_but_what_holds_more_is_not(folder: Path) -> None:
    (folder / "README.md").write_text("altered")
    (folder / "image/encoder/all/weights").unlink()
    assert is_bundle(folder)
    (folder / "image" / "mine.txt").write_text("mine")
    assert not is_bundle(folder)
