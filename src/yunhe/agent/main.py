"""The agent's composition root: reads its arguments, loads drivers, wires the parts, obeys signals.

SIGTERM ends the agent and leaves workloads running; SIGINT stops them first.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx

from yunhe.agent import files, inventory
from yunhe.agent.drivers import load_centre, load_chips, load_engines
from yunhe.agent.files import Desired, Identity
from yunhe.agent.supervisor import Supervisor, stop_all
from yunhe.agent.sync import Control, Refused, SyncLoop
from yunhe.core.errors import YunheError
from yunhe.core.home import Home, default_home
from yunhe.serve.sync import JoinRequest

_LOG = logging.getLogger("yunhe.agent")
JOIN_RETRY_S = 0.5
#: Measuring the cards waits this long for replicas to come up, so that neither disturbs the other.
MEASURE_WAIT_S = 60.0


def main() -> int:
    """Run until told to end; the exit status of the process."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    state_dir = Home(arguments.home).agent
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        centre = load_centre(arguments.driver, state_dir / "workloads")
        if arguments.stop_all:
            return 0 if stop_all(centre, state_dir) else 1
        return asyncio.run(_run(arguments, state_dir, centre))
    except YunheError as error:
        _LOG.error("%s %s", error.message, error.next_step)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m yunhe.agent", description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home(), help="data directory")
    parser.add_argument("--control-url", default="", help="where control (or a gateway before it) answers")
    parser.add_argument("--driver", default="local", help="centre driver")
    parser.add_argument("--token", default="", help="join token; default: the file join_token in the agent's directory")
    parser.add_argument("--stop-all", action="store_true", help="stop every workload, then exit")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace, state_dir: Path, centre: Any) -> int:
    engines, chips = load_engines(), load_chips()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    stop_workloads = False

    def end(*, workloads: bool) -> None:
        nonlocal stop_workloads
        stop_workloads = stop_workloads or workloads
        told.set()

    loop.add_signal_handler(signal.SIGTERM, lambda: end(workloads=False))
    loop.add_signal_handler(signal.SIGINT, lambda: end(workloads=True))
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
        supervisor = Supervisor(centre, engines, state_dir, client)
        taken = supervisor.inventory = await asyncio.to_thread(inventory.take, centre, chips)
        await asyncio.to_thread(supervisor.revive)
        desired = files.load(state_dir / "desired.json", Desired)
        if desired is not None:
            supervisor.want(desired.replicas)

        async def converse() -> None:
            control = Control(client, arguments.control_url)
            identity = await _identity(control, arguments, state_dir)
            await SyncLoop(control, identity, supervisor, engines.infos, state_dir / "desired.json", desired).run()

        async def measure() -> None:
            await supervisor.settled(MEASURE_WAIT_S)
            supervisor.inventory = await asyncio.to_thread(inventory.measured, taken, chips, state_dir / "speeds")
            supervisor.changed.set()

        tasks = [asyncio.create_task(work) for work in (supervisor.watch(), converse(), measure(), told.wait())]
        status = await _until_told(tasks)
        await supervisor.let_go()
    if stop_workloads:
        return 0 if await asyncio.to_thread(stop_all, centre, state_dir) else 1
    return status


async def _until_told(tasks: list[asyncio.Task[Any]]) -> int:
    """0 when told to end, 1 when the conversation ended for good."""
    watch, converse, _, told = tasks
    status = 0
    try:
        waiting = {watch, converse, told}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            for task in (converse, watch):
                if task.done() and (error := task.exception()) is not None:
                    _LOG.error("the agent ends: %s", error)
                    status = 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return status


async def _identity(control: Control, arguments: argparse.Namespace, state_dir: Path) -> Identity:
    """Who this agent is: from disk, else by joining with the token, repeating until control answers."""
    path = state_dir / "identity.json"
    known = files.load(path, Identity)
    if known is not None:
        return known
    nonce_path = state_dir / "join-nonce"
    if not nonce_path.exists():
        nonce_path.write_text(secrets.token_hex(16), encoding="ascii")
    while True:
        token = arguments.token or _read(state_dir / "join_token")
        if token:
            request = JoinRequest(token, arguments.driver, socket.gethostname(), nonce=_read(nonce_path))
            try:
                answer = await control.join(request)
                break
            except httpx.HTTPError as error:
                _LOG.info("control does not answer yet: %s", type(error).__name__)
        await asyncio.sleep(JOIN_RETRY_S)
    identity = Identity(answer.centre_id, answer.centre_name, answer.agent_id, answer.agent_token)
    files.save(path, identity)
    (state_dir / "join_token").unlink(missing_ok=True)
    _LOG.info("joined the centre %s as %s", identity.centre_name, identity.agent_id)
    return identity


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


__all__ = ["Refused", "main"]
