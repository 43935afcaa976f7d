import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import shared.pipeline.run
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.run import ABLATION, MANIFEST, DerivedRun, Run, code_digest, digest, replaced_folder, write_json

MODULE = "shared.errors"  # any module of ours that imports little
Work = Callable[[Path], Mapping[str, Any]]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, lines: list[str]) -> Run:
    return Run(tmp_path / "run", say=lines.append)


def writes(text: str = "content", name: str = "out.txt") -> Work:
    def work(out: Path) -> Mapping[str, Any]:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text)
        return {"letters": len(text)}

    return work


def fails(error: BaseException) -> Work:
    def work(out: Path) -> Mapping[str, Any]:
        (out / "out.txt").write_text("half")
        raise error

    return work


def stage(run: Run, work: Work, *, name: str = "a/b", inputs: Any = (), settings: Any = ()) -> Path:
    return Run(run.folder, force=run.force, say=run.say).stage(name, MODULE, dict(inputs), dict(settings), work)


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file by name; of manifests what does not tell the time."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    for name in found:
        if name.endswith(MANIFEST):
            manifest = json.loads(found[name])
            found[name] = json.dumps([manifest[k] for k in ("stage", "outputs", "figures", "key")]).encode()
    return found


# --- when a stage is done --------------------------------------------------------------------------------------------


def test_a_stage_is_done_once_and_says_so(run: Run, lines: list[str]) -> None:
    first = stage(run, writes())
    assert (first / "out.txt").read_text() == "content"
    again = stage(run, fails(AssertionError("not to be done")))
    assert again == first
    assert "letters 7" in lines[0]
    assert lines[1].endswith("unchanged")


@pytest.mark.parametrize(
    "changed",
    [{"inputs": {"x": "2"}}, {"inputs": {"x": "1", "y": "1"}}, {"settings": {"s": 2}}, {"settings": {}}],
)
def test_a_changed_input_or_setting_does_a_stage_again(run: Run, changed: dict[str, Any]) -> None:
    before = {"inputs": {"x": "1"}, "settings": {"s": 1}}
    stage(run, writes("old"), **before)
    assert (stage(run, writes("new"), **(before | changed)) / "out.txt").read_text() == "new"


def test_changed_code_does_a_stage_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(run, writes("old"))
    monkeypatch.setattr(shared.pipeline.run, "code_digest", lambda module: "other")
    assert (stage(run, writes("new")) / "out.txt").read_text() == "new"


def test_a_changed_time_alone_does_nothing(run: Run) -> None:
    made = stage(run, writes())
    for path in made.iterdir():
        os.utime(path, (1, 1))
    stage(run, fails(AssertionError("not to be done")))


def test_settings_that_json_writes_otherwise_still_count_as_the_same(run: Run) -> None:
    settings = {"pair": (1, 2), "path": Path("x"), "number": 1e-07, "null": None, "é": "ü"}
    stage(run, writes(), settings=settings)
    stage(run, fails(AssertionError("not to be done")), settings=settings)


@pytest.mark.parametrize(
    ("force", "done"),
    [("", True), ("a", True), ("a/b", True), ("a/bc", False), ("b", False), ("a/b/c", False), ("A", False)],
)
def test_force_names_stages_or_folders_of_stages(run: Run, force: str, done: bool) -> None:
    stage(run, writes("old"))
    run.force = (force,)
    assert (stage(run, writes("new")) / "out.txt").read_text() == ("new" if done else "old")


def test_force_of_one_name_is_not_force_of_a_longer_one(run: Run) -> None:
    stage(run, writes("old"), name="ab/c")
    run.force = ("a", "ab/")
    assert (stage(run, writes("new"), name="ab/c") / "out.txt").read_text() == "old"


def test_a_stage_done_again_keeps_nothing_of_the_old_one(run: Run) -> None:
    stage(run, writes(name="old/deep.txt"))
    made = stage(run, writes(), settings={"s": 1})
    assert sorted(p.name for p in made.iterdir()) == [MANIFEST, "out.txt"]
    assert [p.name for p in made.parent.iterdir()] == ["b"]


