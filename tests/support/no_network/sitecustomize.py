"""In front of the modules of a process, this refuses it the network, and says on stderr what it asked for."""

import ipaddress
import socket
import sys
from typing import Any


def _refuse(asked: object) -> None:
    print(f"asks the network: {asked!r}", file=sys.stderr, flush=True)
    raise OSError(f"no network for {asked!r}")


def _is_local(host: object) -> bool:
    try:
        return host in (None, "", "localhost", socket.gethostname()) or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def connect(self: socket.socket, address: Any) -> None:
    """Connect to this machine only."""
    if isinstance(address, tuple) and not _is_local(address[0]):
        _refuse(address)
    _connect(self, address)


def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
    """Resolve names of this machine only."""
    if not _is_local(host):
        _refuse(host)
    return _getaddrinfo(host, *args, **options)


socket.socket.connect = connect  # type: ignore[assignment, method-assign]
socket.getaddrinfo = getaddrinfo
