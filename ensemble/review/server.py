"""The routes of the review page: what a browser may ask for, and what it may say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from jinja2 import Environment, select_autoescape
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request

from ensemble.answers.answer import Asked, Verdict
from ensemble.review.background import Background
from ensemble.review.groups import links_of
from ensemble.review.questions import EDGES
from ensemble.review.review_answers import Reply
from ensemble.review.security import Access, Guard
from ensemble.review.session import Session
from ensemble.review.thumbnails import SIZES, Thumbnails
from ensemble.review.views import Views
from shared.artifacts import digest
from shared.catalog.images import ImageFault
from shared.errors import MatcherError

PAGE = "ensemble.review", "page"  # package and folder of the files that the browser gets
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LARGEST_GROUP = 1000  # listings in one answer


def _printable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name has letters, and no line breaks")
    return name.strip()


Name = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_printable)]
Row = Annotated[int, Field(ge=0)]


class Saying(BaseModel):
    """What a request says that changes something: who sends it; other fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)
    by: Name


class Wanted(Saying):
    """A request for questions: the positions of those that the page has, and how many more it takes."""

    have: Annotated[list[Row], Field(max_length=200)] = []
    count: Annotated[int, Field(ge=1, le=50)] = 12


class Said(Saying):
    """An answer about a pair of rows."""

    pair: Annotated[list[Row], Field(min_length=2, max_length=2)]
    verdict: Verdict
    asked: Asked = "chosen"
    stratum: Annotated[int, Field(ge=0, lt=len(EDGES) - 1)] | None = None


class SaidOfGroup(Saying):
    """An answer about a group: the rows that are the same product, and those that are not."""

    same: Annotated[list[Row], Field(max_length=LARGEST_GROUP)]
    out: Annotated[list[Row], Field(max_length=LARGEST_GROUP)]


