"""The sockets that the launcher holds."""

from __future__ import annotations

import socket

import pytest

from yunhe.launcher.errors import BadConfig, PortTaken
from yunhe.launcher.ports import open_ports, reachable_host, reserve


def listener_beside(port: int) -> socket.socket:
    """As a gateway worker listens."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


def test_reserved_port_takes_no_connections_but_lets_workers_listen() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with listener_beside(port), listener_beside(port):
            socket.create_connection(("127.0.0.1", port)).close()


def test_port_with_a_listener_is_taken_even_when_it_would_share() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with listener_beside(port), pytest.raises(PortTaken, match=str(port)):
            reserve("127.0.0.1", port)


def test_port_that_another_launcher_only_reserved_is_taken() -> None:
    with reserve("127.0.0.1", 0) as reserved, pytest.raises(PortTaken):
        reserve("127.0.0.1", reserved.getsockname()[1])


def test_port_is_free_again_although_old_connections_linger() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with listener_beside(port) as server:
            client = socket.create_connection(("127.0.0.1", port))
            accepted, _ = server.accept()
            # The server's side closes first and stays behind in TIME_WAIT.
            accepted.close()
            client.close()
    reserve("127.0.0.1", port).close()


def test_control_listens_before_it_runs() -> None:
    ports = open_ports("127.0.0.1", 0)
    try:
        socket.create_connection(("127.0.0.1", ports.control_port)).close()
        assert ports.control_port != ports.gateway_port
    finally:
        ports.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_host_that_is_not_this_machine_is_refused(host: str) -> None:
    with pytest.raises(BadConfig):
        reserve(host, 0)


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("10.1.2.3", "10.1.2.3")]
)
def test_wildcards_are_shown_as_loopback(host: str, shown: str) -> None:
    assert reachable_host(host) == shown
