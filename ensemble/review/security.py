"""Access to the review page: for the person alone who started it, from a browser on this machine.

The page can change what is matched, and any web page that is open in the same browser may send requests to this
machine. So every request passes these checks, in this order:

1. `Host` is an address of this server. A name that was made to point here (DNS rebinding) is not.
2. A cookie holds the token of this process. The address that opens the page holds it once, and is then left.
3. What the browser says of a request's origin (`Sec-Fetch-Site`, `Origin`) is this server itself.
4. A request that changes something is a POST with a second token, which only a page of this server can read, and with
   a small body of JSON.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024  # bytes; the answers of a group of a thousand listings fit
BODY_TIMEOUT_S = 10.0  # for a client that sends it slowly
CSRF_HEADER = "X-Review-Token"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# A page that was opened from a link of another site does not send a SameSite=Strict cookie when it is redirected, but
# does so when it goes elsewhere by itself.
ENTRY = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>Review</title>'
    '<link rel="icon" href="/page/icon.svg">'
)
CLOSED = "This page belongs to a review that was started elsewhere or anew. Open the address that the command printed."


def _token() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Access:
    """The secrets and addresses of one server.

    Args:
        port: TCP port of the server.
        token: Opens the page; in the address that the command prints, then in a cookie.
        csrf: Stands in the page, and in the header `CSRF_HEADER` of every request that changes something.

    Examples:
        >>> access = Access(8123, token="t", csrf="c")
        >>> access.url, access.cookie, sorted(access.hosts)[0]
        ('http://127.0.0.1:8123/?token=t', 'review-8123', '127.0.0.1:8123')
    """

    port: int
    token: str = field(default_factory=_token, repr=False)
    csrf: str = field(default_factory=_token, repr=False)

    @property
    def url(self) -> str:
        """Return the address that opens the page."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Return the name of the cookie; cookies are shared by all ports of a machine, so it names the port."""
        return f"review-{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """Return the values of `Host` that stand for this server."""
        names = ("127.0.0.1", "localhost", "[::1]")
        return frozenset(names if self.port == 80 else (f"{name}:{self.port}" for name in names))


class Guard:
    """ASGI middleware that answers no request that fails a check, and adds `HEADERS` to every response.

        app.add_middleware(Guard, access=Access(8123))

    Args:
        app: The application behind it.
        access: Secrets and addresses.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":  # no WebSockets; the server has no start-up work either
            return
        response = self._refusal(Request(scope))
        if response is None and scope["method"] == "POST":
            try:
                body = await asyncio.wait_for(_body(receive), BODY_TIMEOUT_S)
            except TimeoutError:
                response, body = PlainTextResponse("The request takes too long.", 408), b""
            if body is None:
                response = PlainTextResponse("The request is too large.", 413)
            receive = _replay(body or b"")
        await (response or self.app)(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        """Return the response to a request that is not passed on; None where it is."""
        headers, access = request.headers, self.access
        if headers.getlist("host") != [headers.get("host", "")] or headers.get("host") not in access.hosts:
            return PlainTextResponse("This server has another name.", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("There is no such method here.", 405, {"Allow": "GET, HEAD, POST"})
        if request.url.path == "/" and request.method == "GET" and request.url.query:
            return self._enter(request.url.query)
        if not _equal(request.cookies.get(access.cookie, ""), access.token):
            return PlainTextResponse(CLOSED, 403)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("Requests from other sites are refused.", 403)
        return self._refusal_of_change(headers) if request.method == "POST" else None

    def _enter(self, query: str) -> Response:
        """Return the response to the address that opens the page: it sets the cookie and leaves the address."""
        if not _equal(parse_qs(query).get("token", [""])[0], self.access.token):
            return PlainTextResponse(CLOSED, 403)
        response = Response(ENTRY, media_type="text/html", headers={"Cache-Control": "no-store"})
        response.set_cookie(self.access.cookie, self.access.token, httponly=True, samesite="strict", path="/")
        return response

    def _refusal_of_change(self, headers: Headers) -> Response | None:
        if headers.get("origin") != f"http://{headers['host']}":
            return PlainTextResponse("Requests from other sites are refused.", 403)
        if not _equal(headers.get(CSRF_HEADER, ""), self.access.csrf):
            return PlainTextResponse(CLOSED, 403)
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("Only JSON is read.", 415)
        return None


def _equal(value: str, secret: str) -> bool:
    return secrets.compare_digest(value.encode("utf-8", "surrogateescape"), secret.encode())


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None where it is larger than `MAX_BODY`, which no header has to admit."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes) -> Receive:
    """Return a channel that delivers a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _with_headers(send: Send) -> Send:
    """Return a channel that adds `HEADERS` to a response, and forbids to keep what does not say how long to."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
