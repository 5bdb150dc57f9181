"""Deployments, replicas, logs and events."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from yunhe.api.schemas.fields import Input, ModelName, Output, Reference, Slug, Time
from yunhe.control import deployments
from yunhe.control.deployments import UNSET, DeploymentAsk, DeploymentView, ExternalAsk
from yunhe.control.replicas import ReplicaView
from yunhe.core.clock import utc
from yunhe.serve.model import ReplicaState

REPLICAS_MAX = 64
DeploymentState = Literal["ready", "starting", "degraded", "down", "stopped", "deleting"]
SettingValue = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
    | Annotated[float, Field(strict=True)]
    | Annotated[str, Field(max_length=500)]
)
Settings = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")], SettingValue],
    Field(max_length=64),
]
Replicas = Annotated[int, Field(strict=True, ge=0, le=REPLICAS_MAX)]
Speed = Annotated[float, Field(gt=0, le=1e9)]


class RecipeRef(Output):
    """How the model is run."""

    id: str
    name: str
    settings: dict[str, SettingValue]


class ExternalServer(Output):
    """The OpenAI-compatible server behind a deployment; its key is never shown."""

    base_url: str
    upstream_model: str
    slots: int
    tokens_per_s: float | None = Field(description="Declared speed; null when it is measured.")


class Deployment(Output):
    """A wanted model service and how it fares."""

    id: str
    project_id: str
    name: str
    model: str
    replicas: int = Field(description="Wanted.")
    ready_replicas: int
    state: DeploymentState
    reason: str
    engine: str
    recipe: RecipeRef
    centre: str | None
    external: ExternalServer | None
    generation: int
    created_at: Time

    @classmethod
    def of_view(cls, view: DeploymentView) -> Self:
        """The shape of a deployment with its state."""
        deployment = view.deployment
        return cls.model_validate(
            {
                "id": deployment.id,
                "project_id": deployment.project_id,
                "name": deployment.name,
                "model": deployment.model,
                "replicas": deployment.replicas,
                "ready_replicas": view.ready_replicas,
                "state": view.state,
                "reason": view.reason,
                "engine": view.engine,
                "recipe": RecipeRef.of(deployment.recipe),
                "centre": deployment.centre,
                "external": None if deployment.external is None else ExternalServer.of(deployment.external),
                "generation": deployment.generation,
                "created_at": deployment.created_at,
            }
        )


class NewExternalServer(Input):
    """An OpenAI-compatible server that already runs somewhere."""

    base_url: Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
    api_key: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[\x21-\x7e]+$")] | None = None
    upstream_model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    tokens_per_s: Speed | None = None
    slots: Annotated[int, Field(strict=True, ge=1, le=4096)] = 8


class NewDeployment(Input):
    """A model service to keep running."""

    model: ModelName
    name: Slug | None = None
    replicas: Replicas = 1
    project: Reference | None = None
    engine: Slug | None = None
    settings: Annotated[Settings, Field(default_factory=dict)]
    centre: Slug | None = None
    external: NewExternalServer | None = None

    def ask(self) -> DeploymentAsk:
        """The wish as the service takes it."""
        return DeploymentAsk(
            model=self.model,
            name=self.name,
            replicas=self.replicas,
            engine=self.engine,
            settings=dict(self.settings),
            centre=self.centre,
            external=None if self.external is None else ExternalAsk(**self.external.model_dump()),
        )


class DeploymentChange(Input):
    """What is absent stays as it is; `centre: null` lets the broker choose. Changed settings are rolled out."""

    replicas: Replicas | None = None
    settings: Settings | None = None
    centre: Slug | None = None

    def change(self) -> deployments.DeploymentChange:
        """The change as the service takes it."""
        return deployments.DeploymentChange(
            replicas=self.replicas,
            settings=None if self.settings is None else dict(self.settings),
            centre=self.centre if "centre" in self.model_fields_set else UNSET,
        )


class Replica(Output):
    """One running copy of a deployment's model."""

    id: str
    deployment_id: str
    deployment: str
    model: str
    generation: int
    state: ReplicaState
    reason: str
    state_since: Time
    created_at: Time
    centre: str | None
    node: str | None
    cards: list[str]
    chip: str | None
    engine: str
    recipe: str
    slots: int
    tokens_per_s: float | None
    pid: int | None
    url: str | None
    share: float | None = Field(description="Of the model's requests, while it is the canary of a roll-out.")

    @classmethod
    def of_view(cls, view: ReplicaView) -> Self:
        """The shape of a replica with its deployment and centre."""
        replica = view.replica
        return cls(
            id=replica.id,
            deployment_id=replica.deployment_id,
            deployment=view.deployment,
            model=replica.model,
            generation=replica.generation,
            state=replica.state,
            reason=replica.reason,
            state_since=utc(replica.state_since),
            created_at=utc(replica.created_at),
            centre=view.centre,
            node=replica.node,
            cards=list(replica.cards),
            chip=replica.chip,
            engine=replica.recipe.engine,
            recipe=replica.recipe.name,
            slots=replica.slots,
            tokens_per_s=replica.tokens_per_s,
            pid=replica.pid,
            url=replica.url,
            share=replica.share,
        )


class Log(Output):
    """A piece of a replica's log; `next_offset` continues it, `end` says that nothing more was there."""

    text: str
    offset: int
    next_offset: int
    end: bool


class Event(Output):
    """A state change with its reason."""

    id: str
    at: Time
    subject_kind: str
    subject_id: str
    kind: str
    reason: str
    severity: str
