"""Deployments as people ask for them: checked, stored, and left to the controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from yunhe.catalogue.errors import NoWeights
from yunhe.catalogue.model import ANY, EXTERNAL_ENGINE, NO_WEIGHTS, ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.names import check_plain_name, plain_name_of
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.hub import CONTROLLER
from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.ids import new_id
from yunhe.serve.condition import condition
from yunhe.serve.model import ENDED_STATES, Deployment, Replica
from yunhe.serve.rollout import is_canary, next_generation
from yunhe.store import models, pool, rollouts, serve
from yunhe.store.database import Tx

REPLICAS_MAX: Final = 64
SETTINGS_MAX: Final = 64
SLOTS_MAX: Final = 4096


class Unset:
    """Says that a field is left as it is, where None is a value."""


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class ExternalAsk:
    """A server that already runs, to become the deployment's replica."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    #: Its name over there; None: the same as here.
    upstream_model: str | None = None
    tokens_per_s: float | None = None
    slots: int = 8


@dataclass(frozen=True, slots=True)
class DeploymentAsk:
    """A wanted model service; None lets Yunhe choose."""

    model: str
    name: str | None = None
    replicas: int = 1
    engine: str | None = None
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    centre: str | None = None
    external: ExternalAsk | None = None


@dataclass(frozen=True, slots=True)
class DeploymentChange:
    """What shall be different; absent parts stay."""

    replicas: int | None = None
    settings: Mapping[str, SettingValue] | None = None
    #: None: the broker chooses.
    centre: str | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment and how it stands."""

    deployment: Deployment
    ready_replicas: int
    state: str
    reason: str
    #: The engine that its replicas run on; ``any`` while none is chosen.
    engine: str


class Deployments:
    """Deployments of all projects; who may do what is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(self, project_id: str | None, limit: int, after: str | None) -> Page[DeploymentView]:
        """Newest first; of one project, or (None) of all."""
        async with self._state.db.read() as tx:
            projects = None if project_id is None else (project_id,)
            found = await serve.list_deployments(tx, limit + 1, after, projects)
            views = [await self._view(tx, deployment) for deployment in found]
        return page_of(views, limit, lambda view: view.deployment.id)

    async def get(self, ref: str, project_id: str | None = None) -> DeploymentView:
        """By id or name. Raises NotFound."""
        async with self._state.db.read() as tx:
            return await self._view(tx, await _find(tx, ref, project_id))

    async def create(self, project_id: str, ask: DeploymentAsk) -> DeploymentView:
        """Raises NotFound for the model, Conflict for the name, InvalidRequest for anything else."""
        name = check_plain_name(ask.name or plain_name_of(ask.model))
        _check_replicas(ask.replicas)
        check_settings(ask.settings)
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            model = await models.model(tx, ask.model)
            if model is None:
                raise NotFound(f"there is no model {ask.model!r}", next_step="List models: yunhe model list.")
            external = _external_server(ask.external, model)
            await check_engine(tx, ask.engine)
            await _check_centre(tx, ask.centre)
            if await _is_taken(tx, name, project_id):
                raise Conflict(f"there is a deployment {name!r} in this project", next_step="Choose another name.")
            engine = ask.engine or (EXTERNAL_ENGINE if external else ANY)
            deployment = Deployment(
                id=new_id("dep"),
                project_id=project_id,
                name=name,
                model=model.name,
                replicas=ask.replicas,
                recipe=Recipe(new_id("recipe"), "default", model.name, ANY, engine, dict(ask.settings)),
                generation=1,
                created_at=now,
                centre=ask.centre,
                external=external,
            )
            await serve.add_deployment(tx, deployment)
            words = f"{ask.replicas} replica(s) of {model.name} wanted"
            effects.event("deployment", deployment.id, "deployment_created", words)
            view = await self._done(tx, effects, deployment)
        self._state.hub.wake(CONTROLLER)
        return view

    async def change(self, deployment_id: str, change: DeploymentChange) -> DeploymentView:
        """Scale at once; roll when settings or centre differ. Raises NotFound, Conflict when it is being deleted."""
        if change.replicas is not None:
            _check_replicas(change.replicas)
        if change.settings is not None:
            check_settings(change.settings)
        effects = Effects(self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            before = await find_lasting(tx, deployment_id)
            after = before
            if change.replicas is not None and change.replicas != before.replicas:
                after = replace(after, replicas=change.replicas)
                words = f"from {before.replicas} to {change.replicas} replicas"
                effects.event("deployment", before.id, "deployment_scaled", words)
            if change.settings is not None and dict(change.settings) != before.recipe.settings:
                # Another recipe: neither the name nor the chip of one that was rolled out speaks for it.
                engine = before.recipe.engine
                recipe = Recipe(new_id("recipe"), "default", before.model, ANY, engine, dict(change.settings))
                after = await _next_generation(
                    tx, replace(after, recipe=recipe), before, "its settings changed", effects
                )
            if not isinstance(change.centre, Unset) and change.centre != before.centre:
                await _check_centre(tx, change.centre)
                words = f"its centre changed to {change.centre or 'any'}"
                after = await _next_generation(tx, replace(after, centre=change.centre), before, words, effects)
            if after != before:
                await serve.save_deployment(tx, after)
            view = await self._done(tx, effects, after)
        self._state.hub.wake(CONTROLLER)
        return view

    async def restart(self, deployment_id: str) -> DeploymentView:
        """Replace its replicas one by one. Raises NotFound, Conflict when it is being deleted."""
        effects = Effects(self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            before = await find_lasting(tx, deployment_id)
            after = await _next_generation(tx, before, before, "a restart was asked for", effects)
            await serve.save_deployment(tx, after)
            view = await self._done(tx, effects, after)
        self._state.hub.wake(CONTROLLER)
        return view

    async def delete(self, deployment_id: str) -> DeploymentView:
        """Drain its replicas; it vanishes with the last. Deleting again changes nothing. Raises NotFound."""
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            deployment = await _find(tx, deployment_id, None)
            if deployment.deleted_at is None:
                deployment = replace(deployment, deleted_at=now)
                await serve.save_deployment(tx, deployment)
                effects.event("deployment", deployment.id, "deployment_deleted", "its replicas drain")
            view = await self._done(tx, effects, deployment)
        self._state.hub.wake(CONTROLLER)
        return view

    async def _done(self, tx: Tx, effects: Effects, deployment: Deployment) -> DeploymentView:
        await effects.write(tx)
        return await self._view(tx, deployment)

    async def _view(self, tx: Tx, deployment: Deployment) -> DeploymentView:
        replicas = await serve.replicas_of(tx, deployment_id=deployment.id, ended=True)
        told = condition(deployment, replicas, self._state.clock.unix_s())
        return DeploymentView(
            deployment, told.ready_replicas, told.state, told.reason, _chosen_engine(deployment, replicas)
        )


async def _next_generation(tx: Tx, after: Deployment, before: Deployment, why: str, effects: Effects) -> Deployment:
    """Replicas of older generations will be replaced; raised once, however many changes come together.

    Raises Conflict while a recipe is rolled out, which would be lost.
    """
    if before.id in await rollouts.open_rollouts(tx):
        raise Conflict(
            f"a recipe is being rolled out to {before.name!r}",
            next_step=f"Wait for it, or end it: yunhe rollout abort {before.name} (or promote).",
        )
    effects.event("deployment", before.id, "deployment_rolls", f"{why}: its replicas are replaced one by one")
    own = await serve.replicas_of(tx, deployment_id=before.id, ended=True)
    return replace(after, generation=next_generation(before, own))


def _chosen_engine(deployment: Deployment, replicas: list[Replica]) -> str:
    plain = [one for one in replicas if one.state not in ENDED_STATES and not is_canary(one)]
    present = [one.recipe.engine for one in plain if one.recipe.engine != ANY]
    return present[-1] if present else deployment.recipe.engine


async def _find(tx: Tx, ref: str, project_id: str | None) -> Deployment:
    found = await serve.deployment(tx, ref, project_id)
    if found is None:
        raise NotFound(f"there is no deployment {ref!r}", next_step="List deployments: yunhe deployment list.")
    return found


async def find_lasting(tx: Tx, deployment_id: str) -> Deployment:
    """The deployment, when it is not being deleted. Raises NotFound, Conflict."""
    found = await _find(tx, deployment_id, None)
    if found.deleted_at is not None:
        raise Conflict(
            f"the deployment {found.name!r} is being deleted",
            next_step="Wait until it is gone, then create it anew; or use another name.",
        )
    return found


async def _is_taken(tx: Tx, name: str, project_id: str) -> bool:
    """Whether a deployment of the project bears the name (or one that is being deleted still does)."""
    found = await serve.deployment(tx, name, project_id)
    return found is not None and found.name == name


async def check_engine(tx: Tx, engine: str | None) -> None:
    """Whether some centre has the engine. Raises InvalidRequest."""
    if engine is None:
        return
    known = {one.name for engines in (await pool.engines_by_centre(tx)).values() for one in engines}
    # Before the first agent has joined nobody knows what there will be.
    if known and engine not in known:
        rule = f"no centre has an engine {engine!r}; there is {', '.join(sorted(known))}"
        raise InvalidRequest(rule, fields=[f"body.engine: {rule}"])


async def _check_centre(tx: Tx, centre: str | None) -> None:
    if centre is None:
        return
    found = await pool.centre(tx, centre)
    if found is None or found.name != centre:
        rule = f"there is no centre named {centre!r}"
        raise InvalidRequest(rule, fields=[f"body.centre: {rule}"], next_step="List centres: GET /api/v1/centres.")


def _check_replicas(count: int) -> None:
    if not 0 <= count <= REPLICAS_MAX:
        rule = f"must be 0 to {REPLICAS_MAX}"
        raise InvalidRequest(f"replicas {rule}", fields=[f"body.replicas: {rule}"])


def check_settings(settings: Mapping[str, SettingValue]) -> None:
    """Whether they are not too many. Raises InvalidRequest."""
    if len(settings) > SETTINGS_MAX:
        rule = f"at most {SETTINGS_MAX} settings"
        raise InvalidRequest(rule, fields=[f"body.settings: {rule}"])


def _external_server(ask: ExternalAsk | None, model: Model) -> ExternalServer | None:
    """The server to attach to. Raises InvalidRequest when its address is none or the model needs one, NoWeights."""
    if ask is None:
        if model.weights.location == EXTERNAL_ENGINE:
            rule = f"{model.name} has no weights here, only external servers hold it: give external.base_url"
            raise InvalidRequest(rule, fields=[f"body.external: {rule}"])
        if model.weights.location == NO_WEIGHTS:
            rule = f"no weights of {model.name} are here: it was added from its config.json alone"
            raise NoWeights(rule, fields=["body.model: one with weights"])
        return None
    url = ask.base_url.rstrip("/").removesuffix("/v1").rstrip("/")
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest or any(char.isspace() for char in rest) or "@" in rest:
        rule = "must be http://HOST[:PORT][/PREFIX] or https://..., without credentials"
        raise InvalidRequest(f"external.base_url {rule}", fields=[f"body.external.base_url: {rule}"])
    if not 1 <= ask.slots <= SLOTS_MAX:
        rule = f"must be 1 to {SLOTS_MAX}"
        raise InvalidRequest(f"external.slots {rule}", fields=[f"body.external.slots: {rule}"])
    if ask.tokens_per_s is not None and not 0 < ask.tokens_per_s < 1e9:
        rule = "must be greater than 0"
        raise InvalidRequest(f"external.tokens_per_s {rule}", fields=[f"body.external.tokens_per_s: {rule}"])
    return ExternalServer(url, ask.api_key, ask.upstream_model or model.name, ask.tokens_per_s, ask.slots)
