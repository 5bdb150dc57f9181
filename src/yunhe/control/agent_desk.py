"""Talks with the centres' agents: lets them in, takes what they observe, tells what is desired (serve/sync.py)."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from yunhe.accounts import keys as credentials
from yunhe.catalogue.model import Model
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.hub import CONTROLLER, centre_topic
from yunhe.control.state import ControlState
from yunhe.control.tunings import TuningIntake, orders
from yunhe.core.errors import Forbidden, InvalidRequest, NotSignedIn
from yunhe.core.ids import new_id
from yunhe.serve.errors import IllegalTransition
from yunhe.serve.model import ENDED_STATES, Replica, ReplicaState
from yunhe.serve.reconcile import STOP_GRACE_S
from yunhe.serve.sync import PROTOCOL_VERSION, DesiredReplica, JoinAnswer, JoinRequest, SyncAnswer, SyncRequest
from yunhe.serve.transitions import observe, vanished
from yunhe.store import agents, models, pool, serve
from yunhe.store.agents import Agent
from yunhe.store.database import Tx

#: Longest wait for something new; agents that ask for more get this.
WAIT_MAX_S: Final = 20.0
#: Other control processes' changes are noticed by asking the database so often.
POLL_S: Final = 1.0
#: Earlier boots of agents remembered, so that a late message of one changes nothing.
PAST_BOOTS_MAX: Final = 1024
_LOG: Final = logging.getLogger(__name__)


class AgentDesk:
    """Join and sync."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._past_boots: OrderedDict[tuple[str, str], None] = OrderedDict()
        #: agent id -> the (boot_id, sequence) that waits; an earlier one is answered when a later one comes.
        self._waiting: dict[str, tuple[str, int]] = {}

    async def join(self, ask: JoinRequest) -> JoinAnswer:
        """Let an agent in. The same token and nonce again is the same agent, with a new credential.

        Raises NotSignedIn for a bad, expired or used token.
        """
        _check_protocol(ask.protocol)
        now = self._state.clock.unix_s()
        text, prefix = credentials.make_text("ya", secrets.token_bytes(40))
        digest = credentials.digest(self._state.secrets.pepper, text)
        effects = Effects(now)
        async with self._state.db.write() as tx:
            token = await self._join_token(tx, ask.token, now)
            known = await agents.agent(tx, token.used_by) if token.used_by else None
            if known is not None:
                if not ask.nonce or not hmac.compare_digest(known.nonce, ask.nonce):
                    raise NotSignedIn("this join token was used already", next_step=_NEW_TOKEN)
                await agents.replace_credential(tx, known.id, prefix, digest)
                agent_id = known.id
            else:
                agent_id = new_id("agent")
                if not await agents.use_join_token(tx, token.id, agent_id):
                    raise NotSignedIn("this join token was used already", next_step=_NEW_TOKEN)
                await agents.add_agent(
                    tx, Agent(agent_id, token.centre_id, prefix, digest, ask.host[:200], ask.nonce[:200], now)
                )
                effects.event(
                    "agent", agent_id, "agent_joined", f"from host {ask.host[:200]}, driver {ask.driver[:50]}"
                )
            centre = await pool.centre(tx, token.centre_id)
            if centre is None:
                raise NotSignedIn("the centre of this join token is gone", next_step=_NEW_TOKEN)
            await effects.write(tx)
        return JoinAnswer(centre.id, centre.name, agent_id, text)

    async def authenticate(self, credential: str) -> Agent:
        """The agent whose token this is. Raises NotSignedIn."""
        prefix = credentials.prefix_of(credential, "ya")
        if prefix is not None:
            async with self._state.db.read() as tx:
                agent = await agents.agent_by_prefix(tx, prefix)
            if agent is not None and credentials.matches(self._state.secrets.pepper, credential, agent.digest):
                return agent
        raise NotSignedIn("this is not the token of an agent", next_step="Join the centre with a new join token.")

    async def sync(self, agent: Agent, ask: SyncRequest) -> SyncAnswer:
        """Take what the agent observes; answer as soon as something new is desired, at the latest after ``wait_s``."""
        _check_protocol(ask.protocol)
        if ask.agent_id != agent.id:
            raise Forbidden("this token belongs to another agent", next_step="Join again with a new join token.")
        self._state.logs.take(agent.centre_id, ask.logs)
        inventory_known, behind = await self._take(agent, ask)
        self._waiting[agent.id] = (ask.boot_id, ask.sequence)
        self._state.hub.wake(centre_topic(agent.centre_id))
        return await self._await_news(agent.centre_id, ask, inventory_known, behind)

    async def _join_token(self, tx: Tx, text: str, now: float) -> agents.JoinToken:
        prefix = credentials.prefix_of(text, "yj")
        token = await agents.join_token_by_prefix(tx, prefix) if prefix is not None else None
        if token is None or not credentials.matches(self._state.secrets.pepper, text, token.digest):
            raise NotSignedIn("this is not a join token", next_step=_NEW_TOKEN)
        if token.expires_at <= now:
            raise NotSignedIn("this join token has expired", next_step=_NEW_TOKEN)
        return token

    async def _take(self, agent: Agent, ask: SyncRequest) -> tuple[bool, bool]:
        """Store what is new in a report.

        Whether the inventory of this boot is stored, and whether more of a journal is than the agent knows.
        """
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            known = await agents.agent(tx, agent.id) or agent
            await pool.touch_centre(tx, agent.centre_id, now)
            if self._is_stale(known, ask):
                return known.inventory_boot_id == ask.boot_id, False
            if known.boot_id not in (None, ask.boot_id):
                self._remember_boot(agent.id, str(known.boot_id))
            await agents.note_sync(tx, agent.id, ask.boot_id, ask.sequence)
            supply_changed = await self._take_supply(tx, known, ask, effects)
            if await pool.raise_desired(tx, agent.centre_id, ask.desired_revision):
                _LOG.warning("the agent of %s knows a newer revision than this database, which was put back", known.id)
            await self._take_replicas(tx, agent.centre_id, ask, effects, now)
            up_to_date = ask.desired_revision >= await pool.desired_revision(tx, agent.centre_id)
            intake = TuningIntake(tx, self._state, agent.centre_id, now, effects)
            behind = await intake.take(ask.tunings, up_to_date=up_to_date)
            await effects.write(tx)
        effects.wake(self._state.hub)
        if supply_changed:
            self._state.hub.wake(CONTROLLER)
        return ask.inventory is not None or known.inventory_boot_id == ask.boot_id, behind

    def _is_stale(self, known: Agent, ask: SyncRequest) -> bool:
        if known.boot_id == ask.boot_id:
            return ask.sequence <= known.sequence
        return (known.id, ask.boot_id) in self._past_boots

    def _remember_boot(self, agent_id: str, boot_id: str) -> None:
        self._past_boots[agent_id, boot_id] = None
        while len(self._past_boots) > PAST_BOOTS_MAX:
            self._past_boots.popitem(last=False)

    async def _take_supply(self, tx: Tx, known: Agent, ask: SyncRequest, effects: Effects) -> bool:
        """Inventory and engines; whether anything of it is new to the controllers."""
        centre = await pool.centre(tx, known.centre_id)
        was_away = centre is None or centre.last_sync_at is None or known.boot_id != ask.boot_id
        engines = (await pool.engines_by_centre(tx)).get(known.centre_id, [])
        engines_changed = sorted(engines, key=lambda one: one.name) != sorted(ask.engines, key=lambda one: one.name)
        if engines_changed:
            await pool.set_engines(tx, known.centre_id, ask.engines)
        if ask.inventory is not None:
            for card in await pool.take_inventory(tx, known.centre_id, ask.inventory):
                effects.event("card", card.uid, "card_missing", card.health_reason, "error")
            await agents.note_inventory(tx, known.id, ask.boot_id)
        return was_away or engines_changed or ask.inventory is not None

    async def _take_replicas(self, tx: Tx, centre_id: str, ask: SyncRequest, effects: Effects, now: float) -> None:
        seen = {one.replica_id: one for one in ask.replicas}
        up_to_date = ask.desired_revision >= await pool.desired_revision(tx, centre_id)
        for replica in await serve.replicas_of(tx, centre_id=centre_id):
            report = seen.get(replica.id)
            try:
                if report is not None:
                    after, change = observe(replica, report, now)
                else:
                    change = vanished(replica, now) if up_to_date else None
                    after = replica
            except IllegalTransition as error:
                _LOG.error("an agent's report was refused: %s", error.message)
                continue
            if change is not None:
                effects.change(change)
            elif after != replica:
                effects.save(after)

    async def _await_news(self, centre_id: str, ask: SyncRequest, inventory_known: bool, behind: bool) -> SyncAnswer:
        """Answer at once when something new is desired, the inventory is needed or a log is asked for; else wait.

        So too when the agent is ``behind``: until it learns what is stored of a journal, it repeats it.
        """
        hub, clock = self._state.hub, self._state.clock
        topic = centre_topic(centre_id)
        deadline = clock.monotonic_s() + min(max(0.0, ask.wait_s), WAIT_MAX_S)
        while True:
            seen = hub.count(topic)
            async with self._state.db.read() as tx:
                revision = await pool.desired_revision(tx, centre_id)
            left_s = deadline - clock.monotonic_s()
            new_for_agent = revision != ask.desired_revision or not inventory_known or behind
            news = new_for_agent or self._state.logs.has_new(centre_id)
            superseded = self._waiting.get(ask.agent_id) != (ask.boot_id, ask.sequence)
            if news or superseded or left_s <= 0 or hub.closed:
                break
            await hub.wait(topic, seen, min(left_s, POLL_S))
        async with self._state.db.read() as tx:
            revision = await pool.desired_revision(tx, centre_id)
            desired = await _desired(tx, centre_id)
            tunings = await orders(tx, centre_id)
        return SyncAnswer(
            desired_revision=revision,
            replicas=desired,
            log_asks=self._state.logs.give(centre_id),
            server_time=clock.unix_s(),
            inventory_known=inventory_known,
            tunings=tunings,
        )


