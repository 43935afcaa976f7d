"""JSON files that the project wrote, changed in any way: read as they were written, or refused by one kind of error."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.bundle.archive import CONTENTS, Bundle, is_bundle, seal
from ensemble.decision.decision import Decision
from ensemble.index.snapshots import CURRENT, Snapshots
from ensemble.sections import sections
from shared.artifacts import digest, file_digest, read_json, write_json
from shared.catalog.image_memo import ImageMemo
from shared.errors import MatcherError
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.run import MANIFEST, SETTINGS, RunFolder, remembered
from shared.pipeline.settings import Settings, from_file
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.training.encoder import read_facts
from tests.support.fuzzing import edited, fuzz, other_json

ALWAYS = {"ended": 1.5, "seconds": 0.5, "peak_memory_mb": 99.5, "metrics": {"titles": 2}}  # of a manifest, in all runs


def write_titles(inputs: Inputs, config: StageConfig, out: Path) -> dict[str, int]:
    (out / "titles.txt").write_text("tea\nmug\n")
    return {"titles": 2}


def decision(folder: Path) -> Path:
    path = folder / "decision.json"
    Decision("average_link", 0.3, 9, forbid=("size",), pool_size=100, prior_shift=0.35).save(path)
    return path


def settings(folder: Path) -> Path:
    RunFolder(folder).remember({"tune": {"rules": ["threshold"]}, "data": {"path": "demo"}, "image": {"epochs": 2}})
    return folder / SETTINGS


def facts(folder: Path) -> Path:
    write_json(folder / "encoder.json", {"branch": "image", "dim": 4, "head_dim": 4, "mean": [0.5, 0.5, 0.5]})
    return folder / "encoder.json"


def memo(folder: Path) -> Path:
    entry = [10, 20, 30, 40, "0" * 64]
    write_json(folder / "memo.json", {"format": "image digests 1", "files": {"/a.jpg": entry}})
    return folder / "memo.json"


def manifest(folder: Path) -> Path:
    run = RunFolder(folder, say=lambda line: None)
    path = bring_stage_up_to_date(run, Settings({}, {}), Stage("a/b", write_titles, code=())) / MANIFEST
    write_json(path, json.loads(path.read_bytes()) | ALWAYS)
    return path


def bundle(folder: Path) -> Path:
    (folder / "titles.txt").write_text("tea")
    (folder / "deep").mkdir()
    (folder / "deep" / "words.txt").write_text("mug")
    seal(folder, {"branches": ["image"]})
    return folder / CONTENTS


def snapshots(folder: Path) -> Snapshots:
    made = Snapshots(folder)
    with made.locked():
        made.write(0, {"listings": 3}, lambda work: (work / "ids.txt").write_text("a b c"))
    return made


def current(folder: Path) -> Path:
    return snapshots(folder).folder / CURRENT


def snapshot_manifest(folder: Path) -> Path:
    return snapshots(folder).folder / "000001" / MANIFEST


def reseal_bundle(folder: Path) -> None:
    """Give a changed `bundle.json` the checksum of what it says now, as a stranger would."""
    try:
        contents = read_json(folder / CONTENTS)
    except MatcherError:
        return
    contents.pop("digest", None)
    write_json(folder / CONTENTS, contents | {"digest": digest(contents)})


def reseal_snapshot(folder: Path) -> None:
    write_json(folder / CURRENT, {"snapshot": "000001", "sha256": file_digest(folder / "000001" / MANIFEST)})


def open_stage(folder: Path) -> object:
    run = RunFolder(folder, say=lambda line: None)
    run.manifests()
    run.is_sound("a/b")
    return run.open("a/b")


def open_bundle(folder: Path) -> object:
    is_bundle(folder)
    opened = Bundle(folder)
    return {stage: dict(opened.files(stage)) for stage in ("deep",)}


def read_settings(folder: Path) -> object:
    return Settings(remembered(folder), sections()), from_file(folder / SETTINGS)


Reader = Callable[[Path], object]
FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None], Reader]] = {
    "decision": (decision, lambda _: None, lambda folder: Decision.load(folder / "decision.json")),
    "settings": (settings, lambda _: None, read_settings),
    "encoder": (facts, lambda _: None, lambda folder: read_facts(folder, "image")),
    "memo": (memo, lambda _: None, lambda folder: ImageMemo.load(folder / "memo.json")),
    "stage": (manifest, lambda _: None, open_stage),
    "bundle": (bundle, lambda _: None, open_bundle),
    "resealed bundle": (bundle, reseal_bundle, open_bundle),
    "current snapshot": (current, lambda _: None, lambda folder: Snapshots(folder).current()),
    "snapshot": (snapshot_manifest, lambda _: None, lambda folder: Snapshots(folder).current()),
    "resealed snapshot": (snapshot_manifest, reseal_snapshot, lambda folder: Snapshots(folder).current()),
}
CHECKED = ("bundle", "snapshot")  # have a checksum: what they say cannot have changed


def read_changed(name: str, change: Callable[[bytes], bytes]) -> None:
    write, reseal, read = FILES[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "made"
        folder.mkdir()
        path = write(folder)
        sound = json.loads(path.read_bytes())
        path.write_bytes(change(path.read_bytes()))
        reseal(folder)
        try:
            read(folder)
        except MatcherError as error:
            str(error).encode(errors="replace")
        else:
            assert name not in CHECKED or json.loads(path.read_bytes()) == sound


@pytest.mark.fault(20, 32)
@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@fuzz(40)
def test_other_values_are_one_error(name: str, data: st.DataObject) -> None:
    def change(content: bytes) -> bytes:
        value: Any = data.draw(other_json(json.loads(content)))
        return json.dumps(value).encode()

    read_changed(name, change)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@fuzz(25)
def test_other_bytes_are_one_error(name: str, data: st.DataObject) -> None:
    read_changed(name, lambda content: data.draw(edited([content, b"[" * 3000, b'{"a":1}\n', b"\xff\xfe"])))
