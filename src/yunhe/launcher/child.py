"""One supervised process: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable

from yunhe.launcher.backoff import Backoff
from yunhe.launcher.commands import ChildSpec
from yunhe.launcher.logs import open_for_append
from yunhe.launcher.processes import KILL_WAIT_S, NamedProcess, identify

log = logging.getLogger(__name__)


def end_text(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit status {code}"


class Child:
    """Runs one spec until ``stop``; ``on_change`` is called whenever the running process is another one."""

    def __init__(self, spec: ChildSpec, on_change: Callable[[], None]) -> None:
        self.spec = spec
        self.process: NamedProcess | None = None
        self.backoff = Backoff()
        #: How it last ended; empty while it never did.
        self.last_end = ""
        self.last_code: int | None = None
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._popen: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def failures(self) -> int:
        """Ends in a row soon after the start."""
        return self.backoff.failures

    def start(self) -> None:
        """Begin to run it."""
        self._task = asyncio.create_task(self._run(), name=self.spec.name)

    async def stop(self, grace_s: float | None = None) -> bool:
        """Ask it to end, kill it after the grace; True when it ended by itself with status 0."""
        self._stopping.set()
        if self._task is None:
            return True
        if self._popen is not None and self._popen.returncode is None:
            self._signal(self.spec.stop_signal)
        done, _ = await asyncio.wait([self._task], timeout=self.spec.grace_s if grace_s is None else grace_s)
        if not done:
            log.warning("%s did not end in time and is killed", self.spec.name)
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._task], timeout=KILL_WAIT_S)
        return self.last_code == 0

    def hurry(self) -> None:
        """Do not wait for a graceful end any longer."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None and self._popen.returncode is None:
            try:
                self._popen.send_signal(number)
            except ProcessLookupError:
                return

    async def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            self.process = None
            self._on_change()
            self.last_code = code
            self.last_end = end_text(code)
            if self._stopping.is_set():
                return
            delay_s = self.backoff.after(time.monotonic() - began)
            log.warning("%s ended (%s); starting it again in %.1f s", self.spec.name, self.last_end, delay_s)
            try:
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            except TimeoutError:
                continue

    async def _run_once(self) -> int:
        output = open_for_append(self.spec.output)
        try:
            self._popen = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.spec.env,
                pass_fds=self.spec.pass_fds,
                # The database and its kin hold secrets.
                umask=0o077,
                # Away from the terminal's group: Ctrl-C reaches the launcher only, which stops all in order.
                start_new_session=True,
            )
        finally:
            os.close(output)
        identity = identify(self._popen.pid)
        if identity is not None:
            self.process = NamedProcess(self.spec.name, identity)
            self._on_change()
        if self._stopping.is_set():
            # Asked to stop while it was being started: nobody has signalled this process yet.
            self._signal(self.spec.stop_signal)
        return await self._popen.wait()