def new_app(session: Session, access: Access, name: str) -> FastAPI:
    """Return the application that serves a review.

        new_app(session, Access(8123), name="anna")

    Args:
        session: The review; its first questions are prepared.
        access: Secrets and addresses.
        name: Who answers, unless the page is told another name.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, access=access)
    routes = Routes(session, access, name)
    for path, answer in routes.gets().items():
        app.add_api_route(path, answer, methods=["GET"], response_model=None)
    for path, answer in routes.posts().items():
        app.add_api_route(path, answer, methods=["POST"], response_model=None)
    app.add_exception_handler(MatcherError, lambda request, error: PlainTextResponse(str(error), 500))
    app.add_exception_handler(RequestValidationError, _misunderstood)
    return app


def _misunderstood(request: Request, error: Exception) -> Response:
    """Return in words what is wrong with a request, without what it says."""
    assert isinstance(error, RequestValidationError)
    places = {".".join(map(str, fault["loc"])): fault["msg"] for fault in error.errors()}
    return PlainTextResponse("; ".join(f"{place}: {message}" for place, message in places.items())[:500], 422)


class Routes:
    """What the server answers to each path; a GET changes nothing.

    Args:
        session: The review.
        access: Secrets and addresses.
        name: Who answers, unless the page is told another name.
    """

    def __init__(self, session: Session, access: Access, name: str) -> None:
        self.session, self.views = session, Views(session)
        catalog, subject = session.subject.catalog, session.subject
        self._n, self._thumbnails = len(catalog), Thumbnails(catalog.image_paths(), subject.max_pixels)
        self._files = {path.name: path.read_bytes() for path in files(PAGE[0]).joinpath(PAGE[1]).iterdir()}
        template = Environment(autoescape=select_autoescape(["html"])).from_string(self._files["page.html"].decode())
        self._page = template.render(
            name=name, csrf=access.csrf, subject=subject.name, catalog=digest(catalog.ids.tolist())[:12]
        )
        self.preparing, self.matching = Background(session.prepare, _say), Background(self._match, _say)

    def gets(self) -> Mapping[str, Callable[..., Any]]:
        """Return the paths that can be read."""
        return {
            "/": self.page,
            "/page/{name}": self.file,
            "/image/{size}/{row}": self.image,
            "/api/progress": self.progress,
            "/api/groups": self.groups,
            "/api/groups/{row}": self.group,
            "/api/pairs/{left}/{right}": self.pair,
            "/api/contradictions": self.contradictions,
            "/answers.csv": self.table,
        }

    def posts(self) -> Mapping[str, Callable[..., Any]]:
        """Return the paths that change something."""
        return {
            "/api/questions": self.questions,
            "/api/answers": self.answer,
            "/api/groups": self.answer_group,
            "/api/undo": self.undo,
            "/api/match": self.match,
        }

    # --- files -------------------------------------------------------------------------------------------------------

    def page(self) -> Response:
        """Return the page."""
        return HTMLResponse(self._page)

    def file(self, name: str) -> Response:
        """Return a script or a style sheet."""
        ending = name[name.rfind(".") :]
        if name not in self._files or ending not in TYPES:
            raise HTTPException(404)
        return Response(self._files[name], media_type=TYPES[ending])

    def image(self, size: str, row: int) -> Response:
        """Return a small copy of the image of a listing."""
        if size not in SIZES or not 0 <= row < self._n:
            raise HTTPException(404)
        try:
            copy = self._thumbnails.jpeg(row, size)
        except ImageFault as fault:
            raise HTTPException(404, str(fault)) from None
        if copy is None:
            raise HTTPException(404)
        return Response(copy, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    def table(self) -> Response:
        """Return all answers as CSV."""
        named = {"Content-Disposition": 'attachment; filename="answers.csv"'}
        return Response(self.session.answers.table(), media_type="text/csv", headers=named)

    # --- what the page asks ------------------------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """Return how far the review is, with the answers that another server has written meanwhile."""
        self.session.answers.refresh()
        return self.views.progress()

    def questions(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Return the next pairs to ask a person about; more are prepared meanwhile."""
        questions = self.session.questions(wanted.by, set(wanted.have), wanted.count)
        if self.session.needs_questions:
            self.preparing.want()
        return [self.views.question(question, wanted.by) for question in questions]

    def pair(self, left: int, right: int, by: str = "") -> dict[str, Any]:
        """Return one pair."""
        return self.views.pair(self._checked(left, right), by)

    def groups(self) -> list[dict[str, Any]]:
        """Return the proposed groups, each named by its first row, those in doubt first; a very large one in parts."""
        about = [(group, len(group.parts(LARGEST_GROUP))) for group in self.session.groups()]
        return [
            {
                "row": group.rows[0],
                "part": part,
                "parts": parts,
                "listings": len(group.rows),
                "settled": group.is_settled,
            }
            for group, parts in about
            for part in range(parts)
        ]

    def group(self, row: int, part: int = 0) -> dict[str, Any]:
        """Return one proposed group, or a part of it, with its listings."""
        for group in self.session.groups():
            if row in group.rows:
                parts = group.parts(LARGEST_GROUP)
                if 0 <= part < len(parts):
                    return self.views.group(group, parts[part])
        raise HTTPException(404)

    def contradictions(self) -> list[dict[str, Any]]:
        """Return answers that contradict each other."""
        return [self.views.contradiction(pairs) for pairs in self.session.answers.contradictions()]

    # --- what the page says ------------------------------------------------------------------------------------------

    def answer(self, said: Said) -> dict[str, Any]:
        """Keep an answer about a pair; it is on the disk when this returns."""
        reply = Reply(self._checked(*said.pair), said.verdict, said.asked, said.stratum)
        self.session.answers.record(said.by, [reply])
        return self._after_answers()

    def answer_group(self, said: SaidOfGroup) -> dict[str, Any]:
        """Keep an answer about a group."""
        rows = [*said.same, *said.out]
        if len(rows) != len(set(rows)) or len(rows) < 2 or not said.same or max(rows) >= self._n:
            raise HTTPException(422, "A group has listings of this catalog, each once, and at least one is kept.")
        same, different = links_of(said.same, said.out, self.session.scores)
        replies = [*(Reply(pair, "yes") for pair in same), *(Reply(pair, "no") for pair in different)]
        self.session.answers.record(said.by, replies)
        return self._after_answers()

    def undo(self, saying: Saying) -> list[dict[str, Any]]:
        """Take back the last answer of a person; return the pairs that it was about."""
        return [self.views.reply(reply, saying.by) for reply in self.session.answers.undo(saying.by)]

    def match(self, saying: Saying) -> dict[str, Any]:
        """Make the matches anew, without waiting for them."""
        self.matching.want()
        return self.views.progress()

    def _after_answers(self) -> dict[str, Any]:
        if self.session.needs_questions:
            self.preparing.want()
        if self.session.is_match_due:
            self.matching.want()
        return self.views.progress()

    def _match(self) -> None:
        self.session.match()
        self.preparing.want()

    def _checked(self, left: int, right: int) -> tuple[int, int]:
        """Return the rows of a pair, the smaller one first."""
        if left == right or not 0 <= min(left, right) <= max(left, right) < self._n:
            raise HTTPException(422, "There is no such pair in this catalog.")
        return min(left, right), max(left, right)


def _say(error: Exception) -> None:
    print(f"warning: work in the background failed: {error}", file=sys.stderr)
