from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.catalogue.model import Recipe
from yunhe.catalogue.ports import UsageProbe
from yunhe.serve.errors import IllegalTransition
from yunhe.serve.model import ENDED_STATES, Replica, ReplicaState
from yunhe.serve.sync import ObservedReplica
from yunhe.serve.transitions import LEGAL, move, observe, vanished

S = ReplicaState
NOW = 1_000.0
PHASES = ["starting", "probing", "ready", "unhealthy", "stopping", "exited"]


def replica(state: ReplicaState) -> Replica:
    recipe = Recipe("recipe_1", "default", "m", "any", "any", {})
    return Replica("rep_1", "dep_1", "m", 1, state, "because", recipe, 900.0, 950.0, centre_id="centre_1")


def test_every_state_has_its_row_and_ended_states_are_final() -> None:
    assert set(LEGAL) == set(ReplicaState)
    assert all(not LEGAL[state] for state in ENDED_STATES)


def test_an_illegal_transition_tells_the_replicas_story() -> None:
    with pytest.raises(IllegalTransition) as caught:
        move(replica(S.STOPPED), S.READY, "wishful thinking", NOW)
    for part in ("rep_1", "dep_1", "stopped", "ready", "because", "wishful thinking", "centre_1"):
        assert part in caught.value.message


def test_a_ready_report_brings_address_speed_and_key() -> None:
    probe = UsageProbe(chunk_key="timings")
    seen = ObservedReplica(
        "rep_1", "ready", "answered", "http://h:1", "up", 8, 120.0, probe, api_key="secret", pid=7, node="n"
    )
    after, change = observe(replica(S.PROBING), seen, NOW)
    assert change is not None
    assert (change.kind, change.reason, change.severity) == ("replica_ready", "answered", "info")
    assert (after.url, after.upstream_model, after.slots, after.tokens_per_s) == ("http://h:1", "up", 8, 120.0)
    assert (after.engine_key, after.pid, after.node, after.usage_probe, after.ready_at) == (
        "secret",
        7,
        "n",
        probe,
        NOW,
    )
    assert "secret" not in repr(after)


def test_an_exit_is_a_failure_unless_the_replica_was_asked_to_leave() -> None:
    seen = ObservedReplica("rep_1", "exited", "killed by signal 9", exit_code=-9)
    failed, change = observe(replica(S.READY), seen, NOW)
    assert change is not None
    assert (failed.state, change.severity) == (S.FAILED, "error")
    stopped, _ = observe(replica(S.STOPPING), seen, NOW)
    assert stopped.state is S.STOPPED


def test_a_draining_replica_is_not_called_ready_again() -> None:
    after, change = observe(replica(S.DRAINING), ObservedReplica("rep_1", "ready", "fine"), NOW)
    assert change is None
    assert after.state is S.DRAINING


def test_a_repeated_report_is_no_change() -> None:
    _, change = observe(replica(S.READY), ObservedReplica("rep_1", "ready", "fine"), NOW)
    assert change is None


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="unknown phase 'dancing'"):
        observe(replica(S.READY), ObservedReplica("rep_1", "dancing", ""), NOW)


def test_a_leaving_replica_that_is_no_longer_reported_has_stopped() -> None:
    change = vanished(replica(S.STOPPING), NOW)
    assert change is not None
    assert change.replica.state is S.STOPPED
    assert vanished(replica(S.STARTING), NOW) is None


@given(st.sampled_from(list(ReplicaState)), st.lists(st.sampled_from(PHASES), max_size=12))
def test_no_sequence_of_reports_is_illegal_or_revives_an_ended_replica(state: ReplicaState, phases: list[str]) -> None:
    one = replica(state)
    for phase in phases:
        ended = one.state in ENDED_STATES
        one, change = observe(one, ObservedReplica("rep_1", phase, "r"), NOW)
        assert not (ended and change)
