"""How a command ends: with one exit code and, unless all went well, one message.

| code | meaning |
|---|---|
| 0 | done |
| 2 | bad input or settings; or the machine refuses: no memory, a full disk, no rights, a disk or share that is gone |
| 3 | an artifact is damaged or missing |
| 130 | interrupted (Ctrl-C, SIGINT) |
| 141 | nobody reads what the command prints any more (`| head`) |
| 143 | asked to end (SIGTERM) |

Whatever the end, finished stages are intact, and the same command goes on. Code 1 and a traceback are an error in this
program.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple

from shared.errors import MatcherError

REFUSED, INTERRUPTED, UNREAD, TERMINATED = 2, 130, 141, 143
WORD = "interrupted"
_NOT_UTF_8 = "surrogates not allowed"  # Python's words for a text with bytes in it that it could not decode
_INTACT = "finished stages are intact"
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_RIGHTS = (errno.EACCES, errno.EPERM)
_NO_MEMORY = (  # as numpy, torch, LightGBM, the dynamic linker and the system say it
    "allocate memory",
    "bad allocation",
    "bad_alloc",
    "failed to map segment",
    "not enough memory",
    "out of memory",
    "can't start new thread",
)
_TELLING = ("safetensors", "lightgbm", "torch")  # packages whose own errors may say it


class Terminated(KeyboardInterrupt):
    """The system, or another program, asks the process to end (SIGTERM)."""


class End(NamedTuple):
    """How a command ends.

    Args:
        code: The exit code.
        message: What is said on the error stream; empty: nothing.
    """

    code: int
    message: str


def ended(work: Callable[[], object], interrupted: str = f"{WORD}; run the same command again to continue") -> int:
    """Run the work of a command, say in one message why it fails if it does, and return the exit code.

    Within the work, SIGINT and SIGTERM raise an exception; afterwards they do what they did before.

    Args:
        work: What the command does.
        interrupted: What is said when it is interrupted.

    Examples:
        >>> ended(lambda: sum(range(10)))
        0
    """
    with _raising_interrupts():
        try:
            try:
                work()
            except SystemExit:  # after --help, or a word about wrong options
                _flush()
                raise
            _flush()
        except BaseException as error:
            end = end_of(error)
            if end is None:
                raise
            for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C does not interrupt the message
                _handle(number, signal.SIG_IGN)
            _tell(f"\n{interrupted}" if isinstance(error, KeyboardInterrupt) else end.message)
            if isinstance(error, KeyboardInterrupt) and sys.unraisablehook is _end_unraisable:
                sys.unraisablehook = _ignore  # libraries cannot close what was interrupted while they opened it
            return end.code
    return 0


def end_of(error: BaseException) -> End | None:
    """Return how an error ends a command; None for an error in this program.

    Examples:
        >>> end_of(MatcherError("no such file"))
        End(code=2, message='error: no such file')
        >>> end_of(OSError(errno.EIO, "Input/output error", "/share/a.csv")).message
        'error: /share/a.csv: Input/output error; finished stages are intact'
        >>> end_of(KeyError("bug")) is None
        True
    """
    if isinstance(error, KeyboardInterrupt):
        return End(TERMINATED if isinstance(error, Terminated) else INTERRUPTED, WORD)
    if isinstance(error, BrokenPipeError):
        return End(UNREAD, "")
    if isinstance(error, MatcherError):
        return End(error.exit_code, f"error: {error}")
    if isinstance(error, UnicodeEncodeError) and error.reason == _NOT_UTF_8:
        return End(REFUSED, f"error: the name {error.object!r} is not valid UTF-8; rename it")
    if is_out_of_memory(error):
        what = "match fewer listings at a time, or lower `neighbors` of the branches"
        return End(REFUSED, f"error: {out_of_memory(error)}; {what}; {_INTACT}")
    fault = _fault(error)
    return None if fault is None else End(REFUSED, f"error: {fault}; {_INTACT}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory, whichever library says so.

    Examples:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
        True
        >>> is_out_of_memory(ValueError("out of memory: the game"))
        False
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    may_tell = isinstance(error, (RuntimeError, ImportError, OSError)) or _package(error) in _TELLING
    return may_tell and any(words in str(error).lower() for words in _NO_MEMORY)


def out_of_memory(error: BaseException) -> str:
    """Return in words that there was not enough memory, and what for if the error says it.

    Examples:
        >>> out_of_memory(MemoryError("Unable to allocate 3.00 GiB"))
        'out of memory (Unable to allocate 3.00 GiB)'
    """
    lines = str(error).splitlines()
    return "out of memory" + (f" ({lines[0].rstrip('.')})" if lines else "")


def _fault(error: BaseException) -> str | None:
    """Return in words what the system refuses to write or to read; None if the error is of another kind."""
    if _package(error) == "safetensors":  # keeps the system's error in its text alone
        known = any(f"(os error {number})" in str(error) for number in errno.errorcode)
        return f"cannot write a file: {error}" if known else None
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if isinstance(error.filename, str | bytes):  # it may be a number, that of an open file
        gone = ", though it was there before; is a disk or a network share gone?" if error.errno == errno.ENOENT else ""
        return f"{os.fsdecode(error.filename)}: {error.strerror}{gone}"
    if error.errno in (*_WRITING, *_RIGHTS):
        return f"cannot write a file: {error.strerror}"
    if error.errno == errno.ENOENT:  # the system names the file
        return None
    return f"a file cannot be read or written: {error.strerror}"


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


# --- streams ---------------------------------------------------------------------------------------------------------


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _tell(message: str) -> None:
    """Print a message on the error stream; what cannot be written any more is dropped, also by the interpreter."""
    for number, stream, text in ((1, sys.stdout, ""), (2, sys.stderr, message)):
        try:
            if stream is not None:
                stream.write(f"{text}\n" if text else "")
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                _open_nowhere(number)


def _open_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


# --- interrupts ------------------------------------------------------------------------------------------------------


def guard_command() -> None:
    """Let a command end with a word even while its modules are imported; open the streams that are closed.

    To be called before all other imports of `python -m`. An interrupt ends the process at once: there is nothing to
    lose before the work begins, or after it.
    """
    for number in (0, 1, 2):  # or the first file that is opened would be taken for a stream
        try:
            os.fstat(number)
        except OSError:
            _open_nowhere(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as we run
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a title may hold what the encoding of a terminal or a log has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        _handle(signal_number, _end_at_once)
    sys.excepthook, sys.unraisablehook = _tell_uncaught, _end_unraisable


def _handle(number: int, handler: Any) -> None:
    """Set what a signal does, unless whoever started the process wants it ignored, as `nohup` does."""
    if signal.getsignal(number) is not signal.SIG_IGN:
        _restore(number, handler)


def _restore(number: int, handler: Any) -> None:
    if handler is not None and threading.current_thread() is threading.main_thread():  # the only one that may
        signal.signal(number, handler)


def _end_at_once(number: int, frame: object) -> None:
    os.write(2, f"\n{WORD}\n".encode())
    os._exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)


def _raise(number: int, frame: object) -> None:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def _raising_interrupts() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        _handle(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            _restore(number, handler)


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one message what ends the process outside of its work, such as memory that its modules do not fit into."""
    end = end_of(error)
    if end is None:
        sys.__excepthook__(kind, error, trace)
        return
    _tell(end.message)
    os._exit(end.code)


def _end_unraisable(unraisable: Any) -> None:
    """End the process where an interrupt came in code that cannot pass it on, such as a destructor."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _end_at_once(signal.SIGTERM if isinstance(unraisable.exc_value, Terminated) else signal.SIGINT, None)
    if not isinstance(unraisable.exc_value, BrokenPipeError):
        sys.__unraisablehook__(unraisable)


def _ignore(unraisable: Any) -> None:
    """Say nothing of an error that nobody can catch."""
