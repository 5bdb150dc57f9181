"""Real gateway worker processes between a fake control and fake engines, in a data directory of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from yunhe.accounts import keys
from yunhe.core.home import Home
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.snapshot import KeyEntry, ModelEntry, PriceEntry, ProjectEntry, ReplicaEntry
from yunhe.testing.fake_control import FakeControl
from yunhe.testing.fake_engine import PROBE, FakeEngine
from yunhe.testing.http_client import fetch

PRICE = PriceEntry("price_1", 1_000_000, 2_000_000)
#: One micro-credit an input token, two an output token.
PROJECT = "proj_1"
MODEL = "fake-model"


class WorkerProcess:
    """One worker."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


class GatewayInstance:
    """Made ready with one project, one key and one model; the rest is up to the test."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.home.make()
        self._pepper = os.urandom(32)
        token = os.urandom(32).hex()
        (self.home.secrets / "pepper").write_text(self._pepper.hex())
        (self.home.secrets / "internal_token").write_text(token)
        self.control = FakeControl(token)
        self.engines: list[FakeEngine] = []
        self.workers: list[WorkerProcess] = []
        self.control.projects[PROJECT] = ProjectEntry(PROJECT, "default", None, None, None, 0)
        self.control.credit[PROJECT] = 1_000_000_000
        self.add_model(MODEL)
        self.key = self.add_key()

    def add_model(
        self, name: str, *, context: int = 2048, capabilities: tuple[str, ...] = ("chat", "completions"),
        price: PriceEntry | None = PRICE,
    ) -> None:  # fmt: skip
        """A model of the catalogue."""
        self.control.models[name] = ModelEntry(name, 1_790_000_000, "yunhe", context, capabilities, price)

    def add_key(
        self, *, scopes: tuple[str, ...] = ("inference", "read"), expires_at: float | None = None,
        rpm: int | None = None, tpm: int | None = None, models: tuple[str, ...] | None = None, project: str = PROJECT,
    ) -> str:  # fmt: skip
        """A key; its text."""
        text, prefix = keys.make_text("yh", os.urandom(40))
        self.control.keys[prefix] = KeyEntry(
            prefix, f"key_{prefix}", keys.digest(self._pepper, text), project, scopes, expires_at, rpm, tpm, models
        )
        return text

    def add_replica(
        self, engine: FakeEngine | str, *, name: str = "", model: str = MODEL, upstream: str | None = None,
        tokens_per_s: float = 100.0, state: str = "ready", share: float | None = None,
    ) -> str:  # fmt: skip
        """A replica at an engine (or a URL); its id."""
        replica_id = name or f"rep_{len(self.control.replicas)}"
        url = engine if isinstance(engine, str) else engine.url
        self.control.replicas[replica_id] = ReplicaEntry(
            replica_id, "dep_1", model, url, upstream or model, None, state, 8, tokens_per_s,
            f"local; cpu; fake; {replica_id}", PROBE, share,
        )  # fmt: skip
        return replica_id

    async def start_engine(self, engine: FakeEngine | None = None) -> FakeEngine:
        """A started engine, fresh unless given."""
        engine = engine or FakeEngine(model=MODEL)
        await engine.start()
        self.engines.append(engine)
        return engine

    async def start(self, *settings: str, workers: int = 1) -> WorkerProcess:
        """Control, one engine with one replica when there is none yet, and the workers; the first one."""
        if not self.control.port:
            await self.control.start()
        if not self.control.replicas:
            self.add_replica(await self.start_engine())
        await self.control.publish()
        first = await self.start_worker(*settings, workers=workers)
        for number in range(1, workers):
            await self.start_worker(*settings, number=number, workers=workers, port=first.port)
        return first

    async def start_worker(
        self, *settings: str, number: int = 0, workers: int = 1, port: int = 0, routed: bool = True,
        environment: dict[str, str] | None = None, prefix: tuple[str, ...] = (),
    ) -> WorkerProcess:  # fmt: skip
        """A worker that accepts and (``routed``) knows a snapshot."""
        log = self.home.logs / f"gateway-{number}.log"
        run_file = self.home.run / f"gateway-{number}.json"
        run_file.unlink(missing_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *prefix, sys.executable, "-m", "yunhe.gateway", "--home", str(self.home.root),
                "--worker", str(number), "--workers", str(workers), "--port", str(port),
                "--control-url", f"http://127.0.0.1:{self.control.port}",
                *(part for setting in settings for part in ("--set", setting)),
                stdout=output, stderr=output, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        await until(lambda: run_file.exists() or process.returncode is not None, f"worker {number} starts")
        if process.returncode is not None:
            raise RuntimeError(f"the worker ended: {log.read_text()}")
        worker = WorkerProcess(process, msgspec.json.decode(run_file.read_bytes())["port"], log)
        self.workers.append(worker)
        if routed:
            await self.wait_health(
                worker, lambda health: isinstance(health["revision"], int) and health["revision"] >= 0
            )
        return worker

    async def wait_health(self, worker: WorkerProcess, good: Callable[[dict[str, Any]], bool]) -> None:
        """Until this very worker's health pleases."""
        end_s = time.monotonic() + 20
        health: dict[str, Any] = {}
        while time.monotonic() < end_s:
            health = (await fetch(worker.port, "GET", "/gateway/health")).json()
            if health["pid"] == worker.process.pid and good(health):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"health stayed {health}\n{worker.log.read_text()}")

    async def usage(self, count: int) -> list[UsageRecord]:
        """Wait until control holds ``count`` records; all of them."""
        await until(lambda: len(self.control.usage) >= count, f"{count} usage records")
        return list(self.control.usage.values())

    async def stop(self) -> None:
        """End everything."""
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.kill()
                await worker.process.wait()
        for engine in self.engines:
            await engine.stop()
        await self.control.stop()


async def until(condition: Callable[[], bool], what: str, *, limit_s: float = 20.0) -> None:
    """Wait for a condition that another process or task makes true. Raises TimeoutError that says what."""
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"waited {limit_s} s in vain: {what}")
        await asyncio.sleep(0.01)
