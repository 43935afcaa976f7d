"""Stages that are cut into shards: what is done, kept, done again and joined, by any executor."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.pipeline import shards
from shared.pipeline.engine import bring_stage_up_to_date, stage_key
from shared.pipeline.executors import Executor, cluster
from shared.pipeline.executors.cluster import Cluster
from shared.pipeline.executors.processes import Processes
from shared.pipeline.executors.serial import Serial
from shared.pipeline.progress import progress_of
from shared.pipeline.run import OverlayRun, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.shards import SHARDS, shards_done
from shared.pipeline.versions import worker_versions
from tests.support.sharded import NAME, letters

SETTINGS = Settings({}, {"compute": ComputeConfig})


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    (tmp_path / "trouble").mkdir()
    return tmp_path / "trouble"


@pytest.fixture
def bring(run: RunFolder, trouble: Path) -> Iterator[Callable[..., str]]:
    """Brings the stage up to date by an executor, and returns what it holds."""
    used: list[Executor] = []

    def call(executor: Executor | None = None, count: int = 5, **options: Any) -> str:
        again = RunFolder(run.folder, say=run.say)
        again.executor = executor or Serial()
        used.append(again.executor)
        return (bring_stage_up_to_date(again, SETTINGS, letters(trouble, count), **options) / "letters.txt").read_text()

    yield call
    for executor in used:
        executor.close()


def begun(trouble: Path) -> str:
    """The shards that were begun, in any order."""
    return "".join(sorted((trouble / "done").read_text())) if (trouble / "done").exists() else ""


def processes(trouble: Path) -> set[str]:
    return set((trouble / "opened").read_text().split())


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- in one process --------------------------------------------------------------------------------------------------


def test_shards_are_joined_and_removed(run: RunFolder, bring: Any, trouble: Path, lines: list[str]) -> None:
    assert bring() == "abcde"
    assert files(run.folder / NAME) == ["letters.txt", "manifest.json"]
    assert (begun(trouble), processes(trouble)) == ("abcde", {str(os.getpid())})
    assert "letters 5 · shards 5 · " in lines[-1]
    assert bring() == "abcde"
    assert begun(trouble) == "abcde"


@pytest.mark.parametrize("count", [0, 1])
def test_single_shard_is_done_without_shards(bring: Any, trouble: Path, count: int) -> None:
    assert bring(count=count) == "abcde"[:count]
    assert begun(trouble) == ""


def test_key_holds_the_source_of_all_functions(run: RunFolder, trouble: Path) -> None:
    stage = letters(trouble)
    assert stage.shards is not None
    others = [replace(stage.shards, **{name: begun}) for name in ("plan", "open", "join", "prepare")]
    stages = [stage, replace(stage, shards=None), *(replace(stage, shards=shards) for shards in others)]
    assert len({stage_key(run, SETTINGS, each)["code"] for each in stages}) == 6


@pytest.mark.fault(17)
@pytest.mark.parametrize(("what", "error"), [("refused", MatcherError), ("bug", KeyError)])
def test_failing_shard_costs_no_other(
    run: RunFolder, bring: Any, trouble: Path, what: str, error: type[Exception]
) -> None:
    (trouble / "c").write_text(what)
    with pytest.raises(error):
        bring()
    assert shards_done(run, NAME) == (2, 5)
    (trouble / "c").unlink()
    (trouble / "done").unlink()
    assert bring() == "abcde"
    assert begun(trouble) == "cde"
    assert (trouble / "prepared").read_text() == "once"


@pytest.mark.fault(21)
@pytest.mark.parametrize("damage", ["altered", "missing", "manifest", "other key"])
def test_damaged_shard_is_done_again(run: RunFolder, bring: Any, trouble: Path, damage: str) -> None:
    (trouble / "d").write_text("refused")
    with pytest.raises(MatcherError, match="no d"):
        bring()
    shard = run.folder / f"{NAME}.work" / SHARDS / "2"
    if damage == "altered":
        (shard / "letter.txt").write_text("x")
    elif damage == "missing":
        (shard / "letter.txt").unlink()
    elif damage == "manifest":
        (shard / "manifest.json").write_text("{")
    else:
        manifest = json.loads((shard / "manifest.json").read_text())
        (shard / "manifest.json").write_text(json.dumps(manifest | {"key": "other"}))
    (trouble / "d").unlink()
    (trouble / "done").unlink()
    assert bring() == "abcde"
    assert begun(trouble) == "bde"


@pytest.mark.fault(22)
def test_shards_of_another_plan_are_not_kept(run: RunFolder, bring: Any, trouble: Path) -> None:
    (trouble / "c").write_text("refused")
    with pytest.raises(MatcherError, match="no c"):
        bring()
    (trouble / "c").unlink()
    (trouble / "done").unlink()
    assert bring(count=4) == "abcd"
    assert begun(trouble) == "abcd"


def test_live_line_counts_shards(run: RunFolder, bring: Any, trouble: Path) -> None:
    (trouble / "c").write_text("refused")
    with pytest.raises(MatcherError, match="no c"):
        bring()
    progress = progress_of(run, [letters(trouble)], ())
    progress.start(NAME, 0.0)
    assert progress.line(0.0, shards_done(run, NAME)) == "0 of 1 stages · letters · 2 of 5 shards"


def test_run_that_is_sent_prints_nothing_and_has_absolute_paths(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder(Path("here"))
    overlay = pickle.loads(pickle.dumps(OverlayRun(Path("over"), run, ["a"], say=lambda text: None)))
    assert (overlay.folder, overlay.base.folder) == (tmp_path / "over", tmp_path / "here")
    assert (overlay.stages, type(overlay.executor)) == (frozenset("a"), Serial)
    overlay.base.line("a", "not to be seen")


class Late(Serial):
    """An executor that keeps the task, and one of whose workers writes on until it finds no folder."""

    def execute(self, task: Any, numbers: Any) -> Iterator[int]:
        self.task = task
        self.writes = threading.Thread(target=self._write)
        self.writes.start()
        yield from super().execute(task, numbers)

    def _write(self) -> None:
        with suppress(OSError):
            for number in count():
                (self.task.folder / f"{number}").with_suffix(".partial").mkdir()


@pytest.mark.fault(17)
def test_late_worker_neither_stops_the_join_nor_leaves_files(run: RunFolder, bring: Any) -> None:
    late = Late()
    assert bring(late) == "abcde"
    late.writes.join()
    with pytest.raises(MatcherError, match=r"has no folder .*/shards; the run folder must be the same folder for all"):
        late.task(2)
    assert files(run.folder) == [f"{NAME}/letters.txt", f"{NAME}/manifest.json"]
    assert [path.name for path in run.folder.iterdir() if path.is_dir()] == [NAME]


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", ["the project", "numpy", "processor"])
def test_worker_with_another_version_is_refused(bring: Any, trouble: Path, monkeypatch: Any, name: str) -> None:
    monkeypatch.setattr(shards, "worker_versions", lambda: {**worker_versions(), name: "another"})
    with pytest.raises(MatcherError, match=rf"letters: a worker on .* has another version of {name} \(.*\(another\)"):
        bring()
    assert begun(trouble) == ""


# --- in several ------------------------------------------------------------------------------------------------------


def by_processes() -> Executor:
    return Processes(3, 1)


def by_dask() -> Executor:
    pytest.importorskip("distributed")
    return Cluster("", 3, 1, 20)


@pytest.mark.slow
@pytest.mark.parametrize("executor", [by_processes, by_dask])
def test_workers_die_and_refuse_and_go_on(
    run: RunFolder, bring: Any, trouble: Path, executor: Callable[[], Executor]
) -> None:
    workers = executor()
    (trouble / "d").write_text("killed once")
    assert bring(workers) == "abcde"
    assert begun(trouble).count("d") == 2
    assert not (trouble / "d").exists()
    assert str(os.getpid()) not in processes(trouble)
    assert files(run.folder) == [f"{NAME}/letters.txt", f"{NAME}/manifest.json"]

    for what, message, kind in (("refused", r"^no b$", MatcherError), ("damaged", r"^b is damaged$", ArtifactError)):
        (trouble / "b").write_text(what)
        with pytest.raises(MatcherError, match=message) as error:
            bring(workers, count=4)
        assert type(error.value) is kind
    (trouble / "b").unlink()
    assert bring(workers, count=4) == "abcd"


@pytest.mark.slow
@pytest.mark.parametrize("executor", [by_processes, by_dask])
def test_shard_whose_workers_all_die_is_named(
    run: RunFolder, bring: Any, trouble: Path, executor: Callable[[], Executor]
) -> None:
    (trouble / "b").write_text("killed")
    with pytest.raises(MatcherError, match=r"shard 2 of letters: its worker .*3 times") as error:
        bring(executor())
    if executor is by_processes:
        assert "killed by signal 9" in str(error.value)
        assert "it printed:\nabout to write b" in str(error.value)
    # a scheduler counts the deaths anew once a client has lost it, which it may on a busy machine
    assert begun(trouble).count("b") in ((3,) if executor is by_processes else (3, 6, 9))
    (trouble / "b").unlink()
    (trouble / "done").unlink()
    assert bring() == "abcde"
    assert "a" not in begun(trouble)


@pytest.mark.slow
def test_error_of_this_program_tells_where_in_the_worker(bring: Any, trouble: Path, capfd: Any) -> None:
    (trouble / "b").write_text("bug")
    with pytest.raises(KeyError) as error:
        bring(by_processes())
    assert "In the worker:" in error.value.__notes__[0]
    assert "raise KeyError(letter)" in error.value.__notes__[0]


# --- commands --------------------------------------------------------------------------------------------------------


def test_dask_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MatcherError, match=r"needs Dask: pip install '\.\[cluster\]'"):
        Cluster("", 1, 1, 1)


def test_dask_scheduler_that_is_lost_again_and_again(monkeypatch: pytest.MonkeyPatch, bring: Any) -> None:
    pytest.importorskip("distributed")

    def lost(*args: Any) -> Iterator[int]:
        raise cluster._SchedulerLostError
        yield 1

    for name, stub in (("_connect", lambda self: None), ("_forget", lambda self: None), ("_completed", lost)):
        monkeypatch.setattr(Cluster, name, stub)
    with pytest.raises(MatcherError, match=r"letters: the Dask scheduler was lost 3 times"):
        bring(Cluster("tcp://nobody:1", 1, 1, 1))


def test_dask_is_not_imported_unless_asked_for() -> None:
    code = "import sys; import ensemble.cli, shared.pipeline.cli; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
