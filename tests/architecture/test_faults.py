"""Each fault of the table has tests that make it happen."""

from pathlib import Path

import pytest

from tests import faults

COUNT = sum(map(len, faults.lines().values()))


def test_every_line_has_a_test() -> None:
    numbers = {number for number, _ in faults.marked()}
    assert [number for number in range(1, COUNT + 1) if number not in numbers] == []


def test_every_marker_names_a_line() -> None:
    assert [test for number, test in faults.marked() if not 1 <= number <= COUNT] == []


def test_the_table_is_up_to_date() -> None:
    assert faults.TABLE.read_text(encoding="utf-8") == faults.table(), "run: python -m tests.faults"


def test_marked_tells_line_and_test(tmp_path: Path) -> None:
    text = """
        @pytest.mark.fault(6, 31)
        @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.fault(7))])
        def test_one(x): ...

        def test_other(): ...
    """
    (tmp_path / "tests" / "room").mkdir(parents=True)
    text = "\n".join(line[8:] for line in text.splitlines())
    (tmp_path / "tests" / "room" / "test_a.py").write_text(text, encoding="utf-8")
    place = "tests/room/test_a.py::test_one"
    assert list(faults.marked(tmp_path)) == [(6, place), (7, place), (31, place)]


def test_lines_may_be_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    folded = "\n        One.\n        Two,\n            too.\n    "
    monkeypatch.setattr(faults, "_LINES", {"A": folded})
    assert faults.lines() == {"A": ["One.", "Two, too."]}
