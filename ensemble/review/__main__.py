"""The command `python -m ensemble.review`: a page on which people answer which listings sell the same product."""

from __future__ import annotations

import errno
import getpass
import os
import socket
import webbrowser
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import uvicorn

from ensemble.match import open_matcher, open_store
from ensemble.review.security import Access
from ensemble.review.server import new_app
from ensemble.review.session import Session, Subject
from ensemble.review.subjects import make_run, of_bundle, of_run
from ensemble.sections import sections
from shared.errors import MatcherError
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.run import ArtifactStore, RunFolder
from shared.pipeline.settings import Settings

BROWSER_DELAY_S = 0.5
MOST_CONNECTIONS = 200  # that are open at a time; a browser opens six
GRACE_S = 2  # for requests that are being answered when the command is ended


def listen(port: int) -> list[socket.socket]:
    """Return sockets that listen on the loopback addresses of this machine alone.

    Args:
        port: TCP port; 0: a free one.

    Raises:
        MatcherError: The port is in use or not allowed.

    Examples:
        >>> [first, *_] = sockets = listen(0)
        >>> first.getsockname()[0]
        '127.0.0.1'
        >>> for each in sockets:
        ...     each.close()
    """
    first = _bound(socket.AF_INET, "127.0.0.1", port)
    sockets = [first]
    with suppress(MatcherError, OSError):  # a machine need not have the newer protocol
        sockets.append(_bound(socket.AF_INET6, "::1", first.getsockname()[1]))
    return sockets


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere this would let two servers have one port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen()
    except (OSError, OverflowError) as error:
        made.close()
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is in use" if in_use else "cannot be used"
        raise MatcherError(f"port {port} {why}; name another one with --port, or leave it out") from error
    return made


def serve(session: Session, name: str, port: int, *, browser: bool) -> None:
    """Serve the page of a review until the process is interrupted.

        serve(Session(subject), "anna", 0, browser=True)

    Args:
        session: The review; its matches are made here if there are none, and its first questions are prepared.
        name: Who answers, unless the page is told another name.
        port: TCP port; 0: a free one.
        browser: Whether a browser opens the page.

    Raises:
        MatcherError: The port is in use, or the answers cannot be read.
    """
    sockets = listen(port)
    access = Access(sockets[0].getsockname()[1])
    if session.matched is None:
        session.match()
    session.prepare()
    config = uvicorn.Config(
        new_app(session, access, name),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MOST_CONNECTIONS,
    )
    print(f"answers go to {session.subject.answers}")
    print(f"review at {access.url}\nCtrl-C ends it", flush=True)
    if browser:
        timer = Timer(BROWSER_DELAY_S, webbrowser.open, [access.url])
        timer.daemon = True
        timer.start()
    uvicorn.Server(config).run(sockets=sockets)


def open_subject(store: Any, settings: Settings, arguments: Arguments) -> Subject:
    """Return what the options say is to be reviewed.

        open_subject(open_reviewed(arguments), settings, arguments)

    Raises:
        MatcherError: The options contradict each other, or something cannot be read.
    """
    if arguments.bundle is None:
        if arguments.out is not None:
            raise MatcherError("--out goes with --bundle; the matches of a run are in its folder")
        if arguments.data is not None:
            make_run(store, settings)
        if arguments.answers is not None:
            raise MatcherError("--answers is for a new catalog; name those of a run with --review.answers=FILE")
        return of_run(store, settings, arguments.source)
    if arguments.data is None:
        raise MatcherError("--bundle goes with --data: the catalog to match")
    return of_bundle(open_matcher(store, settings, arguments), settings, arguments.out, arguments.answers)


def open_reviewed(arguments: Arguments) -> ArtifactStore:
    """Return the bundle or the run folder that the options name; a run need not be there yet.

    Raises:
        MatcherError: Both are named.
        ArtifactError: The folder is no bundle, or a file in it was altered.
    """
    return RunFolder(arguments.run) if arguments.bundle is None else open_store(arguments)


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("--bundle", type=Path, help="with --data: match a new catalog with this bundle")
    parser.add_argument("--out", type=Path, help="with --bundle: folder to write its matches into")
    parser.add_argument("--source", help="catalog to review, in a run of several")
    parser.add_argument("--answers", type=Path, help="with --bundle: file of answers (default: in --out)")
    parser.add_argument("--name", default=_login(), help="who answers (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port of the page (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in some containers
        return "somebody"


def main() -> int:
    """Review the matches of a run, or of a new catalog."""

    def body(store: Any, settings: Settings, arguments: Arguments) -> None:
        if not arguments.name.strip() or not arguments.name.isprintable() or len(arguments.name) > 60:
            raise MatcherError("--name must be a name of at most 60 characters")
        session = Session(open_subject(store, settings, arguments), seed=os.getpid())
        serve(session, arguments.name.strip(), arguments.port, browser=not arguments.no_browser)

    return Command(
        "python -m ensemble.review",
        "Serve a page on this machine on which people say which listings sell the same product.",
        sections(),
        ["data", "ensemble", "compute"],
        body,
        options=options,
        new_data=True,
        opened=open_reviewed,
        holds=lambda arguments: False,
        force=False,
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
