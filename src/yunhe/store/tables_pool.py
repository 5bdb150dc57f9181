"""Tables of the pool and of what joins it: centres, agents, tokens, nodes, cards, engines."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Table, UniqueConstraint

from yunhe.store.schema import METADATA, key, number, text, whole

centres = Table(
    "centres",
    METADATA,
    key(),
    text("name", unique=True),
    text("driver"),
    number("created_at"),
    number("last_sync_at", null=True),
    Column("simulated", Boolean(create_constraint=False), nullable=False),
    #: What this centre shall run has changed whenever this grows.
    whole("desired_revision"),
)

agents = Table(
    "agents",
    METADATA,
    key(),
    Column("centre_id", ForeignKey("centres.id"), nullable=False),
    text("prefix", unique=True),
    text("digest"),
    text("host"),
    #: Of the join call, so that repeating it is answered alike.
    text("nonce"),
    number("joined_at"),
    text("boot_id", null=True),
    whole("sequence"),
    text("inventory_boot_id", null=True),
)

join_tokens = Table(
    "join_tokens",
    METADATA,
    key(),
    Column("centre_id", ForeignKey("centres.id"), nullable=False),
    text("prefix", unique=True),
    text("digest"),
    number("created_at"),
    number("expires_at"),
    text("used_by", null=True),
)

nodes = Table(
    "nodes",
    METADATA,
    key(),
    Column("centre_id", ForeignKey("centres.id"), nullable=False),
    text("name"),
    whole("memory_bytes", null=True),
    whole("cpu_cores", null=True),
    text("os"),
    number("seen_at"),
    UniqueConstraint("centre_id", "name"),
)

cards = Table(
    "cards",
    METADATA,
    key(),
    Column("centre_id", ForeignKey("centres.id"), nullable=False),
    text("node"),
    text("uid"),
    text("chip"),
    text("maker"),
    text("health"),
    #: The whole record (pool.model.Card) as JSON.
    text("record"),
    number("seen_at"),
    UniqueConstraint("centre_id", "uid"),
)

centre_engines = Table(
    "centre_engines",
    METADATA,
    Column("centre_id", ForeignKey("centres.id"), primary_key=True),
    key("name"),
    text("version"),
    text("error"),
    whole("rank", server_default="0"),
)
