"""A fake control for gateway workers: snapshots, leases, usage, stats in memory, and anything else echoed.

Money is kept as the real one does: credit less live leases is what may be leased; usage names its lease.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

import msgspec

from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.ledger.pricing import cost_micro
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.snapshot import KeyEntry, ModelEntry, ProjectEntry, ReplicaEntry, SnapshotDelta, WorkerStats
from yunhe.testing.http_server import Request, ScriptedServer, head_bytes, write_json


@dataclass(slots=True)
class FakeLease:
    """A lease as control keeps it."""

    project_id: str
    remaining: int
    live: bool = True


class FakeControl:
    """One control. Change the dictionaries, then call ``publish``."""

    def __init__(self, internal_token: str) -> None:
        self._token = internal_token
        self.revision = 0
        self.keys: dict[str, KeyEntry] = {}
        self.projects: dict[str, ProjectEntry] = {}
        self.models: dict[str, ModelEntry] = {}
        self.replicas: dict[str, ReplicaEntry] = {}
        #: request id -> record, each once
        self.usage: dict[str, UsageRecord] = {}
        self.duplicates = 0
        self.credit: dict[str, int] = {}
        self.leases: dict[str, FakeLease] = {}
        self.lease_s = 300.0
        self.stats: list[WorkerStats] = []
        #: Answer usage batches with this status instead of storing them.
        self.usage_status = 0
        #: Leases and snapshots are answered only while set.
        self.answering = asyncio.Event()
        self.answering.set()
        self.relayed: list[Request] = []
        self._changed = asyncio.Condition()
        self._server = ScriptedServer(self._handle)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @property
    def port(self) -> int:
        """Its port."""
        return self._server.port

    async def start(self, port: int = 0) -> None:
        """Listen."""
        await self._server.start(port)

    async def stop(self) -> None:
        """Cut everything off, as a killed process would."""
        await self._server.stop()

    async def publish(self) -> None:
        """Tell the workers that something changed."""
        async with self._changed:
            self.revision += 1
            self._changed.notify_all()

    def snapshot(self) -> SnapshotDelta:
        """Everything."""
        projects = tuple(replace(p, available_micro=self.available(p.project_id)) for p in self.projects.values())
        return SnapshotDelta(
            self.revision,
            True,
            time.time(),
            tuple(self.keys.values()),
            projects,
            tuple(self.models.values()),
            tuple(self.replicas.values()),
        )

    def available(self, project_id: str) -> int:
        """Credit that nobody holds."""
        held = sum(lease.remaining for lease in self.leases.values() if lease.live and lease.project_id == project_id)
        return self.credit.get(project_id, 0) - held

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if not request.path.startswith("/internal/"):
            return self._echo(request, writer)
        if request.headers.get("authorization") != f"Bearer {self._token}":
            write_json(writer, 401, {"error": {"code": "not_signed_in"}})
            return True
        await self.answering.wait()
        if request.path == "/internal/v1/snapshot":
            await self._poll(request, writer)
        elif request.path == "/internal/v1/usage":
            self._take_usage(request.json(), writer)
        elif request.path == "/internal/v1/leases":
            self._lease(request.json(), writer)
        else:
            self.stats.append(msgspec.json.decode(request.body, type=WorkerStats))
            writer.write(head_bytes(204, {}))
        return True

    def _echo(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.relayed.append(request)
        if request.path == "/stream":
            writer.write(head_bytes(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
            for n in range(3):
                writer.write(b"9\r\ndata: %d\n\n\r\n" % n)
            writer.write(b"0\r\n\r\n")
        elif request.path == "/cookies":
            writer.write(b"HTTP/1.1 204 No Content\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n")
        else:
            answer = {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "headers": request.headers,
                "size": len(request.body),
            }
            body = msgspec.json.encode(answer)
            head = head_bytes(200, {"content-type": "application/json", "content-length": str(len(body))})
            writer.write(head if request.method == "HEAD" else head + body)
        return True

    async def _poll(self, request: Request, writer: asyncio.StreamWriter) -> None:
        query = parse_qs(request.query)
        since, wait_s = int(query["since"][0]), float(query["wait_s"][0])
        async with self._changed:
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait_for(lambda: self.revision != since)
            except TimeoutError:
                write_json(writer, 200, SnapshotDelta(self.revision, False, time.time()))
                return
        write_json(writer, 200, self.snapshot())

    def _take_usage(self, batch: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self.usage_status:
            write_json(writer, self.usage_status, {"error": {"code": "scripted"}})
            return
        accepted = duplicates = 0
        for record in msgspec.convert(batch["records"], list[UsageRecord]):
            if record.request_id in self.usage:
                duplicates += 1
                continue
            accepted += 1
            self.usage[record.request_id] = record
            self._charge(record)
        self.duplicates += duplicates
        write_json(writer, 200, {"accepted": accepted, "duplicates": duplicates})

    def _charge(self, record: UsageRecord) -> None:
        model = self.models.get(record.model)
        if model is None or model.price is None:
            return
        price = model.price
        cost = cost_micro(
            record.prompt_tokens, record.completion_tokens, price.input_micro_per_mtok, price.output_micro_per_mtok
        )
        self.credit[record.project_id] = self.credit.get(record.project_id, 0) - cost
        lease = self.leases.get(record.lease_id or "")
        if lease is not None:
            lease.remaining = max(0, lease.remaining - cost)

    def _lease(self, batch: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        for lease_id in batch["release"]:
            if lease_id in self.leases:
                self.leases[lease_id].live = False
        grants = []
        for ask in msgspec.convert(batch["asks"], list[LeaseAsk]):
            if ask.lease_id in self.leases:
                self.leases[ask.lease_id].live = False
            available = self.available(ask.project_id)
            granted = min(ask.want_micro, available) if available >= max(1, ask.need_micro) else 0
            balance = self.credit.get(ask.project_id, 0)
            if granted <= 0:
                grants.append(LeaseGrant(ask.project_id, None, 0, 0.0, balance, "the project has no credit left"))
                continue
            lease_id = f"lease_{len(self.leases)}"
            self.leases[lease_id] = FakeLease(ask.project_id, granted)
            grants.append(LeaseGrant(ask.project_id, lease_id, granted, time.time() + self.lease_s, balance))
        write_json(writer, 200, {"grants": grants})
