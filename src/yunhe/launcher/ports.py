"""The two sockets that the launcher holds while its children come and go."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Final

from yunhe.launcher.errors import BadConfig, PortTaken

BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """``control`` listens and is inherited by control; ``gateway`` is only bound, so that the port stays ours."""

    control: socket.socket
    gateway: socket.socket

    @property
    def control_port(self) -> int:
        """Where control answers on loopback."""
        return int(self.control.getsockname()[1])

    @property
    def gateway_port(self) -> int:
        """The public port."""
        return int(self.gateway.getsockname()[1])

    def close(self) -> None:
        """Let both go."""
        self.control.close()
        self.gateway.close()


def open_ports(host: str, port: int) -> Ports:
    """Both sockets; port 0 takes a free one. Raises PortTaken, BadConfig for a host that is not here."""
    gateway = reserve(host, port)
    control = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    control.bind(("127.0.0.1", 0))
    control.listen(BACKLOG)
    return Ports(control, gateway)


def reserve(host: str, port: int) -> socket.socket:
    """A bound, not listening socket beside which gateway workers may listen. Raises PortTaken, BadConfig."""
    family, address = _address(host, port)
    # SO_REUSEPORT alone would silently share a port with any other instance of the same user; the first bind, without
    # it, proves that nobody listens there, and is held until ours stands.
    with socket.socket(family, socket.SOCK_STREAM) as proof:
        proof.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(proof, address, host, port)
        if port == 0:
            address = proof.getsockname()
        proof.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            _bind(reserved, address, host, port)
        except (PortTaken, BadConfig):
            reserved.close()
            raise
    return reserved


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BadConfig(f"host {host!r} is not an address of this machine: {error.strerror}") from None
    family, _, _, _, address = found[0]
    return family, address


def _bind(sock: socket.socket, address: tuple[object, ...], host: str, port: int) -> None:
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken by another process", port=port) from None
        if error.errno == errno.EACCES:
            raise PortTaken(f"port {port} needs rights that you do not have", port=port) from None
        raise BadConfig(f"cannot listen on {host}:{port}: {error.strerror}") from None


def reachable_host(host: str) -> str:
    """The host to write into a URL for somebody on this machine: wildcards become loopback."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
