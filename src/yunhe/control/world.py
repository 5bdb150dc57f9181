"""What one pass of the controllers decides about."""

from __future__ import annotations

from dataclasses import dataclass, field

from yunhe.broker.place import CentreSupply
from yunhe.catalogue.model import Model
from yunhe.control.stats import StatsRing
from yunhe.serve.model import Deployment, Replica
from yunhe.serve.rollout import Rollout


@dataclass(slots=True)
class World:
    """Everything that one pass decides about; deployments, replicas and roll-outs are replaced in it as they change."""

    now: float
    deployments: dict[str, Deployment]
    replicas: dict[str, Replica]
    models: dict[str, Model]
    centres: tuple[CentreSupply, ...]
    #: What gateways saw of replicas.
    stats: StatsRing
    #: By deployment: those under way at the beginning of the pass.
    rollouts: dict[str, Rollout] = field(default_factory=dict)

    def own(self, deployment_id: str) -> list[Replica]:
        """A deployment's replicas."""
        return [replica for replica in self.replicas.values() if replica.deployment_id == deployment_id]
