"""The conversation with control: says what is observed, takes what is desired (docs/agent-protocol.md)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import httpx
import msgspec

from yunhe.agent import files
from yunhe.agent.files import Desired, Identity
from yunhe.agent.reconcile import newer
from yunhe.agent.supervisor import Supervisor
from yunhe.core.ids import uuid7_hex
from yunhe.pool.model import Inventory
from yunhe.serve.sync import EngineInfo, JoinAnswer, JoinRequest, LogAnswer, SyncAnswer, SyncRequest

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
WAIT_S: Final = 25.0
ANSWER_MARGIN_S: Final = 15.0
RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 10.0
#: Changes within this time travel in one sync.
GATHER_S: Final = 0.02


class Refused(Exception):
    """Control knows this agent no more, or its token is not good."""


class Control:
    """Control's two routes for agents."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    async def join(self, request: JoinRequest) -> JoinAnswer:
        """Become the agent of the token's centre. Raises Refused, httpx.HTTPError."""
        return await self._post("/api/v1/agent/join", request, JoinAnswer, "", 30.0)

    async def sync(self, request: SyncRequest, token: str) -> SyncAnswer:
        """One exchange. Raises Refused, httpx.HTTPError."""
        return await self._post("/api/v1/agent/sync", request, SyncAnswer, token, request.wait_s + ANSWER_MARGIN_S)

    async def _post(self, path: str, body: object, kind: type[T], token: str, timeout_s: float) -> T:
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        answer = await self._client.post(
            self._url + path, content=msgspec.json.encode(body), headers=headers, timeout=timeout_s
        )
        if answer.status_code in (401, 403):
            raise Refused(_reason(answer))
        answer.raise_for_status()
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise httpx.DecodingError(f"control answered another protocol: {error}") from error


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"control answered {answer.status_code}"


@dataclass(slots=True)
class _Pending:
    """What the next sync must carry besides observations."""

    inventory_sent: Inventory | None = None
    logs: tuple[LogAnswer, ...] = ()


class SyncLoop:
    """Keeps the conversation going through restarts and absences of control."""

    def __init__(
        self,
        control: Control,
        identity: Identity,
        supervisor: Supervisor,
        engines: tuple[EngineInfo, ...],
        desired_path: Path,
        desired: Desired | None,
    ) -> None:
        self._control = control
        self._identity = identity
        self._supervisor = supervisor
        self._engines = engines
        self._path = desired_path
        self._revision = desired.revision if desired else -1
        self._boot_id = uuid7_hex(time.time_ns() // 1_000_000, random.SystemRandom().randbytes(10))
        self._sequence = 0
        self._pending = _Pending()
        self._retry_s = RETRY_S_MIN

    async def run(self) -> None:
        """Until cancelled, or Refused is raised."""
        wait_s = 0.0
        while True:
            try:
                answer = await self._exchange(wait_s)
            except httpx.HTTPError as error:
                _LOG.info("control does not answer (%s); trying again in %.1f s", type(error).__name__, self._retry_s)
                await asyncio.sleep(self._retry_s * (0.5 + random.random() / 2))
                self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)
                wait_s = 0.0
                continue
            self._retry_s = RETRY_S_MIN
            if answer is not None:
                await self._take(answer)
            wait_s = 0.0 if self._pending.logs else WAIT_S

    async def _exchange(self, wait_s: float) -> SyncAnswer | None:
        """One sync; None when something changed meanwhile and must be said first."""
        self._supervisor.changed.clear()
        self._sequence += 1
        inventory = self._supervisor.inventory
        fresh = inventory is not None and inventory is not self._pending.inventory_sent
        request = SyncRequest(
            agent_id=self._identity.agent_id,
            boot_id=self._boot_id,
            sequence=self._sequence,
            desired_revision=self._revision,
            sent_at=time.time(),
            wait_s=0.0 if fresh else wait_s,
            inventory=inventory if fresh else None,
            replicas=self._supervisor.observed(),
            engines=self._engines,
            logs=self._pending.logs,
        )
        exchange = asyncio.create_task(self._control.sync(request, self._identity.agent_token))
        change = asyncio.create_task(self._supervisor.changed.wait())
        try:
            await asyncio.wait((exchange, change), return_when=asyncio.FIRST_COMPLETED)
            if not exchange.done() and request.wait_s > 0:
                await asyncio.sleep(GATHER_S)
                if not exchange.done():
                    return None
            answer = await exchange
        finally:
            for task in (exchange, change):
                task.cancel()
            await asyncio.gather(exchange, change, return_exceptions=True)
        self._pending.logs = ()
        if fresh:
            self._pending.inventory_sent = inventory
        return answer

    async def _take(self, answer: SyncAnswer) -> None:
        if not answer.inventory_known:
            self._pending.inventory_sent = None
        if newer(self._revision, answer.desired_revision):
            if answer.desired_revision != self._revision:
                files.save(self._path, Desired(answer.desired_revision, answer.replicas))
            self._revision = answer.desired_revision
            self._supervisor.want(answer.replicas)
        if answer.log_asks:
            self._pending.logs = await self._supervisor.answer_logs(answer.log_asks)
