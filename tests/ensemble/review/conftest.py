from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ensemble.review.security import Access
from ensemble.review.server import new_app
from ensemble.review.session import Session
from tests.support.listings import draw
from tests.support.review import HOST, Open, subject


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A review of 60 listings, of which two name an image and one of the files is broken."""
    draw(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"<html>")
    images = ["0.png", "1.png", "gone.png", *[None] * 57]
    faults = [None, None, "no such file", *[None] * 57]
    shas = ["a", "b", *[None] * 58]
    session = Session(subject(tmp_path, image=images, image_fault=faults, image_sha=shas))
    session.prepare()
    return session


@pytest.fixture
def access() -> Access:
    return Access(8123, token="token", csrf="csrf")


@pytest.fixture
def open_page(session: Session, access: Access) -> Iterator[Open]:
    """Returns a browser; unless told otherwise, one that has opened the page."""
    app = new_app(session, access, "anna")
    with ExitStack() as stack:

        def open_page(*, entered: bool = True, host: str = HOST) -> TestClient:
            client = TestClient(app, base_url=f"http://{host}", follow_redirects=False)
            stack.callback(client.close)
            if entered:
                client.cookies.set(access.cookie, access.token)
            return client

        yield open_page
