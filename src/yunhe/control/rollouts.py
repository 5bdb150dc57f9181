"""Roll-outs as people ask for them; the controllers take them further."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from yunhe.adapt.canonical import canonical_bytes, content_id
from yunhe.adapt.signing import Envelope
from yunhe.catalogue.model import ANY, Recipe, SettingValue
from yunhe.control.deployments import check_engine, check_settings, find_lasting
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.hub import CONTROLLER
from yunhe.control.page import Page, page_of
from yunhe.control.recipes import Recipes
from yunhe.control.rollout_pass import carry_out, observe, tell
from yunhe.control.rollout_recipe import promised, serving_recipe, short_name
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.ids import new_id
from yunhe.serve.model import LIVE_STATES, Deployment, Replica
from yunhe.serve.rollout import (
    Figures,
    Guards,
    Policy,
    Rollout,
    RolloutStage,
    aborted,
    next_generation,
    progress,
    promoted,
)
from yunhe.store import models, rollouts, serve
from yunhe.store.database import Tx
from yunhe.store.gateway_entries import certificate_entry


@dataclass(frozen=True, slots=True)
class RecipeAsk:
    """A recipe given as it is, without evidence."""

    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    #: None: the one that the deployment asks for now.
    engine: str | None = None
    #: None: made from its content.
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RolloutAsk:
    """A recipe to roll out, and the conditions. Exactly one of ``recipe``, ``recipe_id`` and ``signed`` is given."""

    recipe: RecipeAsk | None = None
    #: Of a signed recipe that this instance keeps.
    recipe_id: str | None = None
    #: A signed recipe whose signature the caller has checked.
    signed: Envelope | None = None
    share: float = 0.2
    policy: Policy = field(default_factory=Policy)
    #: None: those of the recipe's evidence, or none but for errors.
    guards: Guards | None = None


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A roll-out, and how its replicas fare."""

    rollout: Rollout
    deployment: Deployment
    figures: Figures
    #: Of the deployment's other replicas, since its own were ready.
    others: Figures
    #: What it waits for, or why it ended.
    progress: str


class Rollouts:
    """Roll-outs of all deployments; who may do what is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(self, deployment_id: str, limit: int, after: str | None) -> Page[RolloutView]:
        """A deployment's, newest first. Raises NotFound."""
        async with self._state.db.read() as tx:
            deployment = await _deployment(tx, deployment_id)
            found = await rollouts.list_rollouts(tx, deployment_id, limit + 1, after)
            views = [await self._view(tx, one, deployment) for one in found]
        return page_of(views, limit, lambda view: view.rollout.id)

    async def get(self, deployment_id: str, rollout_id: str) -> RolloutView:
        """One of a deployment's. Raises NotFound."""
        async with self._state.db.read() as tx:
            rollout = await _find(tx, deployment_id, rollout_id)
            return await self._view(tx, rollout, await _deployment(tx, deployment_id))

    async def start(self, deployment_id: str, ask: RolloutAsk) -> RolloutView:
        """Begin with a canary.

        Raises NotFound; Conflict when one is under way already, when the deployment has no replicas, is being deleted
        or runs the very recipe; InvalidRequest for anything else.
        """
        now = self._state.clock.unix_s()
        if ask.recipe_id is not None and ask.recipe is None and ask.signed is None:
            # Its signature and the trust list are asked again: what was accepted once may have been revoked since.
            envelope = await Recipes(self._state).believed(ask.recipe_id)
            ask = replace(ask, recipe_id=None, signed=envelope)
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            deployment = await find_lasting(tx, deployment_id)
            await _check_ready_for_one(tx, deployment)
            own = await serve.replicas_of(tx, deployment_id=deployment_id, ended=True)
            recipe, guards = await _chosen(tx, ask, deployment, own)
            rollout = Rollout(
                id=new_id("roll"),
                deployment_id=deployment.id,
                recipe=recipe,
                recipe_id=recipe.id if ask.recipe is None else None,
                previous=deployment.recipe,
                share=ask.share,
                generation=next_generation(deployment, own),
                stage=RolloutStage.CANARY,
                stage_since=now,
                reason=f"a canary takes {ask.share:.0%} of the requests",
                created_at=now,
                guards=guards,
                policy=ask.policy,
                certificate=None if ask.signed is None else certificate_entry(ask.signed),
            )
            await rollouts.add_rollout(tx, rollout)
            tell(rollout, effects)
            await effects.write(tx)
            view = await self._view(tx, rollout, deployment)
        self._state.hub.wake(CONTROLLER)
        return view

    async def abort(self, deployment_id: str, rollout_id: str) -> RolloutView:
        """Take it back. Raises NotFound, Conflict when it has ended."""
        return await self._end(deployment_id, rollout_id, RolloutStage.ROLLED_BACK)

    async def promote(self, deployment_id: str, rollout_id: str) -> RolloutView:
        """Make the recipe the default now, whatever was seen so far. Raises NotFound, Conflict when it has ended."""
        return await self._end(deployment_id, rollout_id, RolloutStage.DEFAULT)

    async def _end(self, deployment_id: str, rollout_id: str, stage: RolloutStage) -> RolloutView:
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            deployment = await find_lasting(tx, deployment_id)
            before = await _find(tx, deployment_id, rollout_id)
            if not before.open:
                raise Conflict(
                    f"the roll-out has ended: {before.stage}, {before.reason}",
                    next_step="Start another: yunhe rollout start.",
                )
            default = stage is RolloutStage.DEFAULT
            after = promoted(before, "made the default by hand", now) if default else aborted(before, "by hand", now)
            own = await serve.replicas_of(tx, deployment_id=deployment_id)
            deployment, _ = carry_out(before, after, deployment, own, effects)
            await effects.write(tx)
            view = await self._view(tx, after, deployment)
        effects.wake(self._state.hub)
        return view

    async def _view(self, tx: Tx, rollout: Rollout, deployment: Deployment) -> RolloutView:
        own = await serve.replicas_of(tx, deployment_id=deployment.id, ended=True)
        seen = observe(rollout, deployment, own, self._state.stats)
        told = progress(rollout, seen, self._state.clock.unix_s())
        return RolloutView(rollout, deployment, seen.figures, seen.others, told)


