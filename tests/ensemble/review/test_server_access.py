"""Who may see and change a review."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ensemble.review import security
from ensemble.review.security import CSRF_HEADER, MAX_BODY, Access
from ensemble.review.session import Session
from tests.support.review import HEADERS, HOST, Open

READS = ("/", "/page/app.js", "/image/small/0", "/api/progress", "/api/groups", "/api/contradictions", "/answers.csv")
ANSWER = {"by": "anna", "pair": [0, 7], "verdict": "yes"}


def answers(session: Session) -> int:
    session.answers.refresh()
    return session.progress().answers


def test_token_opens_the_page_and_leaves_the_address(open_page: Open, access: Access) -> None:
    client = open_page(entered=False)
    entry = client.get("/?token=token")
    assert entry.status_code == 200
    assert "url=/" in entry.text
    assert "token" not in entry.text
    cookie = entry.headers["set-cookie"]
    assert all(part in cookie for part in (f"{access.cookie}=token", "HttpOnly", "SameSite=strict", "Path=/"))
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("address", ["/?token=", "/?token=wrong", "/?token=token&token", "/?other=token", "/?"])
def test_wrong_token_opens_nothing(open_page: Open, address: str) -> None:
    opened = open_page(entered=False).get(address)
    is_right = address == "/?token=token&token"  # the first value is the right one
    assert opened.status_code == (200 if is_right else 403)
    assert ("set-cookie" in opened.headers) == is_right


@pytest.mark.parametrize("address", READS)
def test_nothing_is_read_without_the_cookie(open_page: Open, address: str) -> None:
    client = open_page(entered=False)
    assert client.get(address).status_code == 403
    client.cookies.set("review-8123", "wrong")
    assert client.get(address).status_code == 403
    assert open_page().get(address).status_code == 200


@pytest.mark.parametrize("others", ['a={"x": 1}', "no value", 'b="open', "=", "c=\\x"])
def test_cookies_of_other_programs_on_this_machine_do_not_matter(open_page: Open, access: Access, others: str) -> None:
    client = open_page(entered=False)
    for cookies in (f"{others}; {access.cookie}={access.token}", f"{access.cookie}={access.token}; {others}"):
        assert client.get("/", headers={"Cookie": cookies}).status_code == 200


def test_no_address_but_those_that_are_meant_exists(open_page: Open) -> None:
    for address in ("/docs", "/openapi.json", "/redoc", "/page/", "/image", "/api", "/favicon.ico"):
        assert open_page().get(address).status_code == 404, address


@pytest.mark.fault(33)
@pytest.mark.parametrize("host", ["evil.example:8123", "127.0.0.1:8124", "127.0.0.1", "127.0.0.1.evil.example:8123"])
def test_foreign_host_is_refused(open_page: Open, host: str) -> None:
    for address in ("/?token=token", *READS):
        assert open_page(host=host).get(address, headers={"Cookie": "review-8123=token"}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8123", "[::1]:8123"])
def test_other_names_of_this_machine_are_served(open_page: Open, host: str) -> None:
    assert open_page(host=host).get("/").status_code == 200
    headers = HEADERS | {"Origin": f"http://{host}"}
    assert open_page(host=host).post("/api/answers", json=ANSWER, headers=headers).status_code == 200


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://{HOST}"},
        {"Origin": "http://localhost:8123"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {CSRF_HEADER: "wrong"},
        {CSRF_HEADER: ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_change_from_elsewhere_is_refused(open_page: Open, session: Session, headers: dict[str, str]) -> None:
    for address in ("/api/answers", "/api/groups", "/api/undo", "/api/match", "/api/questions"):
        refused = open_page().post(address, json=ANSWER, headers=HEADERS | headers)
        assert refused.status_code in (403, 415), address
    assert answers(session) == 0


def test_change_without_origin_is_refused(open_page: Open, session: Session) -> None:
    refused = open_page().post("/api/answers", json=ANSWER, headers={CSRF_HEADER: "csrf"})
    assert refused.status_code == 403
    assert answers(session) == 0


def test_reads_by_other_sites_are_refused(open_page: Open) -> None:
    for address in READS:
        assert open_page().get(address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403, address
        assert open_page().get(address, headers={"Sec-Fetch-Site": "none"}).status_code == 200, address


def test_get_changes_nothing(open_page: Open, session: Session, tmp_path: Path) -> None:
    client, before = open_page(), sorted(path.name for path in tmp_path.iterdir())
    for address in ("/api/answers", "/api/undo", "/api/match", "/api/questions"):
        assert client.get(address, params=ANSWER, headers=HEADERS).status_code in (404, 405), address
    for address in (*READS, "/api/pairs/0/7?by=anna"):
        client.get(address, headers=HEADERS)
    assert answers(session) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(open_page: Open, method: str) -> None:
    assert open_page().request(method, "/api/answers", headers=HEADERS).status_code == 405


def test_every_response_carries_the_headers(open_page: Open) -> None:
    answers = [open_page().get(address) for address in (*READS, "/nothing")]
    answers += [open_page(entered=False).get("/"), open_page(host="evil.example").get("/")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "cache-control" in answer.headers


def test_page_has_no_inline_script_and_nothing_from_elsewhere(open_page: Open) -> None:
    page = open_page().get("/").text
    assert re.findall(r"<script(?![^>]*src=\"/page/)", page) == []
    assert re.findall(r"\son\w+=|style=|javascript:", page) == []
    names = ("app.js", "api.js", "dom.js", "pairs.js", "groups.js", "contradictions.js", "page.css", "icon.svg")
    for text in (page, *(open_page().get(f"/page/{name}").text for name in names)):
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text


@pytest.mark.fault(32)
def test_large_body_is_refused(open_page: Open, session: Session) -> None:
    def chunks() -> object:
        yield from [b" " * 1000] * (MAX_BODY // 1000 + 1)  # of unknown length

    for content in (b" " * (MAX_BODY + 1), chunks()):
        headers = HEADERS | {"Content-Type": "application/json"}
        assert open_page().post("/api/answers", content=content, headers=headers).status_code == 413
    assert answers(session) == 0


def test_body_that_does_not_end_is_refused(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_TIMEOUT_S", 0.05)
    sent = list[Any]()

    async def receive() -> Any:
        if sent:
            return {"type": "http.disconnect"}
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: Any) -> None:
        pytest.fail("the request was passed on")

    own = {"Host": HOST, "Cookie": f"{access.cookie}={access.token}", "Content-Type": "application/json", **HEADERS}
    headers = [(name.lower().encode(), value.encode()) for name, value in own.items()]
    scope = {"type": "http", "method": "POST", "path": "/api/answers", "headers": headers, "query_string": b""}
    asyncio.run(security.Guard(app, access)(scope, receive, send))
    assert sent[0]["status"] == 408


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "path",
    ["../session.py", "..%2fsession.py", "%2e%2e/session.py", "page.html", "__init__.py", "app.js%00", "/etc/passwd"],
)
def test_path_leads_to_no_other_file(open_page: Open, path: str) -> None:
    for folder in ("/page/", "/image/small/", "/image/", "/"):
        answer = open_page().get(folder + path)
        assert answer.status_code in (404, 422), folder
        assert "import" not in answer.text


def test_image_is_named_by_row_alone(open_page: Open) -> None:
    client: TestClient = open_page()
    for address in ("0.png", "1.5", "-1", "60", "99999999999999999999", "0/../1", "0%2f..%2f1"):
        assert client.get(f"/image/small/{address}").status_code in (404, 422), address
    for size in ("huge", "..", "720"):
        assert client.get(f"/image/{size}/0").status_code == 404, size
