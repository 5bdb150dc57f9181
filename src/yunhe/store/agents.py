"""Agents and the join tokens that let them in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from sqlalchemy import insert, select, update

from yunhe.store.rows import add
from yunhe.store.tables_pool import agents, join_tokens
from yunhe.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that has joined; its token is stored as a digest only."""

    id: str
    centre_id: str
    prefix: str
    digest: str = field(repr=False)
    host: str
    nonce: str = field(repr=False)
    joined_at: float
    boot_id: str | None = None
    #: Of the newest sync that was taken, within ``boot_id``.
    sequence: int = -1
    #: The boot whose inventory is stored.
    inventory_boot_id: str | None = None


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Lets one agent join a centre."""

    id: str
    centre_id: str
    prefix: str
    digest: str = field(repr=False)
    created_at: float
    expires_at: float
    #: Agent id.
    used_by: str | None = None


async def add_join_token(tx: Tx, token: JoinToken) -> None:
    """Store a token's digest."""
    await tx.execute(insert(join_tokens).values(asdict(token)))


async def join_token_by_prefix(tx: Tx, prefix: str) -> JoinToken | None:
    """The token, used or not."""
    row = (await tx.execute(select(join_tokens).where(join_tokens.c.prefix == prefix))).first()
    return JoinToken(**row._mapping) if row else None


async def use_join_token(tx: Tx, token_id: str, agent_id: str) -> bool:
    """Mark it used by this agent; False when another was quicker."""
    where = (join_tokens.c.id == token_id) & join_tokens.c.used_by.is_(None)
    return bool((await tx.execute(update(join_tokens).where(where).values(used_by=agent_id))).rowcount)


async def add_agent(tx: Tx, agent: Agent) -> None:
    """Store a new agent."""
    await add(tx, agents, asdict(agent), "There is an agent with this token already.")


async def agent(tx: Tx, agent_id: str) -> Agent | None:
    """By id."""
    row = (await tx.execute(select(agents).where(agents.c.id == agent_id))).first()
    return Agent(**row._mapping) if row else None


async def agent_by_prefix(tx: Tx, prefix: str) -> Agent | None:
    """By the public part of its token."""
    row = (await tx.execute(select(agents).where(agents.c.prefix == prefix))).first()
    return Agent(**row._mapping) if row else None


async def replace_credential(tx: Tx, agent_id: str, prefix: str, digest: str) -> None:
    """Give an agent a new token; the old one is void."""
    await tx.execute(update(agents).where(agents.c.id == agent_id).values(prefix=prefix, digest=digest))


async def note_sync(tx: Tx, agent_id: str, boot_id: str, sequence: int) -> None:
    """Remember the newest sync that was taken."""
    await tx.execute(update(agents).where(agents.c.id == agent_id).values(boot_id=boot_id, sequence=sequence))


async def note_inventory(tx: Tx, agent_id: str, boot_id: str) -> None:
    """Remember of which boot the stored inventory is."""
    await tx.execute(update(agents).where(agents.c.id == agent_id).values(inventory_boot_id=boot_id))
