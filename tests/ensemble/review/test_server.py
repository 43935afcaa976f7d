"""What the page shows and keeps."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ensemble.review.session as module
from ensemble.answers.file import AnswerFile
from ensemble.review import server
from ensemble.review.groups import proposed_groups
from ensemble.review.review_answers import Reply
from ensemble.review.session import BATCH, Matched, Session
from shared.errors import MatcherError
from shared.schema import PairFeatures, ScoredPairs
from tests.support.review import HEADERS, HOSTILE, Open, subject


def say(client: Any, path: str, **body: Any) -> Any:
    return client.post(path, json={"by": "anna", **body}, headers=HEADERS)


def test_answer_is_in_the_file_when_the_page_hears_of_it(open_page: Open, session: Session) -> None:
    said = say(open_page(), "/api/answers", pair=[7, 0], verdict="yes", asked="stratified", stratum=3)
    assert said.status_code == 200
    assert said.json()["answers"] == 1
    [answer] = AnswerFile(session.subject.answers).read().standing
    assert (answer.left, answer.right, answer.verdict) == ("id00000", "id00007", "yes")
    assert (answer.by, answer.asked, answer.stratum) == ("anna", "stratified", 3)


def test_answer_that_arrives_twice_is_kept_once(open_page: Open, session: Session) -> None:
    for verdict in ("no", "no", "yes"):
        say(open_page(), "/api/answers", pair=[0, 7], verdict=verdict)
    assert [answer.verdict for answer in AnswerFile(session.subject.answers).read().standing] == ["no", "yes"]


@pytest.mark.parametrize(
    "body",
    [
        {"pair": [0, 0], "verdict": "yes"},
        {"pair": [0, 60], "verdict": "yes"},
        {"pair": [-1, 3], "verdict": "yes"},
        {"pair": [0, 1, 2], "verdict": "yes"},
        {"pair": ["0", "1"], "verdict": "yes"},
        {"pair": [0, 1], "verdict": "maybe"},
        {"pair": [0, 1], "verdict": "yes", "asked": "guessed"},
        {"pair": [0, 1], "verdict": "yes", "more": 1},
        {"pair": [0, 1], "verdict": "yes", "stratum": 10**30},
        {"pair": [0, 1], "verdict": "yes", "stratum": -1},
        {"pair": [0, 1], "verdict": "yes", "by": ""},
        {"pair": [0, 1], "verdict": "yes", "by": "a\nb"},
        {"pair": [0, 1], "verdict": "yes", "by": "x" * 61},
    ],
)
def test_answer_about_nothing_is_refused(open_page: Open, session: Session, body: dict[str, object]) -> None:
    assert say(open_page(), "/api/answers", **body).status_code == 422
    assert not session.subject.answers.exists()


def test_body_that_is_no_json_is_refused(open_page: Open) -> None:
    for content in (b"", b"{", b"[]", b"\xff", b'{"by": NaN}', b"[" * 20_000):
        headers = HEADERS | {"Content-Type": "application/json"}
        assert open_page().post("/api/answers", content=content, headers=headers).status_code in (400, 422), content


def test_questions_are_not_asked_twice(open_page: Open) -> None:
    client = open_page()
    first = say(client, "/api/questions", count=10).json()
    more = say(client, "/api/questions", count=10, have=[question["position"] for question in first]).json()
    other = say(client, "/api/questions", count=5, by="ben").json()
    positions = [question["position"] for question in [*first, *more, *other]]
    assert len(positions) == len(set(positions)) == 25
    for question in first:
        pair, asked, stratum = question["pair"], question["asked"], question["stratum"]
        say(client, "/api/answers", pair=pair, verdict="unsure", asked=asked, stratum=stratum)
    again = say(client, "/api/questions", count=10).json()
    assert {question["position"] for question in again}.isdisjoint({question["position"] for question in first})


def test_new_questions_are_prepared_before_they_run_out(open_page: Open, session: Session) -> None:
    client, seen = open_page(), set()
    for _ in range(2 * BATCH):
        [question] = say(client, "/api/questions", count=1).json()
        seen.add(tuple(question["pair"]))
        say(client, "/api/answers", pair=question["pair"], verdict="no", asked=question["asked"])
    assert len(seen) == 2 * BATCH


def test_undo_gives_the_pair_back(open_page: Open) -> None:
    client = open_page()
    say(client, "/api/answers", pair=[0, 7], verdict="yes", asked="stratified", stratum=2)
    say(client, "/api/answers", pair=[1, 7], verdict="no", by="ben")
    [taken] = say(client, "/api/undo").json()
    assert (taken["pair"], taken["asked"], taken["stratum"], taken["verdict"]) == ([0, 7], "stratified", 2, None)
    assert client.get("/api/progress").json()["by"] == {"ben": 1}
    assert say(client, "/api/undo").json() == []


def test_group_is_answered_and_undone_as_one(open_page: Open, session: Session) -> None:
    client = open_page()
    named = max(client.get("/api/groups").json(), key=lambda group: group["listings"])
    rows = [listing["row"] for listing in client.get(f"/api/groups/{named['row']}").json()["listings"]]
    assert len(rows) == named["listings"] > 3
    say(client, "/api/groups", same=rows[1:], out=rows[:1])
    verdicts = [answer.verdict for answer in AnswerFile(session.subject.answers).read().standing]
    assert sorted(verdicts) == ["no", *["yes"] * (len(rows) - 2)]
    session.match()
    inside = session.groups()
    assert any(set(rows[1:]) <= set(group.rows) and rows[0] not in group.rows for group in inside)
    assert len(say(client, "/api/undo").json()) == len(rows) - 1
    assert client.get("/api/progress").json()["answers"] == 0


def test_very_large_group_is_answered_in_parts(
    open_page: Open, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_page()
    whole = max(client.get("/api/groups").json(), key=lambda group: group["listings"])
    monkeypatch.setattr(server, "LARGEST_GROUP", 3)
    parts = [group for group in client.get("/api/groups").json() if group["row"] == whole["row"]]
    assert [part["part"] for part in parts] == list(range(parts[0]["parts"]))
    assert len(parts) > 1
    for part in parts:
        address = f"/api/groups/{part['row']}?part={part['part']}"
        rows = [listing["row"] for listing in client.get(address).json()["listings"]]
        assert len(rows) <= 3
        say(client, "/api/groups", same=rows, out=[])
    [settled] = {group["settled"] for group in client.get("/api/groups").json() if group["row"] == whole["row"]}
    assert settled
    assert client.get(f"/api/groups/{whole['row']}?part={len(parts)}").status_code == 404


def test_settled_group_comes_last(open_page: Open) -> None:
    client = open_page()
    first, *_ = client.get("/api/groups").json()
    rows = [listing["row"] for listing in client.get(f"/api/groups/{first['row']}").json()["listings"]]
    say(client, "/api/groups", same=rows, out=[])
    *_, last = client.get("/api/groups").json()
    assert (last["row"], last["settled"]) == (first["row"], True)


def test_group_with_listings_of_equal_content_is_settled_by_one_yes() -> None:
    ends, copies = np.array([[0], [1]], np.int32), np.array([0, 1, 0], np.int32)
    pairs = ScoredPairs(3, ends[0], ends[1], np.array([0.9], np.float32), None, copies)
    numbers = np.zeros(3, dtype=np.int64)
    assert [group.is_settled for same in ([], [(0, 1)]) for group in proposed_groups(numbers, pairs, same)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("same", "out"), [([], [1, 2]), ([1], []), ([1, 1], []), ([1, 2], [2]), ([1, 60], []), ([1] * 1001, [])]
)
def test_group_that_is_none_is_refused(open_page: Open, same: list[int], out: list[int]) -> None:
    assert say(open_page(), "/api/groups", same=same, out=out).status_code == 422


def test_contradiction_is_listed(open_page: Open, session: Session) -> None:
    client = open_page()
    for pair, verdict in (([0, 7], "yes"), ([7, 9], "yes"), ([0, 9], "no")):
        say(client, "/api/answers", pair=pair, verdict=verdict)
    [found] = client.get("/api/contradictions").json()
    assert [listing["row"] for listing in found["listings"]] == [0, 7, 9]
    assert found["answers"][0] == {"pair": [0, 9], "said": [["anna", "no"]]}
    assert client.get("/api/progress").json()["contradictions"] == 1


@pytest.mark.fault(37)
def test_two_reviewers_who_disagree_are_a_contradiction(open_page: Open) -> None:
    client = open_page()
    say(client, "/api/answers", pair=[0, 7], verdict="yes")
    say(client, "/api/answers", pair=[0, 7], verdict="no", by="ben")
    [found] = client.get("/api/contradictions").json()
    assert found["answers"] == [{"pair": [0, 7], "said": [["anna", "yes"], ["ben", "no"]]}]
    assert client.get("/api/pairs/0/7?by=ben").json()["verdict"] == "no"


def test_matches_are_made_anew_after_a_batch(open_page: Open, session: Session) -> None:
    client, before = open_page(), session.matched
    for row in range(10, 10 + BATCH):
        kept = say(client, "/api/answers", pair=[9, row], verdict="yes").json()
    assert kept["until_match"] in (0, BATCH)
    say(client, "/api/match")
    for _ in range(500):
        if session.matched is not before and not session.progress().is_matching:
            break
        client.get("/api/progress")
    sizes = {len(group.rows) for group in session.groups()}
    assert max(sizes) > BATCH


def test_quality_is_unknown_before_there_are_answers(open_page: Open, session: Session) -> None:
    client = open_page()
    assert client.get("/api/progress").json()["quality"] is None
    for question in say(client, "/api/questions", count=25).json():
        verdict = "yes" if question["score"] > 0.5 else "no"
        say(
            client,
            "/api/answers",
            pair=question["pair"],
            verdict=verdict,
            asked=question["asked"],
            stratum=question["stratum"],
        )
    session.prepare()
    quality = client.get("/api/progress").json()["quality"]
    assert 0 <= quality["precision"]["low"] <= quality["precision"]["value"] <= quality["precision"]["high"] <= 1


def test_estimate_of_few_answers_is_rough_and_names_doubts(open_page: Open, session: Session) -> None:
    client = open_page()
    for row, verdict in ((10, "yes"), (11, "no"), (12, "unsure")):
        left, right = session.pair(row)
        say(client, "/api/answers", pair=[left, right], verdict=verdict, asked="stratified", stratum=row % 3)
    session.prepare()
    progress = client.get("/api/progress").json()
    assert progress["is_rough"]
    assert (progress["quality"]["answers"], progress["quality"]["unsure"]) == (2, 1)


def test_titles_arrive_as_they_are(open_page: Open) -> None:
    client = open_page()
    for row, title in enumerate(HOSTILE):
        shown = client.get(f"/api/pairs/{row}/20").json()["listings"][0]
        assert "".join(text for text, _ in shown["title"]) == title
    assert client.get("/api/pairs/0/20").headers["content-type"] == "application/json"


@pytest.mark.fault(27)
def test_name_of_the_catalog_is_escaped(open_page: Open) -> None:
    page = open_page().get("/").text
    assert "test &amp; &lt;b&gt;shop&lt;/b&gt;" in page
    assert "<b>shop</b>" not in page


def test_image_is_written_anew_and_small(open_page: Open, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), "red").save(tmp_path / "0.png")
    for size, side in (("small", 240), ("large", 720)):
        answer = open_page().get(f"/image/{size}/0")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(answer.content)).size) == side


@pytest.mark.fault(6)
def test_missing_and_broken_images_say_so(open_page: Open) -> None:
    client = open_page()
    assert [client.get(f"/image/small/{row}").status_code for row in range(4)] == [200, 404, 404, 404]
    listings = [client.get(f"/api/pairs/{row}/9").json()["listings"][0] for row in (0, 2, 3)]
    assert [listing["image"] for listing in listings] == [True, False, False]
    assert [listing["fault"] for listing in listings] == ["", "image: no such file", "no image"]


@pytest.mark.fault(27)
def test_table_of_answers_runs_no_formula(open_page: Open) -> None:
    client = open_page()
    say(client, "/api/answers", pair=[0, 7], verdict="yes", by="=cmd()")
    table = client.get("/answers.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    assert "id00000" in table.text
    assert not any(cell.startswith("=") for line in table.text.splitlines() for cell in line.split(","))


@pytest.mark.fault(37)
def test_answers_of_another_process_are_seen(open_page: Open, session: Session) -> None:
    other = Session(session.subject, seed=1)
    say(open_page(), "/api/answers", pair=[0, 7], verdict="yes")
    other.answers.refresh()
    assert other.answers.verdicts((0, 7)) == {"anna": "yes"}


def test_second_reviewer_gets_questions_while_the_first_one_holds_all(open_page: Open, session: Session) -> None:
    client = open_page()
    held = say(client, "/api/questions", count=50).json()
    assert len(held) == BATCH
    assert say(client, "/api/questions", count=12, by="ben").json() == []
    session.prepare()
    more = say(client, "/api/questions", count=12, by="ben").json()
    assert len(more) == 12
    assert {each["position"] for each in more}.isdisjoint({each["position"] for each in held})


def test_review_says_when_nothing_is_left_to_ask(tmp_path: Path) -> None:
    session = Session(subject(tmp_path, n=3, pairs=1))
    session.prepare()
    for question in session.questions("anna", [], 5):
        assert not session.progress().is_done
        session.answers.record("anna", [Reply(session.pair(question.position), "no")])
    session.prepare()
    assert session.progress().is_done
    assert not session.needs_questions
    session.answers.undo("anna")
    assert session.needs_questions


def test_listings_without_any_candidate_pair_leave_nothing_to_ask(tmp_path: Path) -> None:
    whole = subject(tmp_path, n=2)
    assert whole.matched is not None
    nothing = np.zeros(0, dtype=np.int64)
    start = whole.start.only(nothing)
    described = PairFeatures(2, start.left, start.right, whole.described.features.iloc[:0])
    session = Session(replace(whole, start=start, described=described, matched=replace(whole.matched, pairs=start)))
    session.prepare()
    assert session.progress().is_done
    assert session.questions("anna", [], 5) == []


def test_two_undos_at_a_time_take_back_two_answers(
    open_page: Open, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pair in ([0, 7], [1, 7], [2, 7]):
        say(open_page(), "/api/answers", pair=pair, verdict="yes")
    read = AnswerFile.read
    monkeypatch.setattr(AnswerFile, "read", lambda file: (read(file), time.sleep(0.2))[0])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(session.answers.undo, ["anna", "anna"]))
    assert [answer.left for answer in read(AnswerFile(session.subject.answers)).standing] == ["id00000"]


def test_later_answer_of_a_person_counts_before_the_file_is_read_again(session: Session) -> None:
    pair = (0, 7)
    for by, verdict in (("anna", "no"), ("ben", "no"), ("anna", "yes")):
        session.answers.record(by, [Reply(pair, verdict)])
    assert session.answers.counted()[pair].verdict == "yes"


def test_pair_drawn_by_chance_stays_so_when_it_is_answered_anew(session: Session) -> None:
    session.answers.record("anna", [Reply((0, 7), "no", "stratified", 2)])
    session.answers.record("ben", [Reply((0, 7), "yes")])
    session.answers.record("anna", [Reply((0, 7), "yes")])
    facts = [(answer.asked, answer.stratum) for answer in AnswerFile(session.subject.answers).read().standing]
    assert facts == [("stratified", 2)] * 3


def test_answers_about_listings_of_equal_content_are_shown_at_each(tmp_path: Path) -> None:
    titles = ["red mug", "blue fan", "RED MUG!", *(f"thing nr {row}" for row in range(3, 60))]
    session = Session(subject(tmp_path, title=titles))
    for by, verdict in (("anna", "yes"), ("ben", "no")):
        session.answers.record(by, [Reply((1, 2), verdict)])
    session.answers.refresh()
    assert session.answers.verdicts((1, 2)) == session.answers.verdicts((0, 1)) == {"anna": "yes", "ben": "no"}
    size = session.subject.answers.stat().st_size
    session.answers.record("ben", [Reply((1, 2), "no")])
    assert session.subject.answers.stat().st_size == size
    assert all(session.answers.verdicts(pair) for pair in session.answers.contradictions()[0])


def test_estimate_is_of_the_decision_that_made_the_matches(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []
    monkeypatch.setattr(module, "estimate", lambda pairs, *_, decision, **__: used.append((pairs, decision)))
    session.prepare()
    assert session.matched is not None
    assert used == [(session.matched.pairs, session.matched.decision)]


@pytest.mark.fault(18)
def test_file_that_cannot_be_written_is_told(open_page: Open, session: Session) -> None:
    session.subject.answers.mkdir()
    said = say(open_page(), "/api/answers", pair=[0, 7], verdict="yes")
    assert said.status_code == 500
    assert "answers.jsonl" in said.text
    progress = open_page().get("/api/progress")
    assert (progress.status_code, "answers.jsonl cannot be read" in progress.text) == (500, True)


def test_any_fault_of_matching_is_told_until_matching_works_again(tmp_path: Path) -> None:
    whole = subject(tmp_path)
    faults: list[Exception] = [OSError(28, "No space left on device"), MatcherError("the run is gone")]

    def match() -> Matched:
        if faults:
            raise faults.pop(0)
        return whole.match()

    session = Session(replace(whole, match=match))
    with pytest.raises(OSError, match="No space left"):  # also in the log of the server
        session.match()
    assert "No space left on device" in session.progress().fault
    session.match()
    assert session.progress().fault == "the run is gone"
    session.match()
    assert session.progress().fault == ""
    assert not session.progress().is_matching
