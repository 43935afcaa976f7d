"""What a run folder knows of its stages, and a run that takes stages from another."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from shared.errors import ArtifactError
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.run import ABLATION, MANIFEST, REFIT, OverlayRun, RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig


def test_digest_of_depends_on_names_and_content_alone(run: RunFolder, do: Any, writes: Any) -> None:
    do(writes("x"), "one", parameters={"s": 1})
    do(writes("x"), "two")
    do(writes("y"), "three")
    do(writes("x", "other.txt"), "four")
    one, *others = [run.digest_of(name) for name in ("one", "two", "three", "four")]
    assert one == others[0]
    assert len({one, *others}) == 3


def test_files(run: RunFolder, do: Any, writes: Any) -> None:
    do(writes(), "one")
    do(writes("content", "deep/out.txt"), "two")
    assert list(run.files("two")) == ["deep/out.txt"]
    assert run.files("one")["out.txt"] == run.files("two")["deep/out.txt"]


def test_manifests_by_when_they_ended(run: RunFolder, do: Any, writes: Any) -> None:
    for name in ("z", "a/b", "m"):
        do(writes(), name)
    do(writes(), "z", parameters={"s": 1})
    assert [manifest["stage"] for manifest in run.manifests()] == ["a/b", "m", "z"]
    for name in (f"x/{ABLATION}/a/b", f"{REFIT}/m"):  # no part of the run
        do(writes(), name)
    (run.folder / "a" / "b").rename(run.folder / "a" / "b.work")
    assert [manifest["stage"] for manifest in run.manifests()] == ["m", "z"]


def test_open_missing_stage(run: RunFolder) -> None:
    with pytest.raises(ArtifactError, match=r"no finished stage 'a/b'; ./run_all.sh --run .* makes it"):
        run.open("a/b")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bit": flip_a_bit,
    "truncated": lambda path: os.truncate(path, 3),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "missing": Path.unlink,
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link": replace_by_link,
}


@pytest.mark.fault(20)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_output_is_refused_and_made_again(
    run: RunFolder, do: Any, writes: Any, lines: list[str], damage: str
) -> None:
    DAMAGE[damage](do(writes()) / "out.txt")
    for read in (run.open, run.files, run.digest_of):
        with pytest.raises(ArtifactError, match=r"out.txt (is missing|is a link|does not have the checksum).*run_all"):
            read("a/b")
    assert (do(writes()) / "out.txt").read_text() == "content"
    assert any("the stage runs again" in line for line in lines)
    RunFolder(run.folder).open("a/b")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"outputs": {}}',
        b'{"outputs": [], "stage": "a/b", "metrics": {}, "key": {}, "ended": 1}',
    ],
)
def test_manifest_of_another_form_counts_as_none(run: RunFolder, do: Any, writes: Any, content: bytes) -> None:
    (do(writes()) / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match="no finished stage"):
        run.open("a/b")
    assert run.manifests() == []
    assert (do(writes("new")) / "out.txt").read_text() == "new"


@pytest.mark.fault(20)
def test_truncated_manifest_does_the_stage_again(run: RunFolder, do: Any, writes: Any) -> None:
    manifest = do(writes()) / MANIFEST
    whole = manifest.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        manifest.write_bytes(whole[:length])
        do(writes("new"))
        assert run.manifest("a/b") is not None
        assert (manifest.parent / "out.txt").read_text() == "new"


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Let the system refuse to open files of a name, with an error."""

    def refuse(name: str, number: int) -> None:
        plain = os.open

        def refusing(path: Any, *rest: Any, **options: Any) -> int:
            if Path(path).name == name:
                raise OSError(number, os.strerror(number), str(path))
            return plain(path, *rest, **options)

        monkeypatch.setattr(os, "open", refusing)

    return refuse


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_manifest_that_the_system_cannot_read_now_is_not_lost(
    run: RunFolder, do: Any, writes: Any, unwanted: Any, unreadable: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder = do(writes())
    unreadable(MANIFEST, number)
    for call in (lambda: run.manifest("a/b"), lambda: do(unwanted)):
        with pytest.raises(OSError, match=os.strerror(number)):
            call()
    monkeypatch.undo()
    assert do(unwanted) == folder


def test_settings_that_the_system_cannot_read_now_are_not_damaged(run: RunFolder, unreadable: Any) -> None:
    run.remember({"split": {"folds": 3}})
    unreadable("settings.json", errno.EACCES)
    with pytest.raises(PermissionError, match="Permission denied"):
        remembered(run.folder)


# --- remembered settings ---------------------------------------------------------------------------------------------

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.lists(st.text())
)


