"""Deployments, their replicas, and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment

SettingValue = bool | int | float | str


class RecipeRef(Record):
    """How the model is run."""

    id: str
    name: str
    settings: dict[str, SettingValue]


class ExternalServer(Record):
    """The OpenAI-compatible server behind a deployment. ``tokens_per_s`` None: measured, not declared."""

    base_url: str
    upstream_model: str
    slots: int
    tokens_per_s: float | None


class Deployment(Record):
    """A wanted model service and how it fares: ready, starting, degraded, down, stopped or deleting."""

    id: str
    project_id: str
    name: str
    model: str
    replicas: int
    ready_replicas: int
    state: str
    reason: str
    engine: str
    recipe: RecipeRef
    centre: str | None
    external: ExternalServer | None
    generation: int
    created_at: Time


class Replica(Record):
    """One running copy of a deployment's model."""

    id: str
    deployment_id: str
    deployment: str
    model: str
    generation: int
    state: str
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
    #: Of the model's requests, while it is the canary of a roll-out.
    share: float | None = None


class Log(Record):
    """A piece of a log; ``next_offset`` continues it, ``end`` says that nothing more was there."""

    text: str
    offset: int
    next_offset: int
    end: bool


class Event(Record):
    """A state change with its reason; severity info, warning or error."""

    id: str
    at: Time
    subject_kind: str
    subject_id: str
    kind: str
    reason: str
    severity: str


class Deployments:
    """/deployments. ``deployment`` is an id or a name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, deployment: str) -> Deployment:
        """One deployment. Raises NotFound."""
        return self._transport.one(Deployment, "GET", f"/deployments/{segment(deployment)}")

    def create(
        self,
        model: str,
        *,
        name: str | None = None,
        replicas: int = 1,
        project: str | None = None,
        engine: str | None = None,
        settings: Mapping[str, SettingValue] | None = None,
        centre: str | None = None,
        external: Mapping[str, SettingValue] | None = None,
    ) -> Deployment:
        """Ask for a model service; it comes up later (``state``). ``external`` names a server that runs already:
        base_url and optionally api_key, upstream_model, tokens_per_s, slots. Raises ApiError."""
        body: dict[str, object] = {"model": model, "replicas": replicas}
        optional: dict[str, object] = {
            "name": name,
            "project": project,
            "engine": engine,
            "settings": dict(settings) if settings else None,
            "centre": centre,
            "external": dict(external) if external else None,
        }
        body.update({field: value for field, value in optional.items() if value is not None})
        return self._transport.one(Deployment, "POST", "/deployments", body=body)

    def change(
        self,
        deployment: str,
        *,
        replicas: int | None = None,
        settings: Mapping[str, SettingValue] | None = None,
    ) -> Deployment:
        """Scale, or change settings (which rolls the replicas). Raises ApiError."""
        body: dict[str, object] = {}
        if replicas is not None:
            body["replicas"] = replicas
        if settings is not None:
            body["settings"] = dict(settings)
        return self._transport.one(Deployment, "PATCH", f"/deployments/{segment(deployment)}", body=body)

    def restart(self, deployment: str) -> Deployment:
        """Replace every replica, one after the other, without a gap. Raises ApiError."""
        return self._transport.one(Deployment, "POST", f"/deployments/{segment(deployment)}/restart")

    def delete(self, deployment: str) -> Deployment:
        """Drain its replicas and let it go. Raises NotFound."""
        return self._transport.one(Deployment, "DELETE", f"/deployments/{segment(deployment)}")

    def list(self, project: str | None = None) -> Iterator[Deployment]:
        """The project's deployments. Raises ApiError."""
        return self._transport.pages(Deployment, "/deployments", {"project": project})


class Replicas:
    """/replicas."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def log(self, replica_id: str, *, offset: int | None = None, limit_bytes: int = 65_536) -> Log:
        """A piece of its log; without an offset, the last. Raises Unavailable when the centre is away."""
        path = f"/replicas/{segment(replica_id)}/logs"
        return self._transport.one(Log, "GET", path, params={"offset": offset, "limit_bytes": limit_bytes})

    def list(self, deployment: str | None = None, *, ended: bool = False) -> Iterator[Replica]:
        """Replicas that live; with ``ended`` those that ended too. Raises ApiError."""
        params = {"deployment": deployment, "all": "true" if ended else None}
        return self._transport.pages(Replica, "/replicas", params)


class Events:
    """/events, newest first."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, subject: str | None = None) -> Iterator[Event]:
        """What happened, to one subject (an id) or to all. Raises ApiError."""
        return self._transport.pages(Event, "/events", {"subject": subject})
