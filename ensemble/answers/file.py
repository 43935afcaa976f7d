"""The file of answers: JSON lines that are only ever appended.

Its first line names format and version; every other one is an event, an answer or a withdrawal. A line ends with a
checksum, and `}` stands in it as the last character alone. So a line without `}` at its end is the rest of a write that
was cut off, by a kill or a full disk: nobody was told that it had been kept. It is left as it is, skipped and counted,
and the next event begins a new line. Any other line that cannot be read was damaged later, which is an error: a file of
answers is people's work, and none of it is lost in silence. A line may end as Windows ends it, for an editor there may
have saved the file.

Events are appended in one write, with a lock against other writers, and are on the disk when `append` returns.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ensemble.answers.answer import Answer, Event, Withdrawal, now
from ensemble.answers.answers import Answers
from ensemble.config import ReviewConfig
from shared.artifacts import file_digest, to_disk
from shared.catalog.tables import check_file
from shared.errors import ArtifactError, MatcherError

FILE = "answers.jsonl"  # in a run folder and in a snapshot of an index
VERSION = 1
MAX_LINE_BYTES, MAX_FILE_BYTES = 2**16, 2**29
LOCK_TIMEOUT_S = 30.0
_ABOUT = {"format": "answers of product-matcher", "version": VERSION}
_KINDS: dict[str, type[Answer] | type[Withdrawal]] = {"answer": Answer, "withdrawal": Withdrawal}
_CHECKSUM = b',"crc32":"'


class AnswerFile:
    """A file of answers.

    Args:
        path: The file; made when the first answer is appended.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = AnswerFile(Path(folder) / "answers.jsonl")
        ...     file.append(Answer("a", "b", "12", "ef", "yes", by="Ann", at="2026-01-31T12:00:00Z"))
        ...     [answer.verdict for answer in file.read().standing], file.undo("Ann").pair, len(file.read())
        (['yes'], ('a', 'b'), 0)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *events: Event) -> None:
        """Append events, all in one write; they are on the disk when this returns.

        Raises:
            MatcherError: An event is too large, the file cannot be written, or another process holds it too long.
            ArtifactError: The file is no file of answers.
        """
        lines = [event_line(event) for event in events]
        with self._locked():
            self._write(lines)

    def withdraw(self, answer: Answer, at: str | None = None) -> None:
        """Append the withdrawal of an answer; errors as for `append`."""
        self.append(Withdrawal.of(answer, at or now()))

    def undo(self, by: str, at: str | None = None) -> Answer | None:
        """Withdraw the latest answer of a person, and return it; None where there is none. Errors as for `append`."""
        with self._locked():
            own = [answer for answer in self.read().standing if answer.by == by]
            if not own:
                return None
            self._write([event_line(Withdrawal.of(own[-1], at or now()))])
        return own[-1]

    def read(self) -> Answers:
        """Return all events; none where there is no file.

        Raises:
            ArtifactError: The file is something else, of a later version, too large, or a line of it is damaged.
        """
        try:
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise ArtifactError(f"{self.path} is larger than {MAX_FILE_BYTES:,} bytes, too large for answers")
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Answers()
        except OSError as error:
            raise MatcherError(f"{self.path} cannot be read: {error.strerror}") from error
        return self._parsed(data)

    def _parsed(self, data: bytes) -> Answers:
        events, torn = list[Event](), list[str]()
        has_header = False
        for number, ended in enumerate(data.split(b"\n"), start=1):
            line = ended.removesuffix(b"\r")
            if not line:
                continue
            if not line.endswith(b"}"):
                torn.append(f"{self.path}, line {number}")
                continue
            try:
                content = _content(line)
                if has_header:
                    events.append(_event(content))
                else:
                    has_header = _check_header(content)
            except (ValueError, TypeError, RecursionError) as error:
                advice = "restore the line from a copy, or remove it and answer again"
                raise ArtifactError(f"{self.path}, line {number}: damaged ({error}); {advice}") from error
        return Answers(tuple(events), tuple(torn))

    def _write(self, lines: list[bytes]) -> None:
        """Append lines in one write. The file must be locked."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            start = self._start()
            descriptor = os.open(self.path, flags, 0o644)
            try:
                data = start + b"".join(lines)
                if os.write(descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            to_disk(self.path.absolute().parent)
        except OSError as error:
            raise MatcherError(f"{self.path}: the answer could not be kept: {error.strerror}") from error

    def _start(self) -> bytes:
        """Return what must precede the next line: the end of a torn line, and the header where there is none.

        Raises:
            ArtifactError: The file is no file of answers.
        """
        if not self.path.exists():
            return header()
        with self.path.open("rb") as file:
            for line in file:
                if line.rstrip(b"\r\n").endswith(b"}"):
                    self._parsed(line)  # the header, or an error
                    break
            else:
                return (b"\n" if self._is_torn() else b"") + header()
        return b"\n" if self._is_torn() else b""

    def _is_torn(self) -> bool:
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"\n", b"")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self.path.is_symlink():
            raise MatcherError(f"{self.path} is a link; name the file itself")
        try:
            self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=LOCK_TIMEOUT_S)
            lock.acquire()
        except Timeout as error:
            raise MatcherError(f"{self.path} is in use by another process; end it, or try again") from error
        except OSError as error:
            raise MatcherError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()


def answers_path(run: Path, config: ReviewConfig) -> Path:
    """Return where the answers about the catalog of a run are, or will be.

    Examples:
        >>> answers_path(Path("runs/mine"), ReviewConfig()).as_posix()
        'runs/mine/answers.jsonl'
    """
    return Path(config.answers) if config.answers else run / FILE


def run_answers(run: Path, config: ReviewConfig) -> Path | None:
    """Return the file of the answers about the catalog of a run; None if there is none and the settings name none."""
    path = answers_path(run, config)
    return path.absolute() if config.answers or path.exists() else None


def answers_digest(path: Path | None) -> Mapping[str, str]:
    """Return the digest of a file of answers, on which a stage that reads it depends; empty where there is no file.

    Examples:
        >>> answers_digest(None)
        {}
    """
    return {"answers": file_digest(path)} if path is not None and path.is_file() else {}


def read_answers(path: Path) -> Answers:
    """Return the answers of a file that must be there.

    Raises:
        MatcherError: There is no such file, or it cannot be read.
        ArtifactError: As for `AnswerFile.read`.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "answers.jsonl"
        ...     _ = path.write_bytes(header())
        ...     len(read_answers(path))
        0
    """
    check_file(path)
    return AnswerFile(path).read()


def answers_of(source: Answers | str | Path | None) -> Answers | None:
    """Return answers, or those of the file that is named; None for None. Errors as for `read_answers`.

    Examples:
        >>> answers_of(None) is None
        True
    """
    return read_answers(Path(source)) if isinstance(source, str | Path) else source


def write_answers(path: Path, answers: Answers) -> None:
    """Write all events of some answers into a new file, which is a file of answers like any other."""
    path.write_bytes(header() + b"".join(map(event_line, answers.events)))


def header() -> bytes:
    r"""Return the first line of a file of answers.

    Examples:
        >>> header()
        b'{"format":"answers of product-matcher","version":1,"crc32":"a66452cb"}\n'
    """
    return _line(_ABOUT)


def event_line(event: Event) -> bytes:
    """Return the line of an event.

    Raises:
        MatcherError: It is too long.

    Examples:
        >>> event_line(Withdrawal("a", "b", "Ann", "2026-01-31T12:00:00Z", "2026-01-31T12:00:05Z"))[:49]
        b'{"event":"withdrawal","left":"a","right":"b","by"'
    """
    kind = "answer" if isinstance(event, Answer) else "withdrawal"
    line = _line({"event": kind, **asdict(event)})
    if len(line) > MAX_LINE_BYTES:
        raise MatcherError(f"an answer about {event.left[:40]!r} … takes more than {MAX_LINE_BYTES:,} bytes")
    return line


def _line(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, separators=(",", ":"))[:-1].replace("}", "\\u007d").encode("ascii")
    return text + _CHECKSUM + b'%08x"}\n' % zlib.crc32(text)


def _content(line: bytes) -> dict[str, Any]:
    """Return the content of a line; raises a ValueError if it is not as it was written."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES:,} bytes")
    text, mark, checksum = line.rpartition(_CHECKSUM)
    if not mark or checksum != b'%08x"}' % zlib.crc32(text):
        raise ValueError("it does not have the checksum it was written with")
    content: dict[str, Any] = json.loads(text + b"}")
    return content


def _event(content: dict[str, Any]) -> Event:
    kind = content.pop("event", None)
    if kind not in _KINDS:
        raise ValueError(f"there is no event {kind!r}")
    return _KINDS[kind](**content)


def _check_header(content: dict[str, Any]) -> bool:
    """Return True; raises a ValueError if the content is not that of the first line."""
    if content.get("format") != _ABOUT["format"]:
        raise ValueError("the first line does not say that this is a file of answers")
    if content.get("version") != VERSION:
        raise ValueError(f"version {content.get('version')!r}; this program reads version {VERSION}")
    return True