def test_the_digest_of_outputs_depends_on_names_and_content_alone(run: Run) -> None:
    stage(run, writes("x"), name="one", settings={"s": 1})
    stage(run, writes("x"), name="two")
    stage(run, writes("y"), name="three")
    stage(run, writes("x", "other.txt"), name="four")
    found = [run.digest_of(name) for name in ("one", "two", "three", "four")]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_manifest_tells_inputs_settings_versions_figures_and_what_it_took(run: Run) -> None:
    stage(run, writes(), inputs={"x": "1"}, settings={"s": 1})
    manifest = run.manifest("a/b") or {}
    assert manifest["key"]["inputs"] == {"x": "1"}
    assert manifest["key"]["settings"] == {"s": 1}
    assert manifest["figures"] == {"letters": 7}
    assert {"python", "torch", "lightgbm"} <= manifest["versions"].keys()
    assert manifest["seconds"] >= 0
    assert manifest["peak_memory_mb"] > 1


def test_stages_come_in_the_order_in_which_they_ended(run: Run) -> None:
    for name in ("z", "a/b", "m"):
        stage(run, writes(), name=name)
    stage(run, writes(), name="z", settings={"s": 1})
    assert [m["stage"] for m in run.stages()] == ["a/b", "m", "z"]
    stage(run, writes(), name=f"x/{ABLATION}/a/b")  # measures the run and is no part of it
    assert [m["stage"] for m in run.stages()] == ["a/b", "m", "z"]


# --- a run that takes stages from another ----------------------------------------------------------------------------


def test_a_derived_run_does_its_own_stages_and_takes_the_others(run: Run, tmp_path: Path, lines: list[str]) -> None:
    stage(run, writes("base"), name="a/b")
    stage(run, writes("base"), name="a/bc")
    derived = DerivedRun(tmp_path / "run" / "x", run, ["a/b", "m"], say=lines.append)
    own = derived.stage("a/b", MODULE, {}, {}, writes("derived"))
    taken = derived.stage("a/bc", MODULE, {}, {}, writes("derived"))
    deeper = derived.stage("m/n", MODULE, {}, {}, writes("derived"))
    assert [(path / "out.txt").read_text() for path in (own, taken, deeper)] == ["derived", "base", "derived"]
    assert (own, taken) == (derived.folder / "a/b", run.folder / "a/bc")
    assert (run.open("a/b") / "out.txt").read_text() == "base"
    assert derived.open("a/b") == own
    assert derived.open("a/bc") == taken
    assert derived.digest_of("a/bc") == run.digest_of("a/bc") == run.digest_of("a/b") != derived.digest_of("a/b")
    assert derived.manifest("m") is None
    assert derived.done == ["a/b", "m/n"]


def test_a_derived_run_asks_for_what_neither_has(run: Run, tmp_path: Path) -> None:
    derived = DerivedRun(tmp_path / "x", run, ["m"], say=print)
    with pytest.raises(ArtifactError, match=r"run has no finished stage 'a/b'"):
        derived.stage("a/b", MODULE, {}, {}, writes())
    with pytest.raises(ArtifactError, match=r"x has no finished stage 'm'"):
        derived.open("m")


def test_what_is_forced_in_a_run_is_forced_in_those_derived_from_it(run: Run, tmp_path: Path) -> None:
    run.force = ("m",)
    for _ in range(2):
        derived = DerivedRun(tmp_path / "x", run, ["a", "m"], say=print)
        for name in ("a", "m"):
            derived.stage(name, MODULE, {}, {}, writes())
    assert derived.done == ["m"]


# --- artifacts that are not what was written -------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bit": flip_a_bit,
    "truncated": lambda path: os.truncate(path, 3),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "missing": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_output_is_refused_when_opened_and_made_again_by_its_stage(
    run: Run, lines: list[str], damage: str
) -> None:
    made = stage(run, writes())
    DAMAGE[damage](made / "out.txt")
    for read in (run.open, run.digest_of):
        with pytest.raises(ArtifactError, match=r"out.txt (is missing|does not have the checksum).*run_all") as caught:
            read("a/b")
        assert caught.value.exit_code == 3
    assert (stage(run, writes()) / "out.txt").read_text() == "content"
    assert any("doing it again" in line for line in lines)
    Run(run.folder).open("a/b")


def test_a_damaged_input_is_refused_before_anything_parses_it(run: Run) -> None:
    made = stage(run, writes(), name="first")
    flip_a_bit(made / "out.txt")
    with pytest.raises(ArtifactError):
        run.stage("second", MODULE, {"first": run.digest_of("first")}, {}, fails(AssertionError("not to be done")))


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
        b'{"outputs": [], "stage": "a/b", "figures": {}, "key": {}, "ended": 1}',
    ],
)
def test_a_foreign_or_damaged_manifest_counts_as_no_finished_stage(run: Run, content: bytes) -> None:
    made = stage(run, writes())
    (made / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match="no finished stage"):
        run.open("a/b")
    assert run.stages() == []
    assert (stage(run, writes("new")) / "out.txt").read_text() == "new"


