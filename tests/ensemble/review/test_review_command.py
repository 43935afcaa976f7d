"""The command that serves the page."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from ensemble.answers.file import FILE, AnswerFile
from ensemble.review.__main__ import listen
from ensemble.review.security import CSRF_HEADER
from tests.support.paths import ROOT

Call = Callable[..., tuple[int, str, str]]


class Review:
    """The command on a run, in a process of its own, and a client of its page."""

    def __init__(self, run: Path) -> None:
        words = [sys.executable, "-m", "ensemble.review", "--run", str(run), "--no-browser", "--name", "anna"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, cwd=ROOT, env=environment, **pipes)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        url = urlsplit(next(line.split()[-1] for line in lines if line.startswith("review at ")))
        self.host, [token] = url.netloc, parse_qs(url.query)["token"]
        self.headers = {"Cookie": f"review-{url.port}={token}", "Origin": f"http://{self.host}"}
        page = self.call("GET", "/")
        self.headers[CSRF_HEADER] = re.findall('data-csrf="([^"]+)"', page)[0]

    def call(self, method: str, path: str, **body: Any) -> str:
        connection = HTTPConnection(self.host, timeout=60)
        headers = self.headers | {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        connection.close()
        return text

    def say(self, path: str, **body: Any) -> Any:
        return json.loads(self.call("POST", path, by="anna", **body))

    def match(self) -> float:
        """Make the matches anew; return the seconds that it takes."""
        start = time.monotonic()
        self.say("/api/match")
        time.sleep(0.1)
        while json.loads(self.call("GET", "/api/progress"))["is_matching"]:
            time.sleep(0.05)
        return time.monotonic() - start


@pytest.fixture
def review(run: Path) -> Iterator[Review]:
    review = Review(run)
    yield review
    if review.process.poll() is None:
        review.process.kill()
        review.process.communicate()


def together(run: Path, left: str, right: str) -> bool:
    groups = pd.read_parquet(run / "matches" / "groups.parquet").set_index("posting_id")["group_id"]
    return bool(groups[left] == groups[right])


def test_answers_of_a_run_change_its_matches_until_they_are_taken_back(review: Review, run: Path) -> None:
    questions = review.say("/api/questions", count=25)
    ends = {tuple(listing["id"] for listing in question["listings"]): question["pair"] for question in questions}
    (left, right), pair = next((ids, pair) for ids, pair in ends.items() if not together(run, *ids))
    review.say("/api/answers", pair=pair, verdict="yes")
    assert [answer.pair for answer in AnswerFile(run / FILE).read().standing] == [tuple(sorted((left, right)))]
    seconds = review.match()
    assert together(run, left, right)
    assert seconds < 30
    review.say("/api/undo")
    review.match()
    assert not together(run, left, right)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_ends_with_a_word(review: Review, number: int, code: int) -> None:
    review.process.send_signal(number)
    _, errors = review.process.communicate(timeout=30)
    assert review.process.returncode == code
    assert errors.startswith("\ninterrupted")
    assert "Traceback" not in errors


def test_only_addresses_of_this_machine_are_listened_on() -> None:
    sockets = listen(0)
    try:
        assert {each.getsockname()[0] for each in sockets} <= {"127.0.0.1", "::1"}
        assert len({each.getsockname()[1] for each in sockets}) == 1
    finally:
        for each in sockets:
            each.close()


def test_port_in_use_is_told(command: Call, run: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, errors = command("ensemble.review", "--run", run, "--no-browser", "--port", port)
    assert code == 2
    assert f"port {port} is in use" in errors


@pytest.mark.slow
def test_new_catalog_is_matched_in_a_new_run(command: Call, tmp_path: Path) -> None:
    table, run = tmp_path / "new.csv", tmp_path / "run"
    table.write_text("posting_id,title\na,red mug\nb,red mug large\nc,green fan\n", encoding="utf-8")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        small = ["--ensemble.branches=tfidf,phash", "--compute.device=cpu", "--compute.threads=1"]
        options = ["--run", run, "--no-browser", "--port", other.getsockname()[1], *small]
        _, _, errors = command("ensemble.review", "--data", table, *options)
    assert "is in use" in errors  # so the page is next
    assert len(pd.read_parquet(run / "matches" / "groups.parquet")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x"], "--out goes with --bundle"),
        (["--answers", "x"], "--review.answers=FILE"),
        (["--name", " "], "--name must be a name"),
        ([], "has no finished stage"),
    ],
)
def test_options_that_do_not_fit_are_told(command: Call, tmp_path: Path, options: list[str], message: str) -> None:
    code, _, errors = command("ensemble.review", "--run", tmp_path / "none", "--no-browser", *options)
    assert code in (2, 3)
    assert message in errors
