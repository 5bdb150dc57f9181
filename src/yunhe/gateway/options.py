"""The gateway's bounds: every queue, time and size has one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

from yunhe.core.units import KIB, MIB

#: While control is away a worker may spend this share of the credit that the last snapshot called free, at most
#: ``OFFLINE_MICRO_MAX``, both divided by the number of workers: the bound by which a project may overdraw.
OFFLINE_SHARE: Final = 0.25
OFFLINE_MICRO_MAX: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Bounds of one worker. Durations in seconds."""

    #: Request line and headers together; more is 431.
    head_bytes_max: int = 32 * KIB
    headers_max: int = 128
    #: Body of a /v1 request; more is 413. Relayed paths have no bound here: control sets its own.
    body_bytes_max: int = 10 * MIB
    #: Whole answer of a replica that is not streamed; more is an upstream error.
    answer_bytes_max: int = 32 * MIB
    #: One event of a stream.
    event_bytes_max: int = 1 * MIB
    #: Bytes of further requests held while one is answered; beyond, reading pauses.
    pipelined_bytes_max: int = 64 * KIB
    #: Bytes waiting for a slow reader before the other side is paused.
    write_buffer_bytes: int = 128 * KIB
    connections_max: int = 8192
    #: Requests in flight at one replica from this worker; beyond, it counts as full.
    replica_requests_max: int = 1024
    #: From the first byte of a request to the end of its headers.
    head_timeout_s: float = 10.0
    #: Between two segments of a request's body, and for all of it.
    body_idle_timeout_s: float = 15.0
    body_timeout_s: float = 120.0
    #: A kept-alive connection without a request.
    keepalive_idle_s: float = 75.0
    connect_timeout_s: float = 3.0
    #: Until the replica's first answer byte: long prompts queue and prefill in this time.
    first_byte_timeout_s: float = 300.0
    #: Until a whole (not streamed) answer is there: engines send nothing before it is complete.
    answer_timeout_s: float = 900.0
    #: Between two segments of a running answer.
    stream_idle_timeout_s: float = 120.0
    #: A reader that takes nothing for so long is cut off.
    write_stall_timeout_s: float = 30.0
    #: After a refusal with the body still coming: read and drop this long, so that the refusal can be read.
    linger_s: float = 2.0
    #: An unused connection to a replica is closed before common engines' own five seconds.
    upstream_idle_s: float = 4.0
    #: Replicas tried for one request.
    attempts_max: int = 3
    #: A first lease for a project is waited for this long.
    lease_wait_s: float = 2.0
    drain_s: float = 30.0
    #: Group commit of the spool.
    fsync_interval_s: float = 0.010
    #: A segment of the spool, laid out on disk before it is used.
    segment_bytes: int = 4 * MIB
    #: Below this much free disk (or when no further segment can be laid out) no request is admitted.
    disk_free_bytes_min: int = 16 * MIB
    #: Streams in flight that the journal can hold; further ones are lost to billing if the worker is killed.
    journal_slots: int = 4096
    snapshot_wait_s: float = 20.0
    #: Between looks for directories of workers that died.
    adopt_interval_s: float = 2.0


def with_settings(options: Options, settings: Iterable[str]) -> Options:
    """``NAME=VALUE`` texts laid over options. Raises ValueError for an unknown name or a value of the wrong kind."""
    kinds = {field.name: type(getattr(options, field.name)) for field in fields(options)}
    changes: dict[str, int | float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"no such gateway option: {name!r}; there are {', '.join(sorted(kinds))}")
        changes[name] = kinds[name](value)
    return replace(options, **changes)  # type: ignore[arg-type]