def test_every_truncation_of_a_manifest_does_the_stage_again(run: Run) -> None:
    made = stage(run, writes())
    whole = (made / MANIFEST).read_bytes()
    for length in range(0, len(whole) - 2, 97):
        (made / MANIFEST).write_bytes(whole[:length])
        stage(run, writes())
        assert run.manifest("a/b") is not None


def test_opening_a_stage_that_has_not_run_says_what_makes_it(run: Run) -> None:
    with pytest.raises(ArtifactError, match=r"no finished stage 'a/b'; ./run_all.sh makes it"):
        run.open("a/b")


# --- stages that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [MatcherError("bad"), ValueError("bug"), OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
)
def test_a_failing_stage_leaves_the_old_artifact(run: Run, error: BaseException) -> None:
    made = stage(run, writes("old"))
    before = files(made)
    with pytest.raises(type(error)):
        stage(run, fails(error), settings={"s": 1})
    assert files(made) == before
    assert Run(run.folder).open("a/b") == made
    assert (stage(run, writes("new"), settings={"s": 1}) / "out.txt").read_text() == "new"
    assert sorted(files(run.folder)) == ["a/b/manifest.json", "a/b/out.txt"]


def test_a_stage_that_cannot_promote_its_outputs_leaves_the_old_artifact(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(run, writes("old"))

    def full(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shared.pipeline.run, "write_json", full)
        with pytest.raises(OSError, match="No space left"):
            stage(run, writes("new"), settings={"s": 1})
    assert (Run(run.folder).open("a/b") / "out.txt").read_text() == "old"
    assert (stage(run, writes("new"), settings={"s": 1}) / "out.txt").read_text() == "new"
    assert made.exists()


def test_nothing_is_left_behind_when_the_first_stage_fails(run: Run) -> None:
    with pytest.raises(MatcherError, match="bad"), run.locked():
        stage(run, fails(MatcherError("bad")), name="deep/below/here")
    assert not run.folder.exists()


def test_a_folder_that_was_there_before_stays_and_so_does_what_is_in_it(run: Run) -> None:
    (run.folder / "mine" / "empty").mkdir(parents=True)
    (run.folder / "link").symlink_to(run.folder / "mine" / "empty")
    with pytest.raises(MatcherError, match="bad"), run.locked():
        stage(run, fails(MatcherError("bad")))
    assert (run.folder / "mine" / "empty").is_dir()
    assert (run.folder / "link").is_symlink()
    assert not (run.folder / "a").exists()


def test_an_empty_folder_that_was_there_before_stays(run: Run) -> None:
    run.folder.mkdir()
    with pytest.raises(MatcherError, match="bad"), run.locked():
        stage(run, fails(MatcherError("bad")))
    assert [path.name for path in run.folder.iterdir()] == [".lock"]


def test_a_failed_stage_leaves_finished_ones_beside_it(run: Run) -> None:
    with run.locked():
        stage(run, writes(), name="a/first")
    with pytest.raises(MatcherError, match="bad"), run.locked():
        stage(run, fails(MatcherError("bad")), name="a/second")
    assert sorted(files(run.folder)) == [".lock", "a/first/manifest.json", "a/first/out.txt"]


# --- killed at any moment --------------------------------------------------------------------------------------------

PIPELINE = """
import os, signal, sys
from pathlib import Path
from shared.pipeline.run import Run

def work(out, text):
    (out / "checkpoint").mkdir(exist_ok=True)
    found = out / "checkpoint" / "state"
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint", "key"], "finds no more than a checkpoint"
    if not found.exists():
        found.write_text(text)
    assert found.read_text() == text, "a checkpoint of other settings"
    (out / "temporary").write_text(str(os.getpid()))
    (out / "temporary").rename(out / "one")
    (out / "one").write_text(text)
    (out / "sub").mkdir()
    (out / "sub" / "two").write_text(text * 2)
    found.unlink()
    found.parent.rmdir()
    return {"letters": len(text)}

def pipeline(folder, text):
    run = Run(folder, say=lambda line: None)
    with run.locked():
        run.stage("a/first", "shared.errors", {}, {"text": text}, lambda out: work(out, text))
        inputs = {"first": run.digest_of("a/first")}
        run.stage("second", "shared.errors", inputs, {}, lambda out: work(out, text.upper()))
        run.remember({"s": {"text": text}})

def child(folder, text, moment=None):
    process = os.fork()
    if process == 0:
        changes = 0
        def hook(event, arguments):
            nonlocal changes
            writing = event == "open" and arguments[1] and set(arguments[1]) & set("wa")
            if writing or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
                changes += 1
                if changes == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        pipeline(folder, text)
        os._exit(0)
    return os.waitpid(process, 0)[1]

folder, moment, killed = Path(sys.argv[1]), 0, True
pipeline(folder / "warm", "new")  # what is cached by module, such as versions, is known to every child
while killed:
    moment += 1
    for start in ("fresh", "over"):
        here = folder / f"{start}-{moment}"
        if start == "over":
            assert child(here, "old") == 0
        killed = os.waitstatus_to_exitcode(child(here, "new", moment)) == -signal.SIGKILL
        assert child(here, "new") == 0, f"{here} does not go on"
print(moment)
"""


@pytest.mark.slow
def test_a_run_killed_at_any_change_of_a_file_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PIPELINE, tmp_path],
        cwd=shared.pipeline.run.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    moments = int(done.stdout)
    assert moments > 30
    undisturbed = {name: data for name, data in files(tmp_path / f"fresh-{moments}").items() if name != ".lock"}
    assert len(undisturbed) == 7
    for folder in tmp_path.iterdir():
        found = {name: data for name, data in files(folder).items() if name != ".lock"}
        assert found == undisturbed, folder.name


