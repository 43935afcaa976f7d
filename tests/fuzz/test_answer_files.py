"""Files of answers: what was kept is read back, whatever writers do at a time and wherever one is killed."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.answers.answer import Withdrawal
from ensemble.answers.file import AnswerFile, event_line, header
from shared.errors import MatcherError
from tests.support.answers import answer
from tests.support.fuzzing import edited, fuzz

EVENTS = [
    answer("a", "b"),
    answer("b", "}c", "no", by="Ben"),
    answer("a", "b", "unsure", at=3),
    answer("é\n", "d", at=4),
]
EVENTS.append(Withdrawal.of(EVENTS[1], "2026-01-31T12:00:09Z"))  # type: ignore[arg-type]
WHOLE = header() + b"".join(map(event_line, EVENTS))
TORN = WHOLE[:-20]


@pytest.mark.fault(20, 37)
@given(edited([WHOLE, TORN, header(), event_line(EVENTS[0]) * 2]))
@fuzz(200)
def test_a_changed_file_says_nothing_that_nobody_said(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = AnswerFile(Path(folder) / "answers.jsonl")
        file.path.write_bytes(data)
        try:
            before = file.read()
        except MatcherError:
            before = None
        else:
            assert set(before.events) <= set(EVENTS)
        try:
            file.append(answer("x", "y"))
        except MatcherError:
            assert file.path.read_bytes() == data
        else:
            assert file.path.read_bytes().startswith(data)
            if before is not None:
                assert file.read().events == (*before.events, answer("x", "y"))


@pytest.mark.fault(17, 37)
@given(st.lists(st.tuples(st.sampled_from(["Ann", "Ben"]), st.sampled_from(["keep", "undo", "kill"])), max_size=12))
@fuzz(50)
def test_writers_in_turn_lose_nothing(deeds: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        files = {by: AnswerFile(path) for by in ("Ann", "Ben")}
        standing = []
        for number, (by, deed) in enumerate(deeds):
            one = answer("a", f"b{number}", by=by, at=number)
            if deed == "keep":
                files[by].append(one)
                standing.append(one)
            elif deed == "undo":
                own = [each for each in standing if each.by == by]
                assert files[by].undo(by) == (own[-1] if own else None)
                standing = [each for each in standing if each not in own[-1:]]
            else:  # killed while it writes: a part of the line is there, and nobody was told that it was kept
                size = path.stat().st_size if path.exists() else 0
                files[by].append(one)
                cut = size + (path.stat().st_size - size) * (number + 1) // (len(deeds) + 1)
                with path.open("rb+") as torn:
                    torn.truncate(min(cut, path.stat().st_size - 2))
        assert AnswerFile(path).read().standing == tuple(standing)
