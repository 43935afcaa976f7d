"""Jobs that share a run: `--shard i/n`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts import read_json
from shared.pipeline import jobs
from shared.pipeline.jobs import shares
from shared.pipeline.run import RunFolder
from tests.support.job import main
from tests.support.paths import ROOT
from tests.support.sharded import NAME

COMMAND = [sys.executable, "-m", "tests.support.job"]
WAIT_S = 60


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    (tmp_path / "trouble").mkdir()
    return tmp_path / "trouble"


@pytest.fixture
def start(run: RunFolder, trouble: Path) -> Any:
    """Starts a job; all are ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def call(*options: str) -> subprocess.Popen[str]:
        line = [*COMMAND, str(trouble), "--run", str(run.folder), *options]
        started.append(spawn(line))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def spawn(line: list[str]) -> subprocess.Popen[str]:
    """A process that begins a group of its own, as a command does that is typed in a terminal."""
    environment, out = {**os.environ, "PYTHONPATH": str(ROOT)}, subprocess.PIPE
    options: dict[str, Any] = {"cwd": ROOT, "env": environment, "text": True, "process_group": 0}
    return subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT, **options)


def said(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=WAIT_S)
    return process.returncode, output


def wait_for(path: Path) -> None:
    until = time.monotonic() + WAIT_S
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.05)


def content(run: RunFolder) -> str:
    return (RunFolder(run.folder).open(NAME) / "letters.txt").read_text()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_every_shard_falls_to_one_job(count: int) -> None:
    fallen = [shares(range(1, 8), job, count) for job in range(1, count + 1)]
    assert sorted(number for of_job in fallen for number in of_job) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.slow
@pytest.mark.fault(17, 19)
def test_jobs_share_a_stage_and_go_on_after_each_was_killed(run: RunFolder, start: Any, trouble: Path) -> None:
    for letter in "bc":
        (trouble / letter).write_text("slow")
    third, second = start("--shard", "3/3"), start("--shard", "2/3")
    first = start("--shard", "1/3", "--engine=processes", "--workers=1")
    for letter in "bc":
        wait_for(trouble / f"{letter} began")
    wait_for(run.folder / f"{NAME}.work" / "shards" / "1")
    second.kill()
    third.terminate()
    assert said(third)[0] == 143
    for letter in "bc":
        (trouble / letter).unlink()
    first.kill()
    first.wait()
    (trouble / "done").unlink()
    again = [start("--shard", f"{job}/3") for job in (2, 3, 1)]
    ends = [said(process) for process in again]
    assert [code for code, _ in ends] == [0, 0, 0], ends
    assert "shards 2, 5 of 5" in ends[0][1]
    assert "shards 3 of 5" in ends[1][1]
    assert content(run) == "abcde"
    assert set((trouble / "done").read_text()) <= set("bcde")  # the first shard of job 1 was kept
    late = start("--shard", "2/3")
    code, output = said(late)
    assert (code, "nothing is left to do for this job" in output) == (0, True), output


@pytest.mark.slow
@pytest.mark.fault(17)
def test_plain_command_joins_what_jobs_left(run: RunFolder, start: Any, trouble: Path) -> None:
    first = start("--shard", "1/2")
    wait_for(run.folder / f"{NAME}.work" / "shards" / "5")
    first.kill()
    first.wait()
    (trouble / "done").unlink()
    code, output = said(start())
    assert code == 0, output
    assert content(run) == "abcde"
    assert (trouble / "done").read_text() == "bd"


@pytest.mark.slow
def test_refusal_of_one_job_ends_all_with_its_words(run: RunFolder, start: Any, trouble: Path) -> None:
    (trouble / "b").write_text("damaged")
    ends = [said(process) for process in [start("--shard", "1/2"), start("--shard", "2/2")]]
    for code, output in ends:
        assert (code, output.count("error: b is damaged")) == (3, 1), output
        assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.fault(17, 20)
def test_full_disk_of_one_job_ends_all(run: RunFolder, start: Any, trouble: Path) -> None:
    (trouble / "b").write_text("full")
    first, second = start("--shard", "1/2"), start("--shard", "2/2", "--engine=processes", "--workers=1")
    for process, words in ((second, "error: "), (first, "error: job 2 ended: ")):
        code, output = said(process)
        assert (code, words in output, "No space left on device" in output) == (2, True, True), output
        assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.fault(18)
@pytest.mark.parametrize("engine", ["processes", "dask"])
@pytest.mark.parametrize("moment", ["workers start", "workers work"])
def test_interrupted_command_leaves_no_process_and_goes_on(
    run: RunFolder, start: Any, trouble: Path, engine: str, moment: str
) -> None:
    if engine == "dask":
        pytest.importorskip("distributed")
    for letter in "bcde":
        (trouble / letter).write_text("slow")
    command = start(f"--engine={engine}", "--workers=2")
    shards = run.folder / f"{NAME}.work" / "shards"
    wait_for(shards / "plan.json" if moment == "workers start" else trouble / "c began")
    if moment == "workers work":
        wait_for(shards / "1")
    os.killpg(command.pid, signal.SIGINT)  # as Ctrl-C does
    code, output = said(command)
    assert code == 130, output
    told = "\ninterrupted; run the same command again to continue\n"
    assert told in output  # a worker that was just starting may complain after it
    assert "Traceback" not in output.partition(told)[0]
    assert "KeyboardInterrupt" not in output
    wait_until_gone(command.pid)
    for letter in "bcde":
        (trouble / letter).unlink()
    (trouble / "done").unlink(missing_ok=True)
    code, output = said(start())
    assert (code, content(run)) == (0, "abcde"), output
    assert sorted((trouble / "done").read_text()) == [*"abcde"][moment == "workers work" :]


