"""Whether an instance that was started can serve: asked from outside, as a user's program would."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from yunhe.catalogue.builtin import DEFAULT_MODEL as DEFAULT_MODEL
from yunhe.core.home import Home
from yunhe.launcher.credentials import read_credentials
from yunhe.launcher.local_http import get_json
from yunhe.launcher.progress import Progress, Watcher
from yunhe.launcher.run_files import gateway_path

TICK_S: Final = 0.1


@dataclass(slots=True)
class Readiness:
    """Asks the parts of one instance again and again until each is ready, and tells ``watch`` what changed."""

    home: Home
    host: str
    port: int
    control_port: int
    workers: int
    watch: Watcher
    #: Unix seconds; what control remembers from before proves nothing.
    started_at: float
    states: dict[str, Progress] = field(default_factory=dict)
    _routed: set[int] = field(default_factory=set)
    _closed: bool = False

    async def wait(self) -> None:
        """Return when the instance is ready; the caller bounds the time."""
        try:
            while not await asyncio.to_thread(self.check):
                await asyncio.sleep(TICK_S)
        finally:
            # A check may still be under way in its thread; what it finds is no longer of interest.
            self._closed = True

    def check(self) -> bool:
        """Ask every part once; True when all are ready."""
        control = self._note(self._control())
        gateway = self._note(self._gateway())
        if not control:
            return False
        # The model's state in control is an old one until the agent has told of this run.
        agent = self._note(self._agent())
        return agent and self._note(self._model()) and gateway

    def missing(self) -> str:
        """What is not ready yet, in words."""
        waiting = [progress for progress in self.states.values() if progress.state != "ready"]
        return "; ".join(f"{progress.part}: {progress.detail or progress.state}" for progress in waiting)

    def _note(self, progress: Progress) -> bool:
        if self.states.get(progress.part) != progress:
            self.states[progress.part] = progress
            if not self._closed:
                self.watch(progress)
        return progress.state == "ready"

    def _control(self) -> Progress:
        try:
            status, _ = get_json("127.0.0.1", self.control_port, "/healthz", timeout_s=0.5)
        except OSError:
            return Progress("control", "starting", "not answering yet")
        if status == 200:
            return Progress("control", "ready", "database is open")
        return Progress("control", "failing", f"health check answers {status}")

    def _gateway(self) -> Progress:
        ready = sum(gateway_path(self.home, worker).exists() for worker in range(self.workers))
        detail = f"{ready} of {self.workers} workers accept"
        return Progress("gateway", "ready" if ready == self.workers else "starting", detail)

    def _agent(self) -> Progress:
        status, centres = self._ask("/api/v1/centres")
        if status in (401, 403):
            # The key for this machine was revoked: the agent's own identity must do.
            joined = (self.home.agent / "identity.json").exists()
            return Progress("agent", "ready" if joined else "starting", "joined" if joined else "joining")
        local = next((centre for centre in centres if centre.get("name") == "local"), None)
        if local is None or local.get("state") != "online" or not self._since_start(local.get("last_sync_at")):
            return Progress("agent", "starting", "joining")
        cards = int(local.get("cards") or 0)
        return Progress("agent", "ready", f"{cards} card{'' if cards == 1 else 's'} in centre local")

    def _model(self) -> Progress:
        status, deployments = self._ask("/api/v1/deployments")
        if status in (401, 403):
            return self._routes(DEFAULT_MODEL, required=False)
        wanted = [
            deployment
            for deployment in deployments
            if deployment.get("model") == DEFAULT_MODEL and int(deployment.get("replicas") or 0) > 0
        ]
        if status != 200:
            return Progress("model", "waiting")
        if not wanted:
            return Progress("model", "ready", "no replica of the default model is wanted")
        if not any(int(deployment.get("ready_replicas") or 0) > 0 for deployment in wanted):
            return Progress("model", "starting", _reason(wanted[0]))
        if not any(self._accepts(str(deployment.get("id"))) for deployment in wanted):
            return Progress("model", "starting", "its replica does not accept connections yet")
        return self._routes(DEFAULT_MODEL, required=True)

    def _accepts(self, deployment_id: str) -> bool:
        """Whether a replica that counts as ready can be connected to."""
        _, replicas = self._ask(f"/api/v1/replicas?deployment={deployment_id}")
        for replica in replicas:
            address = urlsplit(str(replica.get("url") or ""))
            if replica.get("state") == "ready" and address.hostname and address.port:
                try:
                    socket.create_connection((address.hostname, address.port), timeout=1.0).close()
                except OSError:
                    continue
                return True
        return False

    def _since_start(self, moment: object) -> bool:
        try:
            return datetime.fromisoformat(str(moment)).timestamp() >= self.started_at
        except ValueError:
            return False

    def _routes(self, model: str, *, required: bool) -> Progress:
        """Each worker has its own routes; connections land on any of them, so ask until all have answered."""
        for _ in range(8 * self.workers):
            try:
                status, health = get_json(self.host, self.port, "/gateway/health")
            except OSError:
                break
            if status != 200 or not isinstance(health, Mapping):
                break
            models = health.get("models")
            routed = isinstance(models, Mapping) and int(models.get(model) or 0) > 0
            if health.get("control_connected") is True and (routed or not required):
                self._routed.add(int(health.get("worker", 0)))
            if len(self._routed) >= self.workers:
                return Progress("model", "ready", f"{model} answers")
        return Progress(
            "model", "starting", f"{model}: {len(self._routed)} of {self.workers} gateway workers route to it"
        )

    def _ask(self, path: str) -> tuple[int, list[Mapping[str, Any]]]:
        key = read_credentials(self.home).manage_key
        try:
            status, body = get_json("127.0.0.1", self.control_port, path, key=key)
        except OSError:
            return 0, []
        data = body.get("data") if isinstance(body, dict) else None
        return status, data if isinstance(data, list) else []


def _reason(deployment: Mapping[str, Any]) -> str:
    name, state, reason = (str(deployment.get(field) or "") for field in ("name", "state", "reason"))
    return f"{name}: {reason or state}"
