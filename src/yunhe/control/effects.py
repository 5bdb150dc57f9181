"""Carries changes of replicas out: rows, events, revisions for agents and gateways, and the wake-ups after the commit.

Writes are gathered and done in one order (lock, centres, deployments, roll-outs, replicas, events), so that control
processes never wait for each other crosswise.
"""

from __future__ import annotations

from typing import Final

from yunhe.control.hub import CONTROLLER, SNAPSHOT, Hub, centre_topic
from yunhe.core.ids import new_id
from yunhe.serve.model import ENDED_STATES, Deployment, Event, Replica, ReplicaState
from yunhe.serve.rollout import Rollout
from yunhe.serve.transitions import Change
from yunhe.store import changes, pool, rollouts, serve
from yunhe.store.database import Tx

#: A counter whose row every change to deployments and replicas holds until its commit: one at a time, on any database.
SERVE_LOCK: Final = "serve_lock"
REASON_CHARS_MAX: Final = 1000
_LEFT: Final = ENDED_STATES | {ReplicaState.STOPPING}


async def lock_serve(tx: Tx) -> None:
    """Wait until no other transaction changes deployments or replicas; first statement of each that does."""
    await changes.bump(tx, SERVE_LOCK)


class Effects:
    """What one transaction changes. Make it, tell it the changes, ``write`` them, and after the commit ``wake``."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._created: dict[str, Replica] = {}
        self._saved: dict[str, Replica] = {}
        self._centres: set[str] = set()
        self._deployments: dict[str, Deployment] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._events: list[Event] = []
        self._topics: set[str] = set()

    def create(self, replica: Replica, reason: str) -> None:
        """A new replica."""
        self._created[replica.id] = replica
        self.event("replica", replica.id, "replica_created", reason)

    def change(self, change: Change) -> None:
        """A replica's change of state; its agent learns of it when that changes what is desired of it."""
        replica = change.replica
        self.save(replica)
        self.event("replica", replica.id, change.kind, change.reason, change.severity)
        if replica.state in _LEFT and replica.centre_id is not None:
            self.desired(replica.centre_id)

    def save(self, replica: Replica) -> None:
        """New facts of a replica."""
        if replica.id in self._created:
            self._created[replica.id] = replica
        else:
            self._saved[replica.id] = replica

    def deployment(self, deployment: Deployment) -> None:
        """A deployment that is there already, changed."""
        self._deployments[deployment.id] = deployment

    def rollout(self, rollout: Rollout) -> None:
        """A roll-out that is there already, changed."""
        self._rollouts[rollout.id] = rollout

    def desired(self, centre_id: str) -> None:
        """What the centre shall run has changed."""
        self._centres.add(centre_id)

    def event(self, kind_of: str, subject: str, kind: str, reason: str, severity: str = "info") -> None:
        """Something to tell."""
        self._events.append(
            Event(new_id("evt"), self._now, kind_of, subject, kind, reason[:REASON_CHARS_MAX], severity)
        )

    @property
    def any(self) -> bool:
        """Whether there is anything to write."""
        rows = (self._created, self._saved, self._deployments, self._rollouts)
        return any(rows) or bool(self._centres or self._events)

    async def write(self, tx: Tx) -> None:
        """Write everything; the caller holds the serve lock."""
        for centre_id in sorted(self._centres):
            await pool.bump_desired(tx, centre_id)
            self._topics.add(centre_topic(centre_id))
        for deployment in self._deployments.values():
            await serve.save_deployment(tx, deployment)
        for rollout in self._rollouts.values():
            await rollouts.save_rollout(tx, rollout)
        for replica in self._created.values():
            await serve.add_replica(tx, replica)
        for replica in self._saved.values():
            await serve.save_replica(tx, replica)
        await serve.add_events(tx, self._events)
        if self._saved or self._deployments:
            self._topics.add(SNAPSHOT)
        if self._created or self._saved or self._deployments or self._rollouts:
            self._topics.add(CONTROLLER)

    def wake(self, hub: Hub) -> None:
        """Wake whoever waits for what was written; call it after the commit."""
        hub.wake(*self._topics)
