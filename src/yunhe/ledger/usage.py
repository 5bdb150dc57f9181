"""The usage record: what one request used. Written once by the gateway, priced once by the ledger.

This is also the wire and spool form (JSON, one object a line): field names are stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "client_disconnected", "upstream_error", "timeout", "gateway_crash", "refused"]

#: Where the token counts come from: the engine's final usage, its last cumulative count before an interruption,
#: the delivered events counted by the gateway, or none was delivered.
TokenSource = Literal["engine", "engine_partial", "delivered", "none"]


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One request's usage. ``request_id`` is the idempotency key of everything that follows from it."""

    request_id: str
    project_id: str
    key_id: str
    model: str
    #: chat.completions, completions or embeddings
    endpoint: str
    stream: bool
    outcome: Outcome
    http_status: int
    prompt_tokens: int
    #: Part of prompt_tokens that the engine took from its cache.
    cached_tokens: int
    completion_tokens: int
    token_source: TokenSource
    #: Unix seconds of admission.
    started_at: float
    duration_s: float
    #: Admission to the first byte of the answer's body; None when there was none.
    ttft_s: float | None
    #: Price in force at admission; None where the model has no price (cost 0).
    price_id: str | None
    #: Credit lease that the hold was taken from.
    lease_id: str | None
    replica_id: str | None
    deployment_id: str | None
    #: "centre; chip; engine; recipe", as in the response header.
    served_by: str | None
    #: Replicas tried, the one that answered included; failed attempts cost nothing.
    attempts: int
    #: Which gateway worker settled it.
    worker: str
