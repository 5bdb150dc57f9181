"""The composition root of the control process: reads the configuration, wires the parts, serves until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from yunhe.api.app import build_app
from yunhe.control.bootstrap import bootstrap, renew_join_token
from yunhe.control.controller import ServeController
from yunhe.control.front import Front
from yunhe.control.housekeeping import Housekeeping
from yunhe.control.leader import Leadership
from yunhe.control.log_file import start_logging
from yunhe.control.machine import machine_app
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import SystemClock
from yunhe.core.errors import YunheError
from yunhe.core.home import Home, default_home
from yunhe.store.database import Database

#: What is still running so long after SIGTERM is cut off.
STOP_LIMIT_S: Final = 10
_LOG: Final = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run control; 0 after a graceful stop, 1 when it could not start."""
    options = _options(argv)
    home = Home(options.home)
    try:
        home.make()
        start_logging(home.logs / "control.log")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(home, _listen(options)))
    except YunheError as error:
        _LOG.error("cannot start: %s Next: %s", error.message, error.next_step)
        sys.stderr.write(f"error[{error.code}]: {error.message}\n\nhint: {error.next_step}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error[cannot_start]: {error}\n\nhint: check the data directory and the address\n")
        return 1
    return 0


async def _run(home: Home, listener: socket.socket) -> None:
    """Everything between start and stop."""
    db = Database(os.environ.get("YUNHE_DATABASE_URL") or f"sqlite:///{home.database}")
    state = build_state(home, db, SystemClock(), ensure_secrets(home))
    try:
        await db.migrate()
        await bootstrap(state)
        await renew_join_token(state)
        await _serve(state, listener)
    finally:
        await db.dispose()


async def _serve(state: ControlState, listener: socket.socket) -> None:
    """HTTP and the controllers, until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        Front(machine_app(state), build_app(state)),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_LIMIT_S,
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True
        state.hub.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    leadership = Leadership(state)
    tasks = [
        asyncio.create_task(leadership.run(), name="leadership"),
        asyncio.create_task(ServeController(state, leadership).run(), name="serve-controller"),
        asyncio.create_task(Housekeeping(state, leadership).run(), name="housekeeping"),
    ]
    _announce(state.home, listener)
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await leadership.resign()
    _LOG.info("stopped")


class _Server(uvicorn.Server):
    """Leaves signals to the composition root: the original raises them again once it stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """No handlers of its own."""
        yield


def _announce(home: Home, listener: socket.socket) -> None:
    """Say where control listens, for people and tools on this machine."""
    port = listener.getsockname()[1]
    (home.run / "control.json").write_text(json.dumps({"pid": os.getpid(), "port": port}))
    _LOG.info("serving on port %d", port)


def _listen(options: argparse.Namespace) -> socket.socket:
    """The listening socket: the inherited one, or a new one. Raises OSError when the address is taken."""
    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
    else:
        listener = socket.create_server((options.host, options.port), backlog=1024)
    listener.setblocking(False)
    return listener


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m yunhe.control", description="Yunhe's control process.")
    parser.add_argument("--home", type=Path, default=default_home(), help="data directory (YUNHE_HOME)")
    parser.add_argument("--fd", type=int, help="inherited listening TCP socket")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on without --fd")
    parser.add_argument("--port", type=int, default=0, help="port to listen on without --fd; 0 takes a free one")
    return parser.parse_args(argv)
