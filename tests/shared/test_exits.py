"""How commands end: codes, messages, interrupts at any moment, streams that are gone."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import SafetensorError

from shared.errors import ArtifactError, MatcherError
from shared.exits import INTERRUPTED, REFUSED, TERMINATED, Terminated, end_of, ended
from tests.support.paths import ROOT


def raises(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "number",
    [
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV, errno.EMFILE),
    ],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("name", ["/share/file", None])
def test_what_the_system_refuses_is_one_message(
    number: int, name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raises(OSError(number, os.strerror(number), name))) == REFUSED
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"error: {name}: " if name else "error: ")
    assert said.endswith(f"{os.strerror(number)}; finished stages are intact\n")


@pytest.mark.fault(18)
def test_file_of_a_lost_share_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert ended(lambda: (tmp_path / "gone").read_bytes()) == REFUSED
    assert f"{tmp_path / 'gone'}: No such file or directory, though it was there" in capsys.readouterr().err


@pytest.mark.fault(18)
def test_open_file_that_fails_is_told_without_its_number() -> None:
    end = end_of(OSError(errno.EIO, "Input/output error", 5))
    assert end == (REFUSED, "error: a file cannot be read or written: Input/output error; finished stages are intact")


def test_name_that_is_not_utf_8_is_told_and_no_other_text() -> None:
    with pytest.raises(UnicodeEncodeError) as of_name:
        "a\udcff.csv".encode()
    end = end_of(of_name.value)
    assert end is not None
    assert "rename it" in end.message
    with pytest.raises(UnicodeEncodeError) as of_text:
        "Café".encode("ascii")
    assert end_of(of_text.value) is None


def allocate_by_numpy() -> None:
    np.zeros(1 << 60, dtype=np.uint8)


def allocate_by_torch() -> None:
    torch.zeros(1 << 60, dtype=torch.uint8)


def allocate_by_arrow() -> None:
    pa.allocate_buffer(1 << 60)


def allocate_by_lightgbm() -> None:
    import lightgbm as lgb

    raise lgb.basic.LightGBMError("std::bad_alloc")


@pytest.mark.parametrize(
    "work",
    [
        *(allocate_by_numpy, allocate_by_torch, allocate_by_arrow, allocate_by_lightgbm),
        raises(MemoryError()),
        raises(OSError(errno.ENOMEM, "Cannot allocate memory")),
        raises(ImportError("libtorch_cpu.so: failed to map segment from shared object")),
        raises(SafetensorError("Error while serializing: I/O error: Cannot allocate memory (os error 12)")),
        raises(RuntimeError("can't start new thread")),
    ],
)
def test_out_of_memory_says_what_to_reduce(work: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(work) == REFUSED
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory")
    assert "match fewer listings at a time" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), KeyError("bug"), OSError("bug"), RuntimeError("bug"), AssertionError()]
)
def test_error_in_the_program_is_no_end(error: Exception) -> None:
    assert end_of(error) is None
    with pytest.raises(type(error)):
        ended(raises(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [(MatcherError("x"), 2), (ArtifactError("x"), 3), (KeyboardInterrupt(), 130), (Terminated(), 143)],
)
def test_exit_code_of_each_error(error: BaseException, code: int) -> None:
    assert ended(raises(error)) == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_interrupt_within_the_work(number: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert ended(lambda: os.kill(os.getpid(), number), interrupted="stopped") == code
    assert capsys.readouterr().err == "\nstopped\n"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert ended(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_work_in_another_thread_has_no_interrupts() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(ended(raises(MatcherError("x")))))
    thread.start()
    thread.join()
    assert codes == [2]


# --- processes -------------------------------------------------------------------------------------------------------

# A package of commands that does something while it is imported, or while it works.
COMMAND = """
import os, signal, sys
import shared
from shared.exits import ended
{early}
def work():
    {work}
raise SystemExit(ended(work))
"""


def command(folder: Path, early: str = "", work: str = "pass", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as `python -m`; its package imports this project first, as `ensemble` and `branches` do."""
    package = folder / "tool"
    package.mkdir()
    (package / "__init__.py").write_text("import shared\n")
    (package / "run.py").write_text(COMMAND.format(early=early, work=work))
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    line = [sys.executable, "-m", "tool.run"]
    return subprocess.run(line, env=environment, text=True, timeout=60, check=False, **pipes)


INTERRUPTS = [("SIGINT", INTERRUPTED), ("SIGTERM", TERMINATED)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), INTERRUPTS)
def test_interrupt_of_an_import(tmp_path: Path, name: str, code: int) -> None:
    done = command(tmp_path, early=f"os.kill(os.getpid(), signal.{name})")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "\ninterrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), INTERRUPTS)
def test_interrupt_of_a_destructor(tmp_path: Path, name: str, code: int) -> None:
    early = f"class Left:\n    def __del__(self): os.kill(os.getpid(), signal.{name})"
    done = command(tmp_path, early=early, work="Left()")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stderr


@pytest.mark.slow
def test_interrupt_after_the_work_is_quiet(tmp_path: Path) -> None:
    early = "import atexit\natexit.register(os.kill, os.getpid(), signal.SIGINT)"
    done = command(tmp_path, early=early)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "\ninterrupted\n")


@pytest.mark.slow
def test_nothing_is_said_of_what_an_interrupt_left_half_open(tmp_path: Path) -> None:
    early = "import atexit\n@atexit.register\ndef close(): assert False, 'half open'"
    interrupted, finished = tmp_path / "interrupted", tmp_path / "finished"
    interrupted.mkdir()
    finished.mkdir()
    done = command(interrupted, early=early, work="os.kill(os.getpid(), signal.SIGINT)")
    assert (done.returncode, done.stderr) == (INTERRUPTED, "\ninterrupted; run the same command again to continue\n")
    assert "half open" in command(finished, early=early).stderr  # without an interrupt it is an error of the program


@pytest.mark.slow
def test_memory_for_imports_is_missing(tmp_path: Path) -> None:
    done = command(tmp_path, early="raise MemoryError")
    assert done.returncode == REFUSED
    assert done.stderr.startswith("error: out of memory; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = command(tmp_path, work="print('line\\\\n' * 100_000)", stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_output_to_a_full_disk(tmp_path: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = command(tmp_path, work="print('line')", stdout=full)
    assert done.returncode == REFUSED
    assert done.stderr == "error: cannot write a file: No space left on device; finished stages are intact\n"


@pytest.mark.slow
def test_output_that_has_no_letters_but_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = command(tmp_path, work="print('Café · 猫'); print('é', file=sys.stderr)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Caf\\xe9 \\xb7 \\u732b\n", "\\xe9\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="closes streams by the shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    kept = tmp_path / "kept"
    kept.write_text("")
    work = "file = open(sys.argv[1], 'w'); print('said'); print('told', file=sys.stderr); file.close()"
    (tmp_path / "run.py").write_text(COMMAND.format(early="", work=work))
    package = tmp_path / "tool"
    package.mkdir()
    (package / "__init__.py").write_text("import shared\n")
    (tmp_path / "run.py").rename(package / "run.py")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    line = f'"{sys.executable}" -m tool.run "{kept}" {closed}'
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert kept.read_text() == ""
    assert "Traceback" not in done.stderr
