"""The composition root of a gateway worker: command line, files, sockets, signals."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from yunhe.core.home import Home
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.options import Options, with_settings
from yunhe.gateway.worker import Worker, read_secret

log = logging.getLogger(__name__)

_BACKLOG = 1024


def main(argv: list[str] | None = None) -> int:
    """Run one worker until SIGTERM or SIGINT; exit status."""
    parser = argparse.ArgumentParser(prog="python -m yunhe.gateway", description="One worker of the Yunhe gateway.")
    parser.add_argument("--home", type=Path, required=True, help="data directory of the instance")
    parser.add_argument("--worker", type=int, default=0, help="number of this worker, from 0")
    parser.add_argument("--workers", type=int, default=1, help="how many workers there are")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (shared by all workers); 0 takes one")
    parser.add_argument("--control-url", required=True, help="where control listens, http://host:port")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a bound of gateway/options.py"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = Home(args.home.absolute())
    try:
        options = with_settings(Options(), args.set)
        pepper = bytes.fromhex(read_secret(home.secrets / "pepper"))
        token = read_secret(home.secrets / "internal_token")
        listener = _listen(args.host, args.port)
    except (OSError, ValueError) as error:
        print(f"gateway worker {args.worker} cannot start: {error}", file=sys.stderr)
        return 1

    async def run() -> None:
        worker = Worker(home, args.worker, args.workers, args.control_url, options, pepper, token)
        await _serve(worker, listener, home)

    try:
        uvloop.run(run())
    except OSError as error:
        print(f"gateway worker {args.worker} cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket that shares its port with the other workers. Raises OSError that names the address."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{host}:{port} cannot be listened on ({error.strerror})") from None
    listener.setblocking(False)
    return listener


async def _serve(worker: Worker, listener: socket.socket, home: Home) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker.background.start()
    worker.sweep()
    # What lives as long as the process need not be looked at again; exchanges break their own cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    server = await loop.create_server(lambda: ClientConnection(worker), sock=listener, backlog=_BACKLOG)
    run_file = home.run / f"{worker.name}.json"
    home.run.mkdir(mode=0o700, exist_ok=True)
    _write_run_file(run_file, listener.getsockname()[1])
    log.info("worker %d accepts on %s", worker.number, listener.getsockname())
    await stop.wait()
    log.info("worker %d drains", worker.number)
    server.close()
    await worker.drain()
    run_file.unlink(missing_ok=True)


def _write_run_file(path: Path, port: int) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"pid": os.getpid(), "port": port}), encoding="utf-8")
    draft.replace(path)