_NEW_TOKEN: Final = "Ask an operator for a new join token (POST /api/v1/centres)."


def _check_protocol(version: int) -> None:
    if version != PROTOCOL_VERSION:
        raise InvalidRequest(
            f"control speaks version {PROTOCOL_VERSION} of the agent protocol, the agent {version}",
            next_step="Install the same release of Yunhe on both machines.",
            fields=["body.protocol: not supported"],
        )


async def _desired(tx: Tx, centre_id: str) -> tuple[DesiredReplica, ...]:
    """Everything that the centre shall run, or shall stop gracefully."""
    replicas = [one for one in await serve.replicas_of(tx, centre_id=centre_id) if one.state not in ENDED_STATES]
    known = {model.name: model for model in await models.all_models(tx)} if replicas else {}
    names: dict[str, str] = {}
    desired = []
    for replica in replicas:
        if replica.deployment_id not in names:
            deployment = await serve.deployment(tx, replica.deployment_id)
            names[replica.deployment_id] = deployment.name if deployment else replica.deployment_id
        desired.append(_desired_replica(replica, names[replica.deployment_id], known))
    return tuple(desired)


def _desired_replica(replica: Replica, deployment: str, known: Mapping[str, Model]) -> DesiredReplica:
    return DesiredReplica(
        replica_id=replica.id,
        deployment=deployment,
        model=known[replica.model],
        recipe=replica.recipe,
        cards=replica.cards,
        external=replica.external,
        run=replica.state is not ReplicaState.STOPPING,
        grace_s=STOP_GRACE_S,
    )