def test_a_killed_stage_finds_the_checkpoint_it_left_and_nothing_else(run: Run) -> None:
    def killed(out: Path) -> Mapping[str, Any]:
        (out / "checkpoint").mkdir()
        (out / "checkpoint" / "state").write_text("half way")
        (out / "half").mkdir()
        (out / "half" / "out.txt").write_text("hal")
        raise KeyboardInterrupt

    def resumed(out: Path) -> Mapping[str, Any]:
        assert not (out / "half").exists()
        found = (out / "checkpoint" / "state").read_text()
        shutil.rmtree(out / "checkpoint")
        (out / "out.txt").write_text(found)
        return {}

    with pytest.raises(KeyboardInterrupt):
        stage(run, killed)
    assert (stage(run, resumed) / "out.txt").read_text() == "half way"


def test_work_whose_manifest_is_written_is_not_done_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    stage(run, writes("old"))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_promote", killed)
        with pytest.raises(KeyboardInterrupt):
            stage(run, writes("new"), settings={"s": 1})
    done = stage(run, fails(AssertionError("not to be done")), settings={"s": 1})
    assert (done / "out.txt").read_text() == "new"


def test_a_checkpoint_of_other_settings_is_not_found(run: Run) -> None:
    def killed(out: Path) -> Mapping[str, Any]:
        (out / "checkpoint").mkdir()
        raise KeyboardInterrupt

    def looks(out: Path) -> Mapping[str, Any]:
        return {"found": (out / "checkpoint").exists()}

    with pytest.raises(KeyboardInterrupt):
        stage(run, killed)
    stage(run, looks, settings={"s": 1})
    assert (run.manifest("a/b") or {})["figures"] == {"found": False}


# --- two runs in one folder ------------------------------------------------------------------------------------------


def hold(folder: Path, pipe: Any) -> None:
    with Run(folder).locked():
        pipe.send("held")
        pipe.recv()


