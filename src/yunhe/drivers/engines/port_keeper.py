"""Runs an engine's server on a port that is its own: ``python -m yunhe.drivers.engines.port_keeper ... -- COMMAND``.

Most engines want a port named and do not say which they took. This process chooses a free one, puts it where
``@PORT@`` stands in the command and in the named files, starts the command, and writes the number into the port file
only when a process of that command listens on it: another's server is never taken for ours. It ends with the
command's exit code; SIGTERM and SIGINT are passed on.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psutil

from yunhe.drivers.engines.server_plan import PORT

_POLL_S = 0.25
#: Readable for the group: one engine refuses its configuration with any other mode.
_FILLED_MODE = 0o640


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, watch, pass signals on. Returns the exit code of the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--fill", action="append", default=[], metavar="FROM=TO", help="file with @PORT@ to fill in")
    parser.add_argument("--path-env", action="append", default=[], metavar="NAME=FILE", help="absolute path of a file")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    port = given.port or _free_port()
    for pair in given.fill:
        source, _, target = pair.partition("=")
        _fill(Path(source), Path(target), port)
    env = dict(os.environ)
    for pair in given.path_env:
        name, _, target = pair.partition("=")
        env[name] = str(Path(target).absolute())
    try:
        child = subprocess.Popen([part.replace(PORT, str(port)) for part in given.command], env=env)
    except OSError as error:
        print(f"{given.command[0]} does not start: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    _pass_signals_on(child)
    return _watch(child, port, given.port_file)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fill(source: Path, target: Path, port: int) -> None:
    """A quoted placeholder becomes a number, so that the template is JSON too."""
    text = source.read_text(encoding="utf-8").replace(f'"{PORT}"', str(port)).replace(PORT, str(port))
    target.write_text(text, encoding="utf-8")
    target.chmod(_FILLED_MODE)


def _pass_signals_on(child: subprocess.Popen[bytes]) -> None:
    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)


def _watch(child: subprocess.Popen[bytes], port: int, port_file: Path) -> int:
    while child.poll() is None and not _listens(child.pid, port):
        time.sleep(_POLL_S)
    if child.poll() is None:
        waiting = port_file.with_suffix(".new")
        waiting.write_text(str(port), encoding="utf-8")
        waiting.rename(port_file)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _listens(pid: int, port: int) -> bool:
    """Whether the process or a descendant of it listens on the port."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return False
    return any(_process_listens(process, port) for process in family)


def _process_listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port for entry in sockets)


if __name__ == "__main__":
    sys.exit(main())
