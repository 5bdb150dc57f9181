"""The public port."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from yunhe.launcher.checks.finding import Finding
from yunhe.launcher.errors import BadConfig, PortTaken
from yunhe.launcher.ports import reserve
from yunhe.launcher.run_files import UpRecord


def check_port(host: str, port: int, running: UpRecord | None) -> Iterator[Finding]:
    """Whether it is free, or who holds it; ``running`` is this data directory's own instance."""
    if running is not None:
        where = f"port {running.port} on {running.host}"
        yield Finding("port", "ok", f"{where} is this instance's own")
        if port in (0, running.port):
            return
    if port == 0:
        yield Finding("port", "ok", "any free one is taken")
        return
    try:
        reserve(host, port).close()
    except PortTaken as error:
        who = holder(port)
        yield Finding(
            "port",
            "warn" if running is not None else "fail",
            f"{error.message}{f': {who}' if who else ''}",
            "Stop that process, or choose another port: yunhe up --port 0 takes any free one.",
        )
    except BadConfig as error:
        yield Finding("port", "fail", error.message, error.next_step)
    else:
        yield Finding("port", "ok", f"port {port} on {host} is free")


def holder(port: int) -> str:
    """Who listens on that port, as far as we may see: name, pid, command line; else empty."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}, user {process.username()})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return ""