@pytest.fixture
def holder(run: Run) -> Iterator[multiprocessing.process.BaseProcess]:
    """Another process that holds the run folder."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(run.folder, theirs))
    process.start()
    assert ours.recv() == "held"
    yield process
    if process.is_alive():
        ours.send("let go")
    process.join(20)


def test_a_second_run_in_a_folder_fails_at_once_and_says_who_holds_it(
    run: Run, holder: multiprocessing.process.BaseProcess
) -> None:
    began = time.monotonic()
    with pytest.raises(MatcherError, match=rf"in use by process {holder.pid} on .+"), run.locked():
        pytest.fail("two runs in one folder")
    assert time.monotonic() - began < 1


def test_the_lock_of_a_killed_run_is_no_obstacle(run: Run, holder: multiprocessing.process.BaseProcess) -> None:
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(20)
    assert (run.folder / ".lock").read_text().startswith(f"process {holder.pid}")
    with run.locked():
        assert (run.folder / ".lock").read_text().startswith(f"process {os.getpid()} ")


def test_a_lock_is_let_go_of_when_the_run_ends_however_it_ends(run: Run) -> None:
    with pytest.raises(ValueError, match="bug"), run.locked():
        raise ValueError("bug")
    with run.locked():
        pass


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(MatcherError, match=rf"cannot write the run folder {place}: "), Run(place).locked():
            pytest.fail("written nevertheless")


def test_a_read_only_run_folder_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root may write to any folder, whatever its mode
    with pytest.raises(MatcherError, match=r"cannot write the run folder .*: Read-only"), run.locked():
        pytest.fail("written nevertheless")


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which `shared.top` imports the others, one by way of another."""
    texts = {
        "shared/__init__.py": "",
        "shared/top.py": "import os\nfrom shared import middle\nfrom shared.plain import value\n",
        "shared/plain.py": "value = 1\n",
        "shared/middle.py": "def later():\n    import shared.deep.leaf as leaf\n    from branches import some\n",
        "shared/deep/__init__.py": "",
        "shared/deep/leaf.py": "import shared.top\n",
        "shared/stranger.py": "",
        "branches/some/__init__.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(shared.pipeline.run, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("shared/top.py", True),
        ("shared/plain.py", True),
        ("shared/middle.py", True),
        ("shared/deep/leaf.py", True),
        ("branches/some/__init__.py", True),
        ("shared/stranger.py", False),
    ],
)
def test_the_code_digest_changes_with_whatever_is_imported_however_deep(
    sources: Path, changed: str, matters: bool
) -> None:
    digest_now = code_digest.__wrapped__
    before = digest_now("shared.top")
    path = sources / changed
    os.utime(path, (1, 1))
    assert digest_now("shared.top") == before
    path.write_text(path.read_text() + "# changed\n")
    assert (digest_now("shared.top") != before) == matters


def test_the_code_digest_leaves_out_what_a_module_needs_only_as_a_command(sources: Path) -> None:
    top = sources / "shared" / "top.py"
    top.write_text(top.read_text() + 'if __name__ == "__main__":\n    from shared.stranger import x\n')
    before = code_digest.__wrapped__("shared.top")
    (sources / "shared" / "stranger.py").write_text("changed = 1\n")
    assert code_digest.__wrapped__("shared.top") == before


def test_every_module_with_a_stage_has_a_source_to_digest() -> None:
    nothing = code_digest.__wrapped__("shared.no_such_module")
    for module in (
        "shared.catalog.split",
        "shared.catalog.reader",
        "shared.demo",
        "branches.image.train",
        "ensemble.score",
    ):
        assert code_digest(module) != nothing


# --- folders and files that are replaced -----------------------------------------------------------------------------


def test_a_replaced_folder_takes_the_new_files_and_keeps_the_others(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for text in ("old", "new"):
        with replaced_folder(out) as folder:
            (folder / "a").write_text(text)
            assert not (out / "a").exists() or (out / "a").read_text() == "old"
        (out / "mine").write_text("kept")
    assert {p.name: p.read_text() for p in out.iterdir()} == {"a": "new", "mine": "kept"}
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [MatcherError("bad"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_replaced_folder_is_as_before_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    with pytest.raises(type(error)), replaced_folder(out):
        raise error
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "a").write_text("old")

    def replace() -> None:
        with replaced_folder(out) as folder:
            (folder / "a").write_text("new")
            raise error

    with pytest.raises(type(error)):
        replace()
    assert (out / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_replaced_folder_may_be_the_current_one_or_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for place in (Path("."), tmp_path / "link"):
        with replaced_folder(place) as folder:
            (folder / "a").write_text(str(place))
        assert (tmp_path / "here" / "a").read_text() == str(place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "link"]


def test_a_folder_cannot_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MatcherError, match=f"cannot write to {place}"), replaced_folder(place):
            pytest.fail("too late to find out")
    assert (tmp_path / "file").read_text() == "mine"


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, None, "é"], "b": Path("p")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": [1, 2.5, None, "é"], "b": "p"}

    class Broken:
        def __str__(self) -> str:
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        write_json(path, {"a": Broken()})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == "p"


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest([1, 2]) != digest([2, 1])
