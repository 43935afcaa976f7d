"""No answer is lost: not by a kill, not by a second writer, not in silence."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.answers import file as file_module
from ensemble.answers.answer import Answer, Withdrawal
from ensemble.answers.answers import Answers
from ensemble.answers.file import AnswerFile, event_line, header, read_answers, write_answers
from shared.errors import ArtifactError, MatcherError
from tests.support.answers import answer
from tests.support.disk import Disk
from tests.support.paths import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.mark.fault(1)
@given(NAMES, NAMES, st.sampled_from(["yes", "no", "unsure"]), st.none() | st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_event_line_holds_any_id_and_ends_with_its_only_brace(
    left: str, right: str, verdict: str, stratum: int | None
) -> None:
    if left == right:
        right += "}"
    one = Answer(left, right, "}{", "", verdict, "Ann}", "2026-01-31T12:00:00Z", "stratified", stratum)  # type: ignore[arg-type]
    line = event_line(one)
    assert line.count(b"}") == 1
    assert line.endswith(b"}\n")
    assert AnswerFile(Path("x"))._parsed(header() + line).events == (one,)


def test_a_missing_and_an_empty_file_hold_no_answers(path: Path) -> None:
    assert AnswerFile(path).read() == Answers()
    path.touch()
    assert AnswerFile(path).read() == Answers()
    with pytest.raises(MatcherError, match="no such file"):
        read_answers(path.with_name("other"))


def test_events_come_back_in_their_order(path: Path) -> None:
    file, one, other = AnswerFile(path), answer("a", "b"), answer("b", "c", "no")
    file.append(one)
    file.append(other, Withdrawal.of(one, "2026-01-31T12:00:09Z"))
    assert file.read().events == (one, other, Withdrawal.of(one, "2026-01-31T12:00:09Z"))
    assert file.read().latest == [other]
    assert path.read_bytes().startswith(header())


@pytest.mark.fault(37)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_write_cut_off_at_any_byte_loses_nothing_before_it(path: Path, before: int) -> None:
    earlier = [answer(f"a{number}", "b") for number in range(before)]
    last, later = answer("x}", "y"), answer("v", "w")
    file = AnswerFile(path)
    for one in earlier:
        file.append(one)
    kept = path.read_bytes() if before else b""
    file.append(last)
    whole = path.read_bytes()
    for size in range(len(kept), len(whole) + 1):
        path.write_bytes(whole[:size])
        answers = file.read()
        is_complete = size >= len(whole) - 1
        assert answers.events == (*earlier, *[last] * is_complete)
        ends_a_line = whole[:size].endswith((b"\n", b"}")) or size == 0
        assert len(answers.torn) == (not ends_a_line)
        file.append(later)
        again = file.read()
        assert again.events == (*answers.events, later)
        assert again.torn == answers.torn
        assert path.read_bytes().startswith(whole[:size])


def test_lines_may_end_as_on_windows(path: Path) -> None:
    file, events = AnswerFile(path), (answer("a", "b"), answer("a", "c"), answer("a", "d"))
    file.append(*events[:2])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert file.read() == Answers(events[:2])
    file.append(events[2])
    assert file.read() == Answers(events)
    assert path.read_bytes().count(header()[:-1]) == 1


def test_torn_line_is_named(path: Path) -> None:
    AnswerFile(path).append(answer("a", "b"))
    with path.open("ab") as file:
        file.write(b'{"event":"answ')
    assert AnswerFile(path).read().torn == (f"{path}, line 3",)


@pytest.mark.fault(37)
@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_is_an_error_that_names_it(path: Path, line: int) -> None:
    AnswerFile(path).append(answer("a", "b"), answer("a", "c"))
    lines = path.read_bytes().split(b"\n")
    for place in range(len(lines[line - 1]) - 1):
        damaged = bytearray(lines[line - 1])
        damaged[place] ^= 1
        path.write_bytes(b"\n".join([*lines[: line - 1], bytes(damaged), *lines[line:]]))
        if damaged[place] == 0x0A:
            continue
        with pytest.raises(ArtifactError, match=rf"answers\.jsonl, line {line}: damaged"):
            AnswerFile(path).read()


@pytest.mark.fault(34)
@pytest.mark.parametrize("content", [b'{"posting_id": "a"}\n', b'{"format": "x"}', b"a,b,yes}\n"])
def test_another_file_is_neither_read_nor_written(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for do in (lambda: AnswerFile(path).read(), lambda: AnswerFile(path).append(answer("a", "b"))):
        with pytest.raises(ArtifactError, match="line 1: damaged"):
            do()
    assert path.read_bytes() == content


def test_a_later_version_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(file_module._line({**file_module._ABOUT, "version": 2}))
    with pytest.raises(ArtifactError, match="reads version 1"):
        AnswerFile(path).read()


@pytest.mark.fault(32)
def test_limits_of_line_and_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MatcherError, match="takes more than 65,536 bytes"):
        AnswerFile(path).append(answer("a" * 70_000, "b"))
    assert not path.exists()
    AnswerFile(path).append(answer("a", "b"))
    monkeypatch.setattr(file_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(ArtifactError, match="too large"):
        AnswerFile(path).read()


@pytest.mark.fault(18)
def test_a_full_disk_is_an_error_and_keeps_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = AnswerFile(path), os.write
    file.append(answer("a", "b"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        with pytest.raises(MatcherError, match=os.strerror(errno.ENOSPC)):
            file.append(answer("a", "c"))
    file.append(answer("a", "d"))
    answers = file.read()
    assert [each.right for each in answers.latest] == ["b", "d"]
    assert len(answers.torn) == 1


@pytest.mark.fault(33)
def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MatcherError, match="is a link"):
        AnswerFile(path).append(answer("a", "b"))
    assert not (tmp_path / "elsewhere").exists()


def test_undo_takes_back_the_latest_answer_of_one_person(path: Path) -> None:
    file = AnswerFile(path)
    file.append(answer("a", "b", "yes", at=1), answer("a", "b", "no", at=2), answer("a", "c", by="Ben", at=3))
    assert file.undo("Ann") == answer("a", "b", "no", at=2)
    assert [each.verdict for each in file.read().verdicts["a", "b"].values()] == ["yes"]
    assert file.undo("Ann") == answer("a", "b", "yes", at=1)
    assert file.undo("Ann") is None
    assert file.read().latest == [answer("a", "c", by="Ben", at=3)]


def test_written_events_are_a_file_of_answers(path: Path) -> None:
    events = (answer("a", "b"), Withdrawal.of(answer("a", "b"), "2026-01-31T12:00:09Z"))
    write_answers(path, Answers(events))
    assert read_answers(path).events == events


WRITER = """
import sys
from pathlib import Path
from ensemble.answers.answer import Answer, now
from ensemble.answers.file import AnswerFile
by = sys.argv[2]
for number in range(200):
    AnswerFile(Path(sys.argv[1])).append(Answer(f"a{number}", "b", "", "", "yes", by, now()))
