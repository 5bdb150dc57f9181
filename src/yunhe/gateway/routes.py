"""What the worker knows of the world: keys, projects, models and the replicas behind each model."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from yunhe.gateway.limits import Owner
from yunhe.gateway.options import Options
from yunhe.gateway.refusal import unavailable
from yunhe.gateway.replica import Replica
from yunhe.serve import routing
from yunhe.serve.snapshot import KeyEntry, ModelEntry, ProjectEntry, ReplicaEntry, SnapshotDelta

log = logging.getLogger(__name__)


class Key:
    """A key ready for checking."""

    __slots__ = ("digest", "entry", "inference", "models", "owner")

    def __init__(self, entry: KeyEntry) -> None:
        """Raises ValueError when the digest is not hexadecimal."""
        self.entry = entry
        self.digest = bytes.fromhex(entry.digest)
        self.inference = "inference" in entry.scopes
        self.models = None if entry.models is None else frozenset(entry.models)
        self.owner = Owner("key", entry.key_id, entry.rpm_limit, entry.tpm_limit)


class Project:
    """A project ready for checking."""

    __slots__ = ("entry", "owner")

    def __init__(self, entry: ProjectEntry) -> None:
        self.entry = entry
        self.owner = Owner("project", entry.project_id, entry.rpm_limit, entry.tpm_limit)


class Split:
    """The canaries of a model, each group with its share of the requests, and the other replicas."""

    __slots__ = ("canaries", "others", "shares")

    def __init__(self, ready: list[Replica]) -> None:
        groups: dict[str, list[Replica]] = {}
        self.others: list[Replica] = []
        for replica in ready:
            if replica.entry.share is None:
                self.others.append(replica)
            else:
                groups.setdefault(replica.entry.deployment_id, []).append(replica)
        self.canaries = list(groups.values())
        self.shares = [max(r.entry.share or 0.0 for r in group) for group in self.canaries]

    def draw(self) -> list[Replica]:
        """The group for one request, by chance."""
        index = routing.choose_group(self.shares, random.random)
        return self.others if index is None else self.canaries[index]


class World:
    """Built from snapshots only. Applying a delta never disturbs running requests."""

    def __init__(self, options: Options, on_credit: Callable[[str], None] = lambda project_id: None) -> None:
        self._options = options
        self._on_credit = on_credit
        self.revision = -1
        #: public prefix -> key
        self.keys: dict[bytes, Key] = {}
        self.projects: dict[str, Project] = {}
        self.models: dict[str, ModelEntry] = {}
        self.replicas: dict[str, Replica] = {}
        #: model -> replicas that may take requests
        self.routes: dict[str, list[Replica]] = {}
        #: model -> how its requests are split while a canary is ready beside others
        self.splits: dict[str, Split] = {}

    def apply(self, delta: SnapshotDelta) -> None:
        """Take over a delta, or everything when it is full."""
        if delta.full:
            self.keys.clear()
            self.projects.clear()
            self.models.clear()
            named = {entry.replica_id for entry in delta.replicas}
            for replica_id in [name for name in self.replicas if name not in named]:
                self.replicas.pop(replica_id).pool.close()
        for key in delta.keys:
            self.keys[key.prefix.encode()] = Key(key)
        for project in delta.projects:
            self.projects[project.project_id] = Project(project)
            if project.available_micro > 0:
                self._on_credit(project.project_id)
        for model in delta.models:
            self.models[model.name] = model
        for entry in delta.replicas:
            self._take_replica(entry)
        for name in delta.removed:
            self._remove(name)
        if delta.replicas or delta.full or any(name.startswith("replica:") for name in delta.removed):
            self._route()
        self.revision = delta.revision

    def _take_replica(self, entry: ReplicaEntry) -> None:
        known = self.replicas.get(entry.replica_id)
        if known is not None and known.entry.url == entry.url:
            known.update(entry)
            return
        try:
            self.replicas[entry.replica_id] = Replica(entry, self._options)
        except ValueError as error:
            log.error("replica %s cannot be reached: %s", entry.replica_id, error)
            return
        if known is not None:
            known.pool.close()

    def _remove(self, name: str) -> None:
        kind, _, identity = name.partition(":")
        if kind == "key":
            self.keys.pop(identity.encode(), None)
        elif kind == "project":
            self.projects.pop(identity, None)
        elif kind == "model":
            self.models.pop(identity, None)
        elif kind == "replica":
            replica = self.replicas.pop(identity, None)
            if replica is not None:
                replica.pool.close()

    def _route(self) -> None:
        routes: dict[str, list[Replica]] = {}
        for replica in self.replicas.values():
            if replica.ready:
                routes.setdefault(replica.entry.model, []).append(replica)
        self.routes = routes
        splits = {
            model: Split(ready) for model, ready in routes.items() if any(r.entry.share is not None for r in ready)
        }
        # Canaries alone take everything, like any replicas.
        self.splits = {model: split for model, split in splits.items() if split.others}

    def choose(self, model: str, weight: int, now_s: float, tried: list[Replica]) -> Replica:
        """The replica for a request, none of ``tried``. Raises Refusal 503."""
        ready = self.routes.get(model)
        if not ready:
            raise unavailable(
                f"No replica of the model `{model}` is ready. Please try again shortly.", "no_ready_replica", 2.0
            )
        full = self._options.replica_requests_max
        split = self.splits.get(model)
        if split is not None:
            free = [
                r for r in split.draw() if r not in tried and r.in_flight < full and routing.allows(r.breaker, now_s)
            ]
            if free:
                return self._take(free, weight, now_s)
        candidates = ready
        for replica in ready:
            if replica.breaker is not routing.CLOSED or replica.in_flight >= full or tried:
                candidates = self._eligible(model, ready, now_s, tried)
                break
        if not candidates:
            raise unavailable(f"The model `{model}` is overloaded. Please try again shortly.", "overloaded")
        return self._take(candidates, weight, now_s)

    def _take(self, candidates: list[Replica], weight: int, now_s: float) -> Replica:
        """The least loaded of these, of which there is at least one."""
        index = routing.choose(candidates, weight, random.random)
        assert index is not None
        chosen = candidates[index]
        if chosen.breaker is not routing.CLOSED:
            chosen.breaker = routing.on_try(chosen.breaker, now_s)
        return chosen

    def _eligible(self, model: str, ready: list[Replica], now_s: float, tried: list[Replica]) -> list[Replica]:
        """Those that may take a request now. Raises Refusal 503 when all are resting or were tried."""
        allowed = [r for r in ready if r not in tried and routing.allows(r.breaker, now_s)]
        if not allowed:
            raise unavailable(
                f"No replica of the model `{model}` answers right now. Please try again shortly.",
                "no_ready_replica",
                max(0.5, min(r.breaker.open_until_s for r in ready) - now_s),
            )
        return [r for r in allowed if r.in_flight < self._options.replica_requests_max]

    def full(self) -> SnapshotDelta:
        """Everything known, for keeping on disk."""
        return SnapshotDelta(
            revision=self.revision,
            full=True,
            server_time=0.0,
            keys=tuple(key.entry for key in self.keys.values()),
            projects=tuple(project.entry for project in self.projects.values()),
            models=tuple(self.models.values()),
            replicas=tuple(replica.entry for replica in self.replicas.values()),
        )
