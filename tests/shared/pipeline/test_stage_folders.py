"""The folders of stages: nothing is written or read through a link, and what gets a name is on the disk."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ArtifactError, MatcherError
from shared.pipeline.engine import LOG, bring_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage
from tests.support.disk import Disk


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "out.txt").write_text("keep")
    return folder


@pytest.mark.fault(33)
@pytest.mark.parametrize("place", ["a", "a/b", "a/b.work", "a/b.old"])
@pytest.mark.parametrize("is_there", [True, False])
def test_stage_in_the_place_of_a_link_is_refused(
    run: RunFolder, do: Any, writes: Any, outside: Path, place: str, is_there: bool
) -> None:
    link = run.folder / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if is_there else outside / "none")
    with pytest.raises(MatcherError, match=r"is a link; .*remove the link"):
        do(writes("new"))
    assert [path.name for path in outside.iterdir()] == ["out.txt"]
    assert (outside / "out.txt").read_text() == "keep"


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", ["key", "manifest.json", "out.txt", LOG, f"{LOG}/metrics.jsonl", "checkpoint"])
def test_link_in_the_folder_that_a_stage_works_in_is_refused(
    run: RunFolder, do: Any, writes: Any, outside: Path, name: str
) -> None:
    link = run.folder / "a" / "b.work" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "out.txt")
    with pytest.raises(MatcherError, match="is a link, which a stage would write through; remove it"):
        do(writes("new"))
    assert (outside / "out.txt").read_text() == "keep"


@pytest.mark.fault(33)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
def test_fifo_in_the_folder_that_a_stage_works_in_is_not_waited_for(run: RunFolder, do: Any, writes: Any) -> None:
    (run.folder / "a" / "b.work").mkdir(parents=True)
    os.mkfifo(run.folder / "a" / "b.work" / "key")
    with pytest.raises(MatcherError, match="key is no regular file"):
        do(writes("new"))


@pytest.mark.fault(33)
def test_stage_that_was_replaced_by_a_link_is_not_read(run: RunFolder, do: Any, writes: Any, outside: Path) -> None:
    do(writes())
    (run.folder / "a").rename(outside / "a")
    (run.folder / "a").symlink_to(outside / "a")
    with pytest.raises(ArtifactError, match="a is a link"):
        RunFolder(run.folder).open("a/b")


@pytest.mark.parametrize("place", ["a/b", "a/b.work", "a/b.old"])
def test_folder_that_no_run_made_is_refused(run: RunFolder, do: Any, unwanted: Any, place: str) -> None:
    mine = run.folder / place / "deep" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(MatcherError, match=rf"{place} holds files that no run made"):
        do(unwanted)
    assert mine.read_text() == "mine"
    assert [path.name for path in run.folder.rglob("*") if path.is_file()] == ["notes.txt"]


def test_folder_that_no_run_made_is_refused_before_any_stage(run: RunFolder, unwanted: Any) -> None:
    def work(inputs: Any, config: Any, out: Path) -> Any:
        return unwanted(out)

    (run.folder / "second").mkdir(parents=True)
    (run.folder / "second" / "notes.txt").write_text("mine")
    graph = Graph([Stage("first", work, code=()), Stage("second", work, code=(), reads=("first",))])
    with pytest.raises(MatcherError, match="second holds files that no run made"):
        bring_up_to_date(run, Settings({}, {}), graph, ["second"])


def test_stage_without_its_manifest_is_done_again_in_what_is_a_run(run: RunFolder, do: Any, writes: Any) -> None:
    run.remember({})
    do(writes("old"), "split")
    folder = do(writes("old"))
    (folder / "manifest.json").unlink()  # of a copy that broke off, or to have the stage done again
    assert (do(writes("new")) / "out.txt").read_text() == "new"


@pytest.mark.parametrize("place", ["a/b", "a/b.work", "a/b.old"])
def test_empty_folder_in_the_place_of_a_stage(run: RunFolder, do: Any, writes: Any, place: str) -> None:
    (run.folder / place).mkdir(parents=True)
    assert (do(writes()) / "out.txt").exists()


def test_run_folder_may_be_a_link(run: RunFolder, do: Any, writes: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    run.folder.symlink_to(tmp_path / "real")
    do(writes())
    assert RunFolder(run.folder).open("a/b").is_dir()
    assert (tmp_path / "real" / "a" / "b" / "out.txt").exists()


@pytest.mark.fault(17)
def test_stage_is_on_the_disk_before_its_name(
    run: RunFolder, do: Any, writes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    do(writes("old", "deep/out.txt"))
    do(writes("new", "deep/out.txt"), redo=True)
    assert disk.renamed.count("b.work") == 2
    assert disk.lost == []


@pytest.mark.fault(17)
def test_settings_are_on_the_disk_before_their_name(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    run.remember({"split": {"folds": 3}})
    run.remember({"split": {"folds": 4}})
    assert disk.renamed == ["settings.json.partial"] * 2
    assert disk.lost == []


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["stage", "outputs", "metrics", "key", "ended", "versions"])
def test_manifest_with_a_value_of_another_type_is_none(run: RunFolder, do: Any, writes: Any, name: str) -> None:
    do(writes())
    manifest = run.manifest("a/b")
    assert manifest is not None
    for other in (None, [], {"a": None} if name == "key" else [1], "x" if name != "stage" else 1, True):
        if name == "ended" and other is True:
            continue
        (run.folder / "a" / "b" / "manifest.json").write_text(json.dumps(manifest | {name: other}))
        assert run.manifest("a/b") is None
        assert run.manifests() == []
    (run.folder / "a" / "b" / "manifest.json").write_text(json.dumps(manifest | {"outputs": {"../../x": "00"}}))
    assert run.manifest("a/b") is None