async def _check_ready_for_one(tx: Tx, deployment: Deployment) -> None:
    """Whether a roll-out may begin. Raises Conflict, InvalidRequest."""
    if deployment.external is not None:
        raise InvalidRequest(
            "an external server is run by others, so no recipe can be rolled out to it",
            next_step="Roll out to a deployment that an engine of a centre serves.",
        )
    if deployment.id in await rollouts.open_rollouts(tx):
        raise Conflict(
            f"a recipe is being rolled out to {deployment.name!r} already",
            next_step=f"Wait for it, or end it: yunhe rollout abort {deployment.name} (or promote).",
        )
    if deployment.replicas == 0:
        raise Conflict(
            f"{deployment.name!r} has no replicas, so there is nothing to compare a canary with",
            next_step=f"Scale it first: yunhe deployment scale {deployment.name} 1.",
        )


async def _chosen(tx: Tx, ask: RolloutAsk, deployment: Deployment, own: Iterable[Replica]) -> tuple[Recipe, Guards]:
    """The recipe that was asked for, and the bounds that it has to keep. Raises NotFound, InvalidRequest, Conflict."""
    if sum(one is not None for one in (ask.recipe, ask.recipe_id, ask.signed)) != 1:
        rule = "give either recipe_id or recipe"
        raise InvalidRequest(rule, fields=[f"body.recipe: {rule}"])
    if ask.recipe is not None:
        recipe, promises = await _given(tx, ask.recipe, deployment), Guards()
    elif ask.signed is not None:
        recipe, promises = await _signed(tx, ask.signed, deployment, own), promised(ask.signed.recipe)
    else:
        raise NotFound(f"there is no recipe {ask.recipe_id!r}", next_step="List recipes: yunhe recipe list.")
    if (recipe.engine, recipe.settings) == (deployment.recipe.engine, deployment.recipe.settings):
        raise Conflict(
            f"{deployment.name!r} runs on this engine with these settings already",
            next_step="Change a setting, or replace the replicas: yunhe deployment restart.",
        )
    return recipe, ask.guards or promises


async def _given(tx: Tx, ask: RecipeAsk, deployment: Deployment) -> Recipe:
    """A recipe without evidence. Raises InvalidRequest."""
    check_settings(ask.settings)
    await check_engine(tx, ask.engine)
    engine, settings = ask.engine or deployment.recipe.engine, dict(ask.settings)
    name = ask.name or short_name(given_id(deployment.model, engine, settings))
    return Recipe(new_id("recipe"), name, deployment.model, ANY, engine, settings)


async def _signed(tx: Tx, envelope: Envelope, deployment: Deployment, own: Iterable[Replica]) -> Recipe:
    """A signed recipe, for its own chip only. Raises InvalidRequest, Conflict."""
    model = await models.model(tx, deployment.model)
    if model is None:
        raise NotFound(f"there is no model {deployment.model!r}")
    recipe = serving_recipe(envelope, model)
    await check_engine(tx, recipe.engine)
    others = sorted({one.chip for one in own if one.state in LIVE_STATES and one.chip} - {recipe.chip})
    if others:
        raise Conflict(
            f"the recipe is for chip {recipe.chip}, but replicas of {deployment.name!r} run on {', '.join(others)}",
            next_step="Make a deployment of its own for that chip's centre: yunhe deployment create --centre.",
        )
    return recipe


def given_id(model: str, engine: str, settings: Mapping[str, SettingValue]) -> str:
    """A content id of a recipe without evidence: the same for the same model, engine and settings."""
    return content_id(canonical_bytes({"model": model, "engine": engine, "settings": dict(settings)}))


async def _deployment(tx: Tx, deployment_id: str) -> Deployment:
    found = await serve.deployment(tx, deployment_id)
    if found is None:
        raise NotFound(f"there is no deployment {deployment_id!r}", next_step="List them: yunhe deployment list.")
    return found


async def _find(tx: Tx, deployment_id: str, rollout_id: str) -> Rollout:
    found = await rollouts.rollout(tx, rollout_id)
    if found is None or found.deployment_id != deployment_id:
        raise NotFound(
            f"the deployment has no roll-out {rollout_id!r}", next_step="List them: yunhe rollout list DEPLOYMENT."
        )
    return found