"""


@pytest.mark.fault(37)
@pytest.mark.slow
def test_two_processes_write_at_a_time(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*line, by], env=environment, cwd=ROOT) for by in ("Ann", "Ben")]
    assert [writer.wait() for writer in writers] == [0, 0]
    answers = AnswerFile(path).read()
    assert answers.torn == ()
    assert len(answers.standing) == 400
    assert {each.by for each in answers.standing} == {"Ann", "Ben"}
    assert path.read_bytes().count(header()) == 1


@pytest.mark.fault(37)
@pytest.mark.slow
def test_a_killed_writer_loses_none_that_it_acknowledged(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    telling = WRITER + "    print(number)\n"
    for by in ("Ann", "Ben"):
        line = [sys.executable, "-c", telling, str(path), by]
        with subprocess.Popen(line, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            while int(writer.stdout.readline()) < 20:
                pass
            writer.kill()
            acknowledged = 21 + len(writer.stdout.read().splitlines())
        assert sum(each.by == by for each in AnswerFile(path).read().standing) >= acknowledged


@pytest.mark.fault(17, 37)
def test_answers_are_on_the_disk_with_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, synced = Disk(monkeypatch), list[str]()
    monkeypatch.setattr("ensemble.answers.file.to_disk", lambda path: synced.append(path.name))
    path = tmp_path / "kept" / "answers.jsonl"
    for number in range(2):
        AnswerFile(path).append(answer("a", f"b{number}"))
        status = path.stat()
        assert (status.st_ino, status.st_size, status.st_mtime_ns) in disk.synced
    assert synced == ["kept", "kept"]
