"""The life of a replica: which state may follow which, and what an agent's observation makes of it.

Every change goes through ``move``, so that each has a reason and an impossible one shows with the replica's story.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from yunhe.serve.errors import IllegalTransition
from yunhe.serve.model import ENDED_STATES, Replica, ReplicaState
from yunhe.serve.sync import ObservedReplica

_S = ReplicaState

#: An agent that restarts, or a host that reboots, may look at a replica afresh: ready -> starting and ready -> probing
#: are therefore legal. Ended states are final: a replacement is a new replica.
LEGAL: Final[Mapping[ReplicaState, frozenset[ReplicaState]]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.STARTING, _S.PROBING, _S.READY, _S.UNHEALTHY, _S.STOPPING, _S.STOPPED, _S.FAILED}),
        _S.STARTING: frozenset({_S.PROBING, _S.READY, _S.UNHEALTHY, _S.STOPPING, _S.STOPPED, _S.FAILED}),
        _S.PROBING: frozenset({_S.STARTING, _S.READY, _S.UNHEALTHY, _S.STOPPING, _S.STOPPED, _S.FAILED}),
        _S.READY: frozenset({_S.STARTING, _S.PROBING, _S.UNHEALTHY, _S.DRAINING, _S.STOPPING, _S.STOPPED, _S.FAILED}),
        _S.UNHEALTHY: frozenset({_S.STARTING, _S.PROBING, _S.READY, _S.DRAINING, _S.STOPPING, _S.STOPPED, _S.FAILED}),
        _S.DRAINING: frozenset({_S.STOPPING, _S.STOPPED}),
        _S.STOPPING: frozenset({_S.STOPPED}),
        _S.STOPPED: frozenset(),
        _S.FAILED: frozenset(),
    }
)

_PHASES: Final[Mapping[str, ReplicaState]] = MappingProxyType(
    {
        "starting": _S.STARTING,
        "probing": _S.PROBING,
        "ready": _S.READY,
        "unhealthy": _S.UNHEALTHY,
        "stopping": _S.STOPPING,
        "exited": _S.FAILED,
    }
)
_LEAVING: Final = frozenset({_S.DRAINING, _S.STOPPING})
_BAD_NEWS: Final = frozenset({_S.UNHEALTHY, _S.FAILED})


@dataclass(frozen=True, slots=True)
class Change:
    """A replica after a change of state, and how its event is called."""

    replica: Replica
    kind: str
    reason: str
    severity: str


def story(replica: Replica) -> str:
    """A replica's story in one line, for errors and logs."""
    place = f"centre {replica.centre_id}, node {replica.node}" if replica.centre_id else "no centre yet"
    return (
        f"{replica.id} of {replica.deployment_id} (model {replica.model}, generation {replica.generation}, {place}): "
        f"{replica.state} since {replica.state_since:.3f} because {replica.reason!r}"
    )


def move(replica: Replica, to: ReplicaState, reason: str, now: float) -> Change:
    """Take the replica to another state. Raises IllegalTransition, with its story, when it cannot go there."""
    if to not in LEGAL[replica.state]:
        raise IllegalTransition(
            f"no way from {replica.state} to {to}: {story(replica)}; asked for because {reason!r}", replica=replica.id
        )
    moved = replace(
        replica,
        state=to,
        reason=reason,
        state_since=now,
        ready_at=now if to is _S.READY else replica.ready_at,
    )
    severity = "error" if to is _S.FAILED else "warning" if to in _BAD_NEWS else "info"
    return Change(moved, f"replica_{to.value}", reason, severity)


def observe(replica: Replica, seen: ObservedReplica, now: float) -> tuple[Replica, Change | None]:
    """The replica after an agent's report of it, and the change when its state changed.

    Facts (address, pid, speed) are taken over in any case. Reports about an ended replica change nothing: the agent
    stops it because it is no longer desired. A draining replica stays so until it stops or exits. Raises
    IllegalTransition for a phase that is not in the protocol.
    """
    if replica.state in ENDED_STATES:
        return replica, None
    to = _PHASES.get(seen.phase)
    if to is None:
        raise IllegalTransition(f"unknown phase {seen.phase!r}: {story(replica)}", replica=replica.id)
    known = replace(
        replica,
        url=seen.url or replica.url,
        upstream_model=seen.upstream_model or replica.upstream_model,
        slots=seen.slots,
        tokens_per_s=seen.tokens_per_s if seen.tokens_per_s is not None else replica.tokens_per_s,
        pid=seen.pid,
        node=seen.node or replica.node,
        engine_key=seen.api_key if seen.api_key is not None else replica.engine_key,
        usage_probe=seen.usage_probe,
    )
    if replica.state in _LEAVING:
        if seen.phase != "exited":
            return known, None
        to = _S.STOPPED
    if to is replica.state:
        return known, None
    change = move(known, to, seen.reason or _plain_reason(to, seen), now)
    return change.replica, change


def vanished(replica: Replica, now: float) -> Change | None:
    """The change when an agent that knows all that is desired no longer reports a replica.

    One that was leaving is gone. Any other is still desired, so the agent will start it again: no change.
    """
    if replica.state not in _LEAVING:
        return None
    return move(replica, _S.STOPPED, "its centre no longer runs it", now)


def _plain_reason(to: ReplicaState, seen: ObservedReplica) -> str:
    if seen.phase == "exited":
        return "its process ended" + (f" with exit code {seen.exit_code}" if seen.exit_code is not None else "")
    return f"its agent says {to.value}"