@examples(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(min_size=1), st.dictionaries(st.text(min_size=1), VALUES)))
def test_remembered_is_what_remember_was_given(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    RunFolder(folder).remember(values)
    assert remembered(folder) == values


def test_remembered_of_a_new_run(tmp_path: Path) -> None:
    assert remembered(tmp_path / "none") == {}


@pytest.mark.parametrize("content", ["{", "", '{"split": {"folds": 3}', "\x00", "[]", '{"split": 3}'])
def test_remembered_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"settings.json is damaged.*; remove it and give the run's settings again"):
        remembered(tmp_path)


# --- a run that takes stages from another ----------------------------------------------------------------------------


def appends(name: str, *reads: str, letter: str = "x") -> Stage:
    """A stage that writes what it reads, and a letter."""
    return Stage(name, append, code=(), reads=reads, parameters={"reads": list(reads), "letter": letter})


def append(inputs: Inputs, config: StageConfig, out: Path, reads: list[str], letter: str) -> dict[str, Any]:
    (out / "out.txt").write_text("".join((inputs[name] / "out.txt").read_text() for name in reads) + letter)
    return {}


def text(run: RunFolder, stage: str) -> str:
    return (run.open(stage) / "out.txt").read_text()


def bring(run: RunFolder, *stages: Stage) -> None:
    graph = Graph(stages)
    bring_up_to_date(run, Settings({}, {}), graph, list(graph))


@pytest.fixture
def overlay(run: RunFolder, tmp_path: Path, lines: list[str]) -> OverlayRun:
    bring(run, appends("a"), appends("a/b", "a", letter="y"))
    return OverlayRun(tmp_path / "run" / "x", run, ["a", "c"], say=lines.append)


def test_overlay_has_its_own_stages_and_those_of_the_base(run: RunFolder, overlay: OverlayRun) -> None:
    bring(overlay, appends("a", letter="z"), appends("c", "a", "a/b", "base/a"))
    assert (text(overlay, "a"), text(overlay, "a/b"), text(overlay, "base/a")) == ("z", "xy", "x")
    assert text(overlay, "c") == "z" + "xy" + "x" + "x"
    assert overlay.open("a") == overlay.folder / "a"
    assert overlay.open("a/b") == run.open("a/b")
    assert overlay.digest_of("base/a") == run.digest_of("a") != overlay.digest_of("a")
    assert (overlay.manifest("a/b"), overlay.manifest("base/a")) == (run.manifest("a/b"), run.manifest("a"))
    assert text(run, "a") == "x"
    assert run.manifest("c") is None


def test_overlay_redoes_readers_of_a_changed_stage(run: RunFolder, overlay: OverlayRun, lines: list[str]) -> None:
    own = [appends("a", letter="z"), appends("c", "base/a")]
    bring(overlay, *own)
    bring(run, appends("a", letter="w"))
    lines.clear()
    bring(OverlayRun(overlay.folder, RunFolder(run.folder), overlay.stages, say=lines.append), *own)
    assert [line.split()[0] for line in lines if not line.endswith("unchanged")] == ["c"]
    assert text(overlay, "c") == "wx"


def test_overlay_asks_for_what_neither_has(overlay: OverlayRun) -> None:
    with pytest.raises(ArtifactError, match=r"run has no finished stage 'none'"):
        bring(overlay, appends("c", "none"))
    with pytest.raises(ArtifactError, match=r"x has no finished stage 'a'"):
        overlay.open("a")
    assert overlay.manifest("a") is None
