"""An admitted request and its one settlement: credit, limits, load, journal, record, figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from yunhe.gateway import journal, meter
from yunhe.gateway.credit import FREE, HeldLease
from yunhe.gateway.limits import Room
from yunhe.gateway.replica import Replica
from yunhe.gateway.request_body import Call
from yunhe.gateway.routes import Key, Project
from yunhe.gateway.spool import RECORD_BYTES_MAX
from yunhe.ledger import pricing
from yunhe.ledger.usage import Outcome, TokenSource
from yunhe.serve.snapshot import ModelEntry

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

_encode = msgspec.json.Encoder().encode


class Settled(Struct):
    """ledger/usage.py's UsageRecord, field by field: a struct is made ten times faster than a frozen dataclass."""

    request_id: str
    project_id: str
    key_id: str
    model: str
    endpoint: str
    stream: bool
    outcome: Outcome
    http_status: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    token_source: TokenSource
    started_at: float
    duration_s: float
    ttft_s: float | None
    price_id: str | None
    lease_id: str | None
    replica_id: str | None
    deployment_id: str | None
    served_by: str | None
    attempts: int
    worker: str


class Admitted(Struct):
    """A request that passed every check, with what was set aside for it."""

    worker: Worker
    call: Call
    key: Key
    project: Project
    model: ModelEntry
    request_id: str
    #: As sent by the client; shown when it is sane, never used as identity.
    client_request_id: bytes
    started_at: float
    started_s: float
    #: Tokens counted against the limits at admission.
    tokens: int
    room: Room
    #: Micro-credits held from ``lease``.
    hold: int
    lease: HeldLease = FREE
    replica: Replica | None = None
    attempts: int = 0
    ttft_s: float | None = None
    slot: int = -1
    settled: bool = False

    def first_byte(self) -> None:
        """The answer's first byte is about to go out."""
        if self.ttft_s is None:
            self.ttft_s = time.monotonic() - self.started_s

    def open_journal(self, prompt_estimate: int, replica: Replica) -> None:
        """Protect a stream against the worker's death; again when another replica takes over."""
        if self.slot >= 0:
            self.worker.journal.close_slot(self.slot)
        stream = journal.OpenStream(
            msgspec.Raw(_encode(self.record("gateway_crash", 200, meter.NONE))),
            replica.entry.usage_probe,
            prompt_estimate,
        )
        self.slot = self.worker.journal.open(stream)

    def record(self, outcome: Outcome, status: int, tokens: meter.Tokens) -> Settled:
        """The usage record as of now."""
        price = self.model.price
        replica = self.replica.entry if self.replica is not None else None
        ttft_s = self.ttft_s
        return Settled(
            self.request_id,
            self.project.entry.project_id,
            self.key.entry.key_id,
            self.model.name,
            self.call.endpoint,
            self.call.stream,
            outcome,
            status,
            tokens.prompt,
            tokens.cached,
            tokens.completion,
            tokens.source,
            self.started_at,
            time.monotonic() - self.started_s,
            ttft_s,
            None if price is None else price.price_id,
            self.lease.id,
            None if replica is None else replica.replica_id,
            None if replica is None else replica.deployment_id,
            None if replica is None else replica.served_by,
            self.attempts,
            self.worker.name,
        )

    def settle(self, outcome: Outcome, status: int, tokens: meter.Tokens) -> None:
        """Once: write the record, give back what was set aside and not used. Later calls do nothing."""
        if self.settled:
            return
        self.settled = True
        worker = self.worker
        record = self.record(outcome, status, tokens)
        line = _encode(record)
        if len(line) >= RECORD_BYTES_MAX:
            record.served_by = None
            line = _encode(record)
        worker.spool.append(line)
        if self.slot >= 0:
            worker.end_slot(self.slot)
            self.slot = -1
        cost = 0
        price = self.model.price
        if price is not None:
            cost = pricing.cost_micro(
                tokens.prompt, tokens.completion, price.input_micro_per_mtok, price.output_micro_per_mtok
            )
        worker.credit.settle(
            self.lease, self.hold, cost, self.project.entry.project_id, worker.spool.appended, worker.now_s
        )
        worker.limits.correct(self.key.owner, self.project.owner, tokens.prompt + tokens.completion - self.tokens)
        worker.stats.settled(record)
