"""The supervisor of one instance: starts its processes, keeps them running, stops them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from yunhe import __version__
from yunhe.core.home import Home
from yunhe.launcher.child import Child
from yunhe.launcher.commands import ChildSpec, specs
from yunhe.launcher.config import Settings
from yunhe.launcher.credentials import write_address
from yunhe.launcher.errors import StartFailed
from yunhe.launcher.leftovers import stop_leftovers, stop_workloads
from yunhe.launcher.logs import last_words, rotate
from yunhe.launcher.ports import Ports, open_ports, reachable_host
from yunhe.launcher.processes import identify
from yunhe.launcher.progress import Progress, Watcher
from yunhe.launcher.readiness import Readiness
from yunhe.launcher.run_files import State, UpRecord, clear, write_processes, write_up

log = logging.getLogger(__name__)

ROTATE_EVERY_S: Final = 2.0
#: A part that ends so often in a row while starting will not come up by itself.
START_FAILURES_MAX: Final = 3
TAIL_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running instance answers."""

    console_url: str
    base_url: str


class Supervisor:
    """One run of an instance. The caller holds the home's lock and made its secrets."""

    def __init__(self, home: Home, settings: Settings, watch: Watcher) -> None:
        self._home = home
        self._settings = settings
        self._watch = watch
        self._children: list[Child] = []
        self._record: UpRecord | None = None
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()

    def ask_stop(self) -> None:
        """Begin to stop; asked a second time, do not wait for running requests any longer."""
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def run(self, on_ready: Callable[[Addresses], None]) -> None:
        """Start, call ``on_ready`` when the instance serves, run until asked to stop, stop all.

        Raises StartFailed when it does not become ready; everything is stopped then too. Raises PortTaken, BadConfig
        before anything was started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ignored by whoever started us (nohup): it stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self.ask_stop)
        stopped = await asyncio.to_thread(stop_leftovers, self._home, workloads=False)
        if stopped.names:
            log.warning("stopped what an earlier run left behind: %s", ", ".join(stopped.names))
        clear(self._home)
        ports = open_ports(self._settings.host, self._settings.port)
        try:
            addresses = self._announce(ports)
            self._children = [Child(spec, self._write_processes) for spec in self._specs(ports)]
            for child in self._children:
                child.start()
            await self._serve(ports, addresses, on_ready)
        finally:
            await self._stop_children()
            ports.close()
            clear(self._home)

    async def _serve(self, ports: Ports, addresses: Addresses, on_ready: Callable[[Addresses], None]) -> None:
        started_at = self._record.started_at if self._record else time.time()
        rotation = asyncio.create_task(self._rotate())
        stop = asyncio.create_task(self._stop_asked.wait())
        start = asyncio.create_task(self._until_ready(ports, started_at))
        try:
            await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
            if self._stop_asked.is_set():
                return
            await start
            write_address(self._home, addresses.base_url)
            self._set_state("ready")
            on_ready(addresses)
            await stop
        finally:
            for task in (rotation, stop, start):
                task.cancel()
            await asyncio.gather(rotation, stop, start, return_exceptions=True)

    async def _until_ready(self, ports: Ports, started_at: float) -> None:
        readiness = Readiness(
            home=self._home,
            host=reachable_host(self._settings.host),
            port=ports.gateway_port,
            control_port=ports.control_port,
            workers=self._settings.workers,
            watch=self._watch,
            started_at=started_at,
        )
        waiting = asyncio.create_task(readiness.wait())
        deadline = time.monotonic() + self._settings.timeout_s
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=0.25)
                self._raise_if_failing()
                if time.monotonic() > deadline and not waiting.done():
                    raise self._too_late(readiness)
            await waiting
        finally:
            waiting.cancel()

    def _raise_if_failing(self) -> None:
        for child in self._children:
            if child.failures >= START_FAILURES_MAX:
                raise StartFailed(
                    f"{child.spec.name} ended {child.failures} times in a row ({child.last_end})",
                    log=str(child.spec.output),
                    log_tail=last_words(child.spec.output, TAIL_LINES),
                )

    def _too_late(self, readiness: Readiness) -> StartFailed:
        first = next((name for name, state in readiness.states.items() if state.state != "ready"), "control")
        # What keeps a model from answering is in its agent's log.
        prefix = "agent" if first == "model" else first
        spec = next(child.spec for child in self._children if child.spec.name.startswith(prefix))
        return StartFailed(
            f"not ready after {self._settings.timeout_s:.0f} s ({readiness.missing()})",
            log=str(spec.output),
            log_tail=last_words(spec.output, TAIL_LINES),
        )

    def _specs(self, ports: Ports) -> list[ChildSpec]:
        database = self._settings.database_url
        return specs(
            self._home,
            host=self._settings.host,
            port=ports.gateway_port,
            workers=self._settings.workers,
            control_fd=ports.control.fileno(),
            control_port=ports.control_port,
            database_url=database.get_secret_value() if database else None,
            environ=os.environ,
        )

    def _announce(self, ports: Ports) -> Addresses:
        me = identify(os.getpid())
        assert me is not None, "a running process has an identity"
        root = f"http://{reachable_host(self._settings.host)}:{ports.gateway_port}"
        addresses = Addresses(console_url=f"{root}/", base_url=f"{root}/v1")
        self._record = UpRecord(
            process=me,
            version=__version__,
            state="starting",
            started_at=time.time(),
            host=self._settings.host,
            port=ports.gateway_port,
            control_port=ports.control_port,
            workers=self._settings.workers,
            console_url=addresses.console_url,
            base_url=addresses.base_url,
        )
        write_up(self._home, self._record)
        return addresses

    def _set_state(self, state: State) -> None:
        if self._record is not None:
            self._record = replace(self._record, state=state)
            write_up(self._home, self._record)
            log.info("%s: %s", self._record.console_url, state)

    def _write_processes(self) -> None:
        write_processes(self._home, [child.process for child in self._children if child.process is not None])

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY_S)
            for path in [*sorted(self._home.logs.glob("*.out")), self._home.logs / "launcher.log"]:
                try:
                    rotate(path, self._settings.log_bytes_max, self._settings.log_files_max)
                except OSError as error:
                    log.error("cannot rotate %s: %s", path, error)

    async def _stop_children(self) -> None:
        """Gateways drain while replicas still answer; then the agent takes its workloads along; control is last."""
        self._set_state("stopping")
        rush = asyncio.create_task(self._rush())
        clean = True
        for part in ("gateway", "agent", "control"):
            group = [child for child in self._children if child.spec.name.startswith(part)]
            if group:
                self._watch(Progress(part, "stopping"))
                results = await asyncio.gather(*(child.stop() for child in group))
                clean = clean and (part != "agent" or all(results))
                self._watch(Progress(part, "stopped"))
        rush.cancel()
        if not clean:
            await asyncio.to_thread(stop_workloads, self._home)

    async def _rush(self) -> None:
        await self._hurry.wait()
        for child in self._children:
            if child.spec.name.startswith("gateway"):
                child.hurry()
