"""`yunhe up`, in the foreground or detached."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any, Final

from yunhe.core.errors import YunheError
from yunhe.core.home import Home
from yunhe.launcher.commands import PYTHON
from yunhe.launcher.config import Settings
from yunhe.launcher.credentials import Report, make_report
from yunhe.launcher.errors import AlreadyRunning, BadHome, LauncherError, StartFailed
from yunhe.launcher.lock import held
from yunhe.launcher.logs import open_for_append, tail
from yunhe.launcher.progress import Progress, Watcher
from yunhe.launcher.secrets import make_secrets
from yunhe.launcher.supervisor import Addresses, Supervisor

#: Beyond the start's own time-out: what a failed start needs to stop everything again.
STOP_SLACK_S: Final = 120.0


def run(settings: Settings, watch: Watcher, on_ready: Callable[[Report], None]) -> None:
    """Run an instance in this process until SIGINT or SIGTERM. Raises LauncherError."""
    home = prepare(settings)
    with held(home):
        _log_to(home)

        def ready(addresses: Addresses) -> None:
            on_ready(make_report(home, console_url=addresses.console_url, base_url=addresses.base_url, pid=os.getpid()))

        asyncio.run(_supervise(home, settings, watch, ready))


def prepare(settings: Settings) -> Home:
    """The home with its directories and secrets made. Raises BadHome."""
    home = Home(settings.home)
    try:
        home.make()
        probe = home.run / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
        make_secrets(home)
    except OSError as error:
        raise _bad_home(home, error) from None
    return home


def _bad_home(home: Home, error: OSError) -> BadHome:
    return BadHome(f"the data directory {home.root} cannot be written: {error.strerror or error}")


async def _supervise(home: Home, settings: Settings, watch: Watcher, ready: Callable[[Addresses], None]) -> None:
    await Supervisor(home, settings, watch).run(ready)


def _log_to(home: Home) -> None:
    handler = logging.FileHandler(home.logs / "launcher.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("yunhe")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def detach(settings: Settings, watch: Watcher) -> Report:
    """Start a supervisor that outlives this process and return once the instance is ready. Raises LauncherError."""
    home = prepare(settings)
    with held(home):
        # Only to learn at once, and in our own words, that an instance runs already.
        pass
    log_path = home.logs / "launcher.log"
    reader, writer = os.pipe()
    output = open_for_append(log_path)
    env = dict(os.environ)
    if settings.database_url is not None:
        env["YUNHE_DATABASE_URL"] = settings.database_url.get_secret_value()
    try:
        child = subprocess.Popen(
            detached_command(settings, writer),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            pass_fds=(writer,),
            start_new_session=True,
        )
    finally:
        os.close(writer)
        os.close(output)
    with os.fdopen(reader, "rb", buffering=0) as stream:
        try:
            return _await_report(stream, settings, watch)
        except BaseException:
            _end(child)
            raise
        finally:
            # It lives on without us; Popen need not warn that nobody waited for it.
            child.returncode = child.poll() or 0


def detached_command(settings: Settings, report_fd: int) -> tuple[str, ...]:
    """The supervisor's own command line."""
    return (
        *PYTHON, "yunhe.launcher", "--home", str(settings.home), "--host", settings.host, "--port", str(settings.port),
        "--workers", str(settings.workers), "--timeout", str(settings.timeout_s), "--report-fd", str(report_fd),
    )  # fmt: skip


def _await_report(stream: IO[bytes], settings: Settings, watch: Watcher) -> Report:
    deadline = time.monotonic() + settings.timeout_s + STOP_SLACK_S
    pending = b""
    while (left_s := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([stream], [], [], left_s)
        piece = stream.read(65_536) if readable else b""
        if not piece:
            break
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] == "ready":
                return Report(**message["report"])
            if message["kind"] == "failed":
                raise _failure(message)
            watch(Progress(message["part"], message["state"], message["detail"]))
    log_path = Home(settings.home).logs / "launcher.log"
    raise StartFailed(
        "the supervisor ended before the instance was ready", log=str(log_path), log_tail=tail(log_path, 20)
    )


def _failure(message: dict[str, Any]) -> LauncherError:
    if message["code"] == AlreadyRunning.code:
        return AlreadyRunning(message["message"], next_step=message["next_step"])
    if message["code"] == StartFailed.code:
        return StartFailed(
            message["message"],
            log=message["log"],
            log_tail=tuple(message["log_tail"]),
            next_step=message["next_step"],
        )
    error = LauncherError(message["message"], next_step=message["next_step"])
    error.code = message["code"]  # type: ignore[misc]
    return error


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_SLACK_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Starter:
    """The process that waits for a detached start, as the supervisor sees it: one JSON object a line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def tell(self, message: dict[str, object]) -> None:
        """Write one line; when the starter has gone, the instance goes on without it."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self.close()

    def watch(self, progress: Progress) -> None:
        """Pass progress on."""
        self.tell({"kind": "progress", "part": progress.part, "state": progress.state, "detail": progress.detail})

    def close(self) -> None:
        """Nothing more to say."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def serve_detached(settings: Settings, report_fd: int) -> int:
    """The detached supervisor's whole life; its exit status. Tells the starter what happens through ``report_fd``."""
    starter = Starter(report_fd)

    def ready(report: Report) -> None:
        starter.tell({"kind": "ready", "report": asdict(report)})
        starter.close()

    try:
        run(settings, starter.watch, ready)
    except YunheError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
        log = {"log": error.log, "log_tail": list(error.log_tail)} if isinstance(error, StartFailed) else {}
        failed = {"kind": "failed", "code": error.code, "message": error.message, "next_step": error.next_step}
        starter.tell({**failed, **log})
        return 1
    return 0