def wait_until_gone(group: int) -> None:
    """Wait until no process of a group is left."""
    until = time.monotonic() + WAIT_S
    with suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.05)
        pytest.fail("processes are left")


@pytest.mark.slow
@pytest.mark.fault(19)
def test_job_that_is_started_twice_is_refused(run: RunFolder, start: Any, trouble: Path) -> None:
    for job, letter in ((1, "a"), (2, "b")):
        (trouble / letter).write_text("slow")
        start("--shard", f"{job}/2")
    for job, letter in ((1, "a"), (2, "b")):
        wait_for(trouble / f"{letter} began")
        code, output = said(start("--shard", f"{job}/2"))
        assert (code, "is in use by process" in output) == (2, True), output


@pytest.mark.slow
@pytest.mark.parametrize(("job", "awaited"), [(1, "job 2 of 2, for shards 2, 4 of letters"), (2, "job 1 of 2")])
def test_job_gives_up_one_without_a_sign_of_life(start: Any, job: int, awaited: str) -> None:
    code, output = said(start("--shard", f"{job}/2", "--patience=0.02"))
    assert code == 2
    assert f"error: waited for {awaited}, which has given no sign of life for 0.02 minutes; start it again" in output


@pytest.mark.slow
def test_job_with_other_settings_is_refused(
    run: RunFolder, start: Any, trouble: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (trouble / "a").write_text("slow")
    start("--shard", "1/2")
    wait_for(trouble / "a began")
    monkeypatch.setattr(jobs, "PATIENT_S", 0.5)
    monkeypatch.setattr(sys, "argv", ["job", str(trouble), "--run", str(run.folder), "--shard=2/2", "--count=6"])
    assert main() == 2
    assert "error: letters has other settings, other inputs or other code in this job" in capsys.readouterr().err


# --- a scheduler that is restarted ------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[], list[subprocess.Popen[str]]]]:
    """Starts a Dask scheduler, at the same address each time, and three workers; returns their processes."""
    pytest.importorskip("distributed")
    started: list[subprocess.Popen[str]] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def call() -> list[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
        scheduler = spawn([*command, f"--host=tcp://{address}", f"--scheduler-file={tmp_path / 'scheduler.json'}"])
        line = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            f"tcp://{address}",
            "--nthreads=1",
            "--no-dashboard",
        ]
        workers = [spawn([*line, "--no-nanny", "--local-directory", str(tmp_path)]) for _ in range(3)]
        started.extend([scheduler, *workers])
        return [scheduler, *workers]

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.fault(17)
def test_only_missing_shards_are_repeated_after_a_worker_and_then_a_scheduler_was_killed(
    run: RunFolder, start: Any, trouble: Path, tmp_path: Path, cluster: Any
) -> None:
    for letter in "de":
        (trouble / letter).write_text("slow")
    began = cluster()
    wait_for(tmp_path / "scheduler.json")
    command = start("--engine=dask", f"--cluster={tmp_path / 'scheduler.json'}", "--patience=1")
    for letter in "de":
        wait_for(trouble / f"{letter} began")
    for number in "123":
        wait_for(run.folder / f"{NAME}.work" / "shards" / number)
    worker = read_json(trouble / "e began")["process"]
    (trouble / "e began").unlink()
    os.kill(worker, signal.SIGKILL)
    wait_for(trouble / "e began")
    assert read_json(trouble / "e began")["process"] != worker
    assert sorted((trouble / "done").read_text()) == [*"abcdee"]

    for process in began:
        process.kill()
        process.wait()
    for letter in "de":
        (trouble / letter).unlink()
    (trouble / "done").unlink()
    (tmp_path / "scheduler.json").unlink()
    cluster()
    code, output = said(command)
    assert code == 0, output
    assert "Traceback" not in output
    assert content(run) == "abcde"
    assert sorted((trouble / "done").read_text()) == ["d", "e"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "patience", "words"),
    [
        ("tcp://127.0.0.1:9", "0.01", "no Dask scheduler answers at tcp://127.0.0.1:9 "),
        ("none.json", "0.01", "no Dask scheduler answers at none.json (there is no such file); start it"),
        ("nonsense://127.0.0.1:9", "60", "--cluster nonsense://127.0.0.1:9 is no address of a Dask scheduler"),
    ],
)
def test_scheduler_that_does_not_answer_is_told(start: Any, address: str, patience: str, words: str) -> None:
    pytest.importorskip("distributed")
    code, output = said(start("--engine=dask", f"--cluster={address}", f"--patience={patience}"))
    assert code == 2, output
    assert f"error: {words}" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "0/3"], "--shard 0/3: I/N is needed, the first of three jobs being 1/3"),
        (["--shard", "4/3"], "--shard 4/3: I/N is needed"),
        (["--shard", "1/3", "--force"], "--force and --shard cannot be used together"),
        (["--shard", "1/3", "--engine", "dask"], "--shard and --engine dask cannot be used together"),
        (["--workers", "2"], "--workers needs an engine: --engine processes"),
        (["--cluster", "tcp://x:1"], "--cluster needs an engine: --engine dask"),
        (["--engine", "processes", "--cluster", "tcp://x:1"], "--cluster needs --engine dask"),
        (["--engine", "processes", "--workers", "0"], "--workers 0: at least 1 is needed"),
    ],
)
def test_options_that_contradict_each_other(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["job", str(tmp_path), "--run", str(tmp_path / "run"), *options])
    assert main() == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
