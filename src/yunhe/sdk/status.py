"""Health of an instance's parts, and what its gateways measure now."""

from __future__ import annotations

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport


class Part(Record):
    """One part and how it fares: ok, degraded or down."""

    name: str
    kind: str
    state: str
    detail: str
    next_step: str


class Status(Record):
    """The instance at a glance."""

    version: str
    started_at: Time
    healthy: bool
    parts: list[Part]


class LivePoint(Record):
    """One moment of the series; None where nothing was seen."""

    at: Time
    requests_per_s: float | None
    completion_tokens_per_s: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    in_flight: int | None


class LiveModel(Record):
    """A model's share of the requests."""

    model: str
    requests_per_s: float


class LiveMetrics(Record):
    """Measured by the gateway's workers over a window; None where nothing was seen."""

    at: Time
    workers: int
    in_flight: int
    requests_per_s: float | None
    errors_per_s: float | None
    prompt_tokens_per_s: float | None
    completion_tokens_per_s: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    duration_ms_p50: float | None
    duration_ms_p95: float | None
    series: list[LivePoint]
    models: list[LiveModel]


class Instance:
    """GET /status and /metrics/live."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def status(self) -> Status:
        """Health of every part. Raises ApiError."""
        return self._transport.one(Status, "GET", "/status")

    def metrics(self, window_s: float = 300.0) -> LiveMetrics:
        """Live figures over the last ``window_s`` seconds. Raises ApiError."""
        return self._transport.one(LiveMetrics, "GET", "/metrics/live", params={"window_s": window_s})
