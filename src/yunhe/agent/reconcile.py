"""What to do so that what runs meets what is desired. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from yunhe.pool.workload import WorkloadStatus
from yunhe.serve.sync import DesiredReplica

#: For what control no longer names: it has been drained, was never ours, or has failed its known prompt.
UNNAMED_GRACE_S: Final = 5.0
#: Ended workloads whose logs are kept after control has lost interest in them.
ENDED_KEPT: Final = 16
ENDED_PHASES: Final = frozenset({"exited", "lost"})


@dataclass(frozen=True, slots=True)
class Keep:
    """Run this replica: start it, or adopt what runs of it."""

    replica: DesiredReplica


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop its workload, and tell control so when control names it."""

    replica_id: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Settle:
    """It shall not run and nothing of it does: tell control that it has ended."""

    replica: DesiredReplica


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing of it runs and control names it no more: do not report it any longer."""

    replica_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove the ended workload with its log."""

    replica_id: str


Action = Keep | Stop | Settle | Drop | Forget


def newer(known_revision: int, revision: int) -> bool:
    """Whether an answer is to be taken: never an older one than what is known, whatever order answers arrive in."""
    return revision >= known_revision


def decide(
    desired: Iterable[DesiredReplica], reported: Mapping[str, str], workloads: Sequence[WorkloadStatus]
) -> list[Action]:
    """Actions over replicas: ``reported`` is id -> phase that control is told, ``workloads`` what the centre says.

    Repeated with the same arguments it gives the same actions, each of which is idempotent; once they have had their
    effect it gives none.
    """
    wanted = {replica.replica_id: replica for replica in desired}
    running = {status.id for status in workloads if status.phase not in ENDED_PHASES}
    actions: list[Action] = []
    for replica_id, replica in sorted(wanted.items()):
        phase = reported.get(replica_id)
        if replica.run and phase is None:
            actions.append(Keep(replica))
        elif replica_id in running and (not replica.run or phase == "exited"):
            actions.append(Stop(replica_id, replica.grace_s if not replica.run else UNNAMED_GRACE_S))
        elif not replica.run and phase != "exited":
            actions.append(Settle(replica))
    actions += (Stop(replica_id, UNNAMED_GRACE_S) for replica_id in sorted(running - wanted.keys()))
    actions += (Drop(replica_id) for replica_id in sorted(reported.keys() - wanted.keys() - running))
    return actions + surplus(workloads, wanted.keys())


def surplus(workloads: Sequence[WorkloadStatus], wanted: Iterable[str]) -> list[Action]:
    """Ended workloads beyond the newest few that nobody names."""
    named = set(wanted)
    ended = [status for status in workloads if status.phase in ENDED_PHASES and status.id not in named]
    newest_first = sorted(ended, key=lambda status: (status.started_at or 0.0, status.id), reverse=True)
    return [Forget(status.id) for status in newest_first[ENDED_KEPT:]]


def restartable(desired: Iterable[DesiredReplica], workloads: Sequence[WorkloadStatus]) -> list[str]:
    """At an agent's start: what shall run but was lost, or has left no trace; whatever it proved before is void."""
    there = {status.id for status in workloads if status.phase != "lost"}
    return sorted(
        replica.replica_id
        for replica in desired
        if replica.run and replica.external is None and replica.replica_id not in there
    )
