"""Health of the parts, and live metrics."""

from __future__ import annotations

from typing import Literal

from yunhe.api.schemas.fields import Output, Time

PartKind = Literal["control", "gateway", "agent", "database", "deployment"]
PartState = Literal["ok", "degraded", "down"]


class Part(Output):
    """One part of the instance and how it fares."""

    name: str
    kind: PartKind
    state: PartState
    detail: str
    next_step: str


class Status(Output):
    """The instance at a glance."""

    version: str
    started_at: Time
    healthy: bool
    parts: list[Part]


class LivePoint(Output):
    """One moment of the series; null where nothing was seen."""

    at: Time
    requests_per_s: float | None
    completion_tokens_per_s: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    in_flight: int | None


class LiveModel(Output):
    """A model's share of the requests."""

    model: str
    requests_per_s: float


class LiveMetrics(Output):
    """What the gateway's workers reported over the window; null where nothing was seen."""

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
