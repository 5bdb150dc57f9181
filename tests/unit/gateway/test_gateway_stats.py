"""The worker's figures by replica."""

from typing import Any

from msgspec.structs import replace

from yunhe.gateway.settlement import Settled
from yunhe.gateway.stats import Stats
from yunhe.serve.snapshot import ReplicaStats, WorkerStats

SETTLED = Settled(
    "req", "proj", "key", "m", "chat.completions", True, "ok", 200, 10, 0, 11, "engine", 0.0, 1.2, 0.2, None, None,
    "rep_a", "dep", "here", 1, "w0",
)  # fmt: skip


def window(stats: Stats) -> WorkerStats:
    return stats.window(worker="w0", pid=1, at=0.0, window_s=1.0, pending=0, revision=1)


def told(*changes: dict[str, Any]) -> dict[str, ReplicaStats]:
    stats = Stats()
    for change in changes:
        stats.settled(replace(SETTLED, **change))
    return window(stats).by_replica


def test_a_stream_tells_its_replicas_speed() -> None:
    assert told({}, {"ttft_s": 0.4, "duration_s": 2.4}) == {"rep_a": ReplicaStats(2, 0, 2, 400.0, 400.0, 200.0, 200.0)}


def test_each_replica_is_told_apart_and_a_request_without_one_is_left_out() -> None:
    seen = told({}, {"replica_id": "rep_b"}, {"replica_id": None})
    assert {name: part.requests for name, part in seen.items()} == {"rep_a": 1, "rep_b": 1}


def test_what_says_nothing_of_the_replicas_speed_is_not_counted_as_speed() -> None:
    for change in ({"stream": False}, {"outcome": "client_disconnected"}, {"attempts": 2}, {"ttft_s": None}):
        assert told(change) == {"rep_a": ReplicaStats(1, 0, 0)}
    assert told({"completion_tokens": 1})["rep_a"].tpot_ms_p50 is None


def test_failures_are_the_replicas_refusals_are_not() -> None:
    seen = told({"outcome": "upstream_error"}, {"outcome": "timeout"}, {"outcome": "refused"})
    assert (seen["rep_a"].requests, seen["rep_a"].errors) == (3, 2)


def test_a_request_that_another_replica_took_over_counts_where_it_failed() -> None:
    stats = Stats()
    stats.failed_over("rep_a")
    stats.settled(replace(SETTLED, replica_id="rep_b", attempts=2))
    seen = window(stats).by_replica
    assert (seen["rep_a"].requests, seen["rep_a"].errors) == (1, 1)
    assert (seen["rep_b"].requests, seen["rep_b"].errors) == (1, 0)


def test_a_window_begins_empty() -> None:
    stats = Stats()
    stats.settled(SETTLED)
    assert window(stats).by_replica
    assert window(stats).by_replica == {}


def test_requests_in_flight_are_told_beside_what_was_settled() -> None:
    stats = Stats()
    stats.settled(replace(SETTLED, stream=False))
    told = stats.window(
        worker="w0", pid=1, at=0.0, window_s=1.0, pending=0, revision=1, in_flight={"rep_a": 3, "rep_b": 1}
    )
    assert told.by_replica == {"rep_a": ReplicaStats(1, in_flight=3), "rep_b": ReplicaStats(in_flight=1)}
