"""When a stage is done, what its manifest says, and what a failing one leaves behind."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest

import shared.pipeline.engine
from shared.compute import ComputeConfig
from shared.config import AffectsFrom, ConfigSection
from shared.errors import MatcherError
from shared.pipeline.engine import stage_key
from shared.pipeline.run import MANIFEST, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Stage


class Numbers(ConfigSection):
    """Settings of a branch."""

    rate: int = 1
    batch: Annotated[int, AffectsFrom("embed")] = 1
    neighbors: Annotated[int, AffectsFrom("candidates")] = 1


SECTIONS: dict[str, type[ConfigSection]] = {"numbers": Numbers, "compute": ComputeConfig}
NUMBERS = {"settings": (Numbers, ComputeConfig), "in_settings": Settings({}, SECTIONS)}


def changed(**values: dict[str, int]) -> dict[str, Any]:
    return {"in_settings": Settings(values, SECTIONS)}


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file by name, but for manifests."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): b"" if path.name == MANIFEST else path.read_bytes() for path in found}


# --- when a stage is done --------------------------------------------------------------------------------------------


def test_stage_once(do: Any, writes: Any, unwanted: Any, lines: list[str]) -> None:
    first = do(writes())
    assert (first / "out.txt").read_text() == "content"
    assert do(unwanted) == first
    assert "letters 7" in lines[0]
    assert lines[1].endswith("unchanged")


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("declared", "change"),
    [
        ({"parameters": {"s": 1}}, {"parameters": {"s": 2}}),
        ({"parameters": {"s": 1}}, {"parameters": {}}),
        ({}, {"sources": lambda: {"table": "other"}}),
        ({}, {"code": ("shared.errors", "shared.arrays")}),
        (NUMBERS, changed(numbers={"rate": 2})),
        (NUMBERS, changed(numbers={"neighbors": 2})),
        (NUMBERS, changed(compute={"seed": 1})),
        (NUMBERS | {"step": "train"}, changed(numbers={"rate": 2})),
        (NUMBERS | {"step": "embed"}, changed(numbers={"batch": 2})),
        (NUMBERS | {"step": "candidates"}, changed(numbers={"neighbors": 2})),
    ],
)
def test_stage_again_after_a_change(do: Any, writes: Any, declared: dict[str, Any], change: dict[str, Any]) -> None:
    do(writes("old"), **declared)
    assert (do(writes("new"), **(declared | change)) / "out.txt").read_text() == "new"


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("declared", "change"),
    [
        ({"parameters": {"s": (1, 2), "path": Path("x")}}, {"parameters": {"path": "x", "s": [1, 2]}}),
        (NUMBERS, changed(compute={"threads": 2})),
        (NUMBERS | {"step": "train"}, changed(numbers={"batch": 2})),
        (NUMBERS | {"step": "train"}, changed(numbers={"neighbors": 2})),
        (NUMBERS | {"step": "embed"}, changed(numbers={"neighbors": 2})),
        ({"in_settings": Settings({}, SECTIONS)}, changed(numbers={"rate": 2})),
    ],
)
def test_stage_unchanged_by_what_it_does_not_depend_on(
    do: Any, writes: Any, unwanted: Any, declared: dict[str, Any], change: dict[str, Any]
) -> None:
    do(writes(), **declared)
    do(unwanted, **(declared | change))


@pytest.mark.fault(22)
def test_stage_again_after_changed_code(do: Any, writes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    do(writes("old"))
    monkeypatch.setattr(shared.pipeline.engine, "code_digest", lambda modules, work: "other")
    assert (do(writes("new")) / "out.txt").read_text() == "new"


def test_key_work_source(run: RunFolder) -> None:
    def one(inputs: Any, config: Any, out: Path) -> dict[str, int]:
        return {"n": 1}

    def other(inputs: Any, config: Any, out: Path) -> dict[str, int]:
        return {"n": 2}

    settings = Settings({}, {})
    one_key, other_key = (stage_key(run, settings, Stage("a", work, code=())) for work in (one, other))
    assert one_key.pop("code") != other_key.pop("code")
    assert one_key == other_key


@pytest.mark.fault(22)
@pytest.mark.parametrize(("text", "redone"), [("old", False), ("new", True)])
def test_stage_again_after_changed_inputs(do: Any, writes: Any, text: str, redone: bool) -> None:
    do(writes("old"), "first")
    do(writes("old"), reads=("first",))
    do(writes(text), "first", redo=True)
    assert (do(writes("new"), reads=("first",)) / "out.txt").read_text() == ("new" if redone else "old")


@pytest.mark.fault(22)
def test_stage_unchanged_by_file_times(do: Any, writes: Any, unwanted: Any) -> None:
    for path in do(writes()).iterdir():
        os.utime(path, (1, 1))
    do(unwanted)


def test_stage_redo(do: Any, writes: Any) -> None:
    do(writes("old"))
    assert (do(writes("new"), redo=True) / "out.txt").read_text() == "new"


def test_stage_again_keeps_nothing_old(do: Any, writes: Any) -> None:
    do(writes(name="old/deep.txt"))
    folder = do(writes(), parameters={"s": 1})
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "out.txt"]
    assert [path.name for path in folder.parent.iterdir()] == ["b"]


def test_manifest_content(run: RunFolder, do: Any, writes: Any) -> None:
    do(writes(), "first")
    do(writes(), reads=("first",), parameters={"s": 1}, sources=lambda: {"table": "t"}, **NUMBERS)
    manifest = run.manifest("a/b") or {}
    assert manifest["stage"] == "a/b"
    assert manifest["key"]["inputs"] == {"first": run.digest_of("first")}
    assert manifest["key"]["settings"] == {
        "numbers": {"rate": 1, "batch": 1, "neighbors": 1},
        "compute": ComputeConfig().cache_key(),
    }
    assert manifest["key"]["parameters"] == {"s": 1}
    assert manifest["key"]["sources"] == {"table": "t"}
    assert manifest["metrics"] == {"letters": 7}
    assert {"python", "torch", "lightgbm"} <= manifest["versions"].keys()
    assert manifest["seconds"] >= 0
    assert manifest["peak_memory_mb"] > 1


def test_progress_line(do: Any, lines: list[str]) -> None:
    do(lambda out: {"true_pairs": 12345, "row_F1": 0.98765, "loss": 1234.5, "found": True, "none": None, "of": "x"})
    expected = "true pairs 12,345 · row F1 0.988 · loss 1,234 · found yes · of x · "
    assert lines[0].removeprefix("a/b").lstrip().startswith(expected)
    assert lines[0].endswith(" s")


# --- stages that fail ------------------------------------------------------------------------------------------------


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "error",
    [MatcherError("bad"), ValueError("bug"), OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
)
def test_failing_stage_leaves_the_old_artifact(
    run: RunFolder, do: Any, writes: Any, raises: Any, error: BaseException
) -> None:
    folder = do(writes("old"))
    with pytest.raises(type(error)):
        do(raises(error), parameters={"s": 1})
    assert files(folder) == {MANIFEST: b"", "out.txt": b"old"}
    assert RunFolder(run.folder).open("a/b") == folder
    assert (do(writes("new"), parameters={"s": 1}) / "out.txt").read_text() == "new"
    assert sorted(files(run.folder)) == ["a/b/manifest.json", "a/b/out.txt"]


@pytest.mark.fault(18)
def test_unwritable_manifest_leaves_the_old_artifact(
    run: RunFolder, do: Any, writes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    do(writes("old"))
    with monkeypatch.context() as patch:
        patch.setattr(shared.pipeline.engine, "write_json", full)
        with pytest.raises(OSError, match="No space left"):
            do(writes("new"), parameters={"s": 1})
    assert (RunFolder(run.folder).open("a/b") / "out.txt").read_text() == "old"
    assert (do(writes("new"), parameters={"s": 1}) / "out.txt").read_text() == "new"


def test_refusing_first_stage_leaves_nothing(run: RunFolder, do: Any, raises: Any) -> None:
    with pytest.raises(MatcherError, match="bad"), run.locked():
        do(raises(MatcherError("bad")), "deep/below/here")
    assert not run.folder.exists()


def test_refusing_stage_leaves_what_was_there(run: RunFolder, do: Any, writes: Any, raises: Any) -> None:
    (run.folder / "mine" / "empty").mkdir(parents=True)
    (run.folder / "link").symlink_to(run.folder / "mine" / "empty")
    with run.locked():
        do(writes(), "a/first")
    with pytest.raises(MatcherError, match="bad"), run.locked():
        do(raises(MatcherError("bad")), "a/second")
    with pytest.raises(MatcherError, match="bad"), run.locked():
        do(raises(MatcherError("bad")), "c/third")
    assert (run.folder / "mine" / "empty").is_dir()
    assert (run.folder / "link").is_symlink()
    assert {"a/first/manifest.json", "a/first/out.txt"} == files(run.folder).keys() - {".lock"}
    assert sorted(path.name for path in run.folder.iterdir() if path.name != ".lock") == ["a", "link", "mine"]


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(33)
@pytest.mark.parametrize("ending", ["", ".work", ".old"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_link_in_place_of_a_stage_is_refused(
    run: RunFolder, do: Any, unwanted: Any, tmp_path: Path, ending: str, target: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("kept")
    (run.folder / "a").mkdir(parents=True)
    (run.folder / f"a/b{ending}").symlink_to(tmp_path / target)
    with pytest.raises(MatcherError, match=r"a/b.* is a link; .*remove the link"):
        do(unwanted)
    assert (tmp_path / "elsewhere" / "mine").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("ending", ["", ".work", ".old"])
def test_file_in_place_of_a_stage_is_refused(run: RunFolder, do: Any, unwanted: Any, ending: str) -> None:
    (run.folder / "a").mkdir(parents=True)
    (run.folder / f"a/b{ending}").write_text("mine")
    with pytest.raises(MatcherError, match=r"a/b.* is a file; .*remove the file"):
        do(unwanted)
    assert (run.folder / f"a/b{ending}").read_text() == "mine"


def test_manifest_is_json_with_sorted_outputs(do: Any) -> None:
    def behavior(out: Path) -> Mapping[str, Any]:
        for name in ("z", "a", "m/b"):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(name)
        return {}

    manifest = json.loads((do(behavior) / MANIFEST).read_text())
    assert list(manifest["outputs"]) == ["a", "m/b", "z"]


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 3 GiB"), RuntimeError("not enough memory: 3 GiB")])
def test_stage_out_of_memory_says_what_to_reduce(
    run: RunFolder, do: Any, writes: Any, raises: Any, error: Exception
) -> None:
    folder = do(writes("old"))
    with pytest.raises(MatcherError, match=r"a/b: out of memory \(.*3 GiB\); a smaller batch") as refusal:
        do(raises(error), parameters={"s": 1})
    assert refusal.value.exit_code == 2
    assert files(folder) == {MANIFEST: b"", "out.txt": b"old"}
