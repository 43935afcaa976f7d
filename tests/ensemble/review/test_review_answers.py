"""Answers that come while the clock is wrong or something else goes on, and what it costs to write one."""

from pathlib import Path
from typing import Any

import pytest

from ensemble.answers import answer as answer_module
from ensemble.answers.file import AnswerFile
from ensemble.review import session as session_module
from ensemble.review.learner import Learner
from ensemble.review.review_answers import Reply, ReviewAnswers
from ensemble.review.session import BATCH, Session
from shared.schema import Catalog, ScoredPairs

NOON, EARLIER = "2026-01-31T12:00:00.000000+00:00", "2026-01-31T11:00:00.000000+00:00"
CATALOG = Catalog.from_columns({"posting_id": ["a", "b", "c"], "title": ["mug", "lamp", "chair"]})


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewAnswers:
    """A review in which Ben answered at noon, before the clock was set back by an hour."""
    monkeypatch.setattr(answer_module, "now", lambda: NOON)
    ReviewAnswers(tmp_path / "answers.jsonl", CATALOG, CATALOG).record("Ben", [Reply((0, 1), "yes")])
    monkeypatch.setattr(answer_module, "now", lambda: EARLIER)
    return ReviewAnswers(tmp_path / "answers.jsonl", CATALOG, CATALOG)


def verdicts(answers: ReviewAnswers) -> list[str]:
    return [each.verdict for each in AnswerFile(answers.path).read().standing]


@pytest.mark.fault(37)
def test_a_later_answer_counts_even_if_the_clock_was_set_back(answers: ReviewAnswers) -> None:
    answers.record("Ann", [Reply((0, 1), "no")])
    answers.record("Eve", [Reply((0, 1), "unsure")])
    assert verdicts(answers) == ["yes", "no", "unsure"]
    assert [each.verdict for each in AnswerFile(answers.path).read().latest] == ["no"]


@pytest.mark.fault(37)
@pytest.mark.parametrize("reopened", [False, True])
def test_an_answer_that_was_taken_back_can_be_given_again_after_the_clock_was_set_back(
    answers: ReviewAnswers, *, reopened: bool
) -> None:
    answers.record("Ann", [Reply((0, 2), "yes")])
    answers.undo("Ann")
    again = ReviewAnswers(answers.path, CATALOG, CATALOG) if reopened else answers
    again.record("Ann", [Reply((0, 2), "no")])
    assert verdicts(again) == ["yes", "no"]


@pytest.mark.fault(37)
def test_an_answer_of_another_server_is_before_the_next_one(answers: ReviewAnswers) -> None:
    ReviewAnswers(answers.path, CATALOG, CATALOG).record("Ann", [Reply((0, 2), "yes")])
    answers.refresh()
    answers.record("Ann", [Reply((0, 2), "no")])
    assert verdicts(answers) == ["yes", "yes", "no"]


def test_an_answer_is_written_without_reading_all_others(
    answers: ReviewAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerFile, "read", lambda file: pytest.fail("the file was read"))
    answers.record("Ann", [Reply((0, 2), "yes")])
    assert answers.by() == {"Ben": 1, "Ann": 1}


@pytest.mark.fault(37)
def test_review_is_not_done_while_answers_come_in(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for question in session.questions("anna", [], BATCH):
        session.answers.record("anna", [Reply(session.pair(question.position), "no")])
    learn = Learner.learn

    def learn_while_ben_answers(learner: Learner, *answers: Any) -> ScoredPairs:
        session.answers.record("ben", [Reply(session.pair(0), "yes")])
        session.answers.refresh()
        return learn(learner, *answers)

    monkeypatch.setattr(Learner, "learn", learn_while_ben_answers)
    monkeypatch.setattr(session_module, "next_questions", lambda *about: [])
    session.prepare()
    assert not session.progress().is_done
    session.prepare()
    assert session.progress().is_done
