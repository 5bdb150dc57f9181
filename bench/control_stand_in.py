"""A stand-in for control: speaks ``/internal/v1`` to one gateway worker, counts what it is told and throws it away.

``python -m bench.control_stand_in SNAPSHOT_FILE`` prints its port. The snapshot is one revision that never changes;
every lease is granted; usage records are parsed and counted, each request id once. ``GET /counts`` tells the counts.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.snapshot import SnapshotDelta

LEASE_S = 60.0
POLL_MAX_S = 30.0
#: Request ids remembered to tell a repeated record; a replay comes soon after the first delivery or not at all.
REMEMBERED_MAX = 2_000_000


class UsageBatch(msgspec.Struct):
    """Body of POST /internal/v1/usage."""

    worker: str
    records: list[UsageRecord]


class LeaseBatch(msgspec.Struct):
    """Body of POST /internal/v1/leases."""

    worker: str
    asks: list[LeaseAsk]
    release: list[str] = []


class LeaseAnswer(msgspec.Struct):
    """Answer to POST /internal/v1/leases."""

    grants: list[LeaseGrant]


class Counts(msgspec.Struct):
    """What it was told."""

    records: int = 0
    #: Those whose request was sent to a replica.
    sent: int = 0
    duplicates: int = 0
    batches: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    leases: int = 0
    by_outcome: dict[str, int] = {}
    by_source: dict[str, int] = {}


class StandIn:
    """Answers each internal route."""

    def __init__(self, snapshot: SnapshotDelta) -> None:
        self._snapshot = snapshot
        self._seen: set[bytes] = set()
        self.counts = Counts()

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and JSON body of one request."""
        url = urlsplit(target)
        if url.path == "/internal/v1/snapshot":
            return 200, await self._take_snapshot(parse_qs(url.query))
        if url.path == "/internal/v1/usage":
            return 200, self._take_usage(msgspec.json.decode(body, type=UsageBatch))
        if url.path == "/internal/v1/leases":
            return 200, self._grant(msgspec.json.decode(body, type=LeaseBatch))
        if url.path == "/internal/v1/stats":
            return 204, b""
        if url.path == "/counts":
            return 200, msgspec.json.encode(self.counts)
        return 404, b'{"error":"no such path"}'

    async def _take_snapshot(self, query: dict[str, list[str]]) -> bytes:
        since = int(query.get("since", ["-1"])[0])
        if since < self._snapshot.revision:
            return msgspec.json.encode(self._snapshot)
        await asyncio.sleep(min(float(query.get("wait_s", ["0"])[0]), POLL_MAX_S))
        return msgspec.json.encode(SnapshotDelta(self._snapshot.revision, False, time.time()))

    def _take_usage(self, batch: UsageBatch) -> bytes:
        counts, new = self.counts, 0
        for record in batch.records:
            identity = bytes.fromhex(record.request_id.rpartition("_")[2])
            if identity in self._seen:
                continue
            if len(self._seen) < REMEMBERED_MAX:
                self._seen.add(identity)
            new += 1
            counts.sent += record.attempts > 0
            counts.prompt_tokens += record.prompt_tokens
            counts.completion_tokens += record.completion_tokens
            counts.by_outcome[record.outcome] = counts.by_outcome.get(record.outcome, 0) + 1
            counts.by_source[record.token_source] = counts.by_source.get(record.token_source, 0) + 1
        counts.batches += 1
        counts.records += new
        counts.duplicates += len(batch.records) - new
        return msgspec.json.encode({"accepted": new, "duplicates": len(batch.records) - new})

    def _grant(self, batch: LeaseBatch) -> bytes:
        grants = []
        for ask in batch.asks:
            self.counts.leases += 1
            lease_id = f"lease_{self.counts.leases:032x}"
            until = time.time() + LEASE_S
            grants.append(LeaseGrant(ask.project_id, lease_id, ask.want_micro, until, 10**15))
        return msgspec.json.encode(LeaseAnswer(grants))


async def serve(standin: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One keep-alive connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _version = head[0].split(" ", 2)
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            status, text = await standin.answer(method, target, body)
            length = "" if status == 204 else f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            writer.write(f"HTTP/1.1 {status} Answer\r\n{length}\r\n".encode() + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def run(snapshot_file: Path) -> None:
    """Serve until killed."""
    standin = StandIn(msgspec.json.decode(snapshot_file.read_bytes(), type=SnapshotDelta))
    server = await asyncio.start_server(lambda r, w: serve(standin, r, w), "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
