"""The agent's composition root: reads its arguments, loads drivers, wires the parts, obeys signals.

SIGTERM ends the agent and leaves workloads running; SIGINT stops them first.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from yunhe.agent import files, inventory
from yunhe.agent.control_client import Control, Refused
from yunhe.agent.drivers import Engines, load_centre, load_chips, load_engines
from yunhe.agent.files import Desired, Layout
from yunhe.agent.identity import REFUSED_RETRY_S, Joiner
from yunhe.agent.lock import held
from yunhe.agent.stop import stop_all
from yunhe.agent.supervisor import Supervisor
from yunhe.agent.sync import SyncLoop
from yunhe.agent.tuning.desk import TuningDesk
from yunhe.core.errors import InvalidRequest, YunheError
from yunhe.core.home import Home, default_home
from yunhe.drivers.engines.installed import ENGINES_VARIABLE

_LOG = logging.getLogger("yunhe.agent")
#: A predecessor that is just ending may hold the directory for a moment.
LOCK_WAIT_S: Final = 10.0
#: Measuring the cards waits this long for replicas to come up, so that neither disturbs the other.
MEASURE_WAIT_S: Final = 60.0
#: An engine that was installed is offered so soon.
ENGINES_EVERY_S: Final = 5.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def main() -> int:
    """Run until told to end; the exit status of the process."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = Home(arguments.home.expanduser().absolute())
    layout = Layout(home.agent)
    # Drivers are made without arguments; this is how they find what the installer has put here.
    os.environ[ENGINES_VARIABLE] = str(home.engines)
    try:
        layout.make()
        with held(layout.lock, LOCK_WAIT_S):
            centre = load_centre(arguments.driver, layout.workloads)
            if arguments.stop_all:
                return 0 if stop_all(centre, layout.launches) else 1
            if not arguments.control_url:
                raise InvalidRequest("The agent needs --control-url.", next_step="Give the address of the instance.")
            return asyncio.run(
                _run(Setup(arguments.control_url, arguments.driver, arguments.token, layout, home.engines), centre)
            )
    except YunheError as error:
        _LOG.error("%s %s", error.message, error.next_step)
        return 1
    except OSError as error:
        _LOG.error("%s: %s. Make the directory writable, or give another one (--home).", layout.root, error)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m yunhe.agent", description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home(), help="data directory")
    parser.add_argument("--control-url", default="", help="where control (or a gateway before it) answers")
    parser.add_argument("--driver", default="local", help="centre driver")
    parser.add_argument("--token", default="", help="join token; default: the file join_token in the agent's directory")
    parser.add_argument("--stop-all", action="store_true", help="stop every workload, then exit")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Setup:
    """What the command line says."""

    control_url: str
    driver: str
    token: str
    layout: Layout
    #: Where the installer puts engines.
    engines: Path


async def _run(setup: Setup, centre: Any) -> int:
    told, stop_workloads = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end_with_workloads() -> None:
        stop_workloads.set()
        told.set()

    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGINT, end_with_workloads)
    status = 0
    async with _client(False) as replicas_client, _client(_is_remote(setup.control_url)) as control_client:
        engines, chips = load_engines(), load_chips()
        supervisor = Supervisor(centre, engines, setup.layout, replicas_client)
        taken = supervisor.inventory = await asyncio.to_thread(inventory.take, centre, chips)
        desired = files.load(setup.layout.desired, Desired)
        if desired is not None:
            await supervisor.restore(desired.replicas)
        control = Control(control_client, setup.control_url)
        tuning = TuningDesk(
            supervisor, engines, setup.layout.tunings, setup.layout.launches, setup.layout.verified_weights
        )
        conversation = Conversation(setup, control, supervisor, engines, tuning, desired.revision if desired else -1)

        async def look_for_engines() -> None:
            while True:
                await asyncio.sleep(ENGINES_EVERY_S)
                if await asyncio.to_thread(engines.look_again, setup.engines):
                    supervisor.changed.set()

        async def measure() -> None:
            await supervisor.settled(MEASURE_WAIT_S)
            supervisor.inventory = await inventory.measured_aside(taken, chips, setup.layout.speeds)
            supervisor.changed.set()

        talk = asyncio.create_task(conversation.run())
        tasks = [talk, *map(asyncio.create_task, (supervisor.watch(), measure(), look_for_engines()))]
        ending = asyncio.create_task(told.wait())
        await asyncio.wait((ending, talk), return_when=asyncio.FIRST_COMPLETED)
        if talk.done() and not ending.done():
            _LOG.error("the agent ends: %s", talk.exception())
            status = 1
        for task in (ending, *tasks):
            task.cancel()
        await asyncio.gather(ending, *tasks, return_exceptions=True)
        await tuning.let_go()
        await supervisor.let_go()
    if stop_workloads.is_set():
        return 0 if await asyncio.to_thread(stop_all, centre, setup.layout.launches) else 1
    return status


def _client(through_proxies: bool) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    return httpx.AsyncClient(limits=limits, trust_env=through_proxies)


def _is_remote(url: str) -> bool:
    """Only what is elsewhere may be reached through the proxies that the environment names."""
    return urlsplit(url).hostname not in _LOOPBACK


@dataclass(slots=True)
class Conversation:
    """Joining, syncing, and joining again when control has lost its memory of this agent."""

    setup: Setup
    control: Control
    supervisor: Supervisor
    engines: Engines
    tuning: TuningDesk
    revision: int

    async def run(self) -> None:
        """Until cancelled. Raises Refused when a new agent's token is not good."""
        joiner = Joiner(self.control, self.setup.layout, self.setup.driver, self.setup.token)
        identity, fresh = await joiner.obtain()
        while True:
            # Revisions count within one membership: another control may begin again at 0.
            revision = -1 if fresh else self.revision
            loop = SyncLoop(
                self.control, identity, self.supervisor, self.engines, self.setup.layout, revision, self.tuning
            )
            try:
                await loop.run()
            except Refused as error:
                _LOG.error(
                    "control refuses this agent (%s). Write a new join token to %s.", error, joiner.layout.join_token
                )
            self.revision = loop.revision
            renewed = await joiner.renew()
            identity, fresh = renewed or identity, renewed is not None
            if not fresh:
                await asyncio.sleep(REFUSED_RETRY_S)
