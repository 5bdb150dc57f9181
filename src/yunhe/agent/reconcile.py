"""What to do so that what runs meets what is desired. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from yunhe.serve.sync import DesiredReplica


@dataclass(frozen=True, slots=True)
class Keep:
    """Run this replica: start it, or adopt what runs of it."""

    replica: DesiredReplica


@dataclass(frozen=True, slots=True)
class End:
    """Stop this replica and remember it until control no longer names it."""

    replica_id: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing of it runs and nobody names it: drop its traces."""

    replica_id: str


Action = Keep | End | Forget

#: For what control no longer names at all: it has been drained or was never ours.
UNNAMED_GRACE_S = 5.0


def newer(known_revision: int, revision: int) -> bool:
    """Whether an answer is to be taken: never an older one than what is known, whatever order answers arrive in."""
    return revision >= known_revision


def decide(
    desired: Iterable[DesiredReplica], supervised: Collection[str], running: Collection[str], ended: Collection[str]
) -> list[Action]:
    """Actions over replica ids: ``supervised`` are in the agent's hands, ``running`` and ``ended`` in the centre's.

    Repeating it with the same arguments gives the same actions, and each is idempotent.
    """
    wanted = {replica.replica_id: replica for replica in desired}
    actions: list[Action] = []
    for replica_id, replica in sorted(wanted.items()):
        if replica.run and replica_id not in supervised:
            actions.append(Keep(replica))
        elif not replica.run and replica_id not in ended:
            actions.append(End(replica_id, replica.grace_s))
    unnamed = (set(supervised) | set(running) | set(ended)) - wanted.keys()
    for replica_id in sorted(unnamed):
        if replica_id in running:
            actions.append(End(replica_id, UNNAMED_GRACE_S))
        else:
            actions.append(Forget(replica_id))
    return actions
