"""Tables of the ledger. Usage records and transfers are append-only (triggers refuse update and delete)."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Table, UniqueConstraint

from yunhe.store.schema import METADATA, key, number, text, whole

prices = Table(
    "prices",
    METADATA,
    key(),
    text("model"),
    whole("input_micro_per_mtok"),
    whole("output_micro_per_mtok"),
    number("effective_from"),
    Index(None, "model", "effective_from"),
)

usage_records = Table(
    "usage_records",
    METADATA,
    key("request_id"),
    text("project_id"),
    text("key_id"),
    text("model"),
    text("endpoint"),
    Column("stream", Boolean(create_constraint=False), nullable=False),
    text("outcome"),
    whole("http_status"),
    whole("prompt_tokens"),
    whole("cached_tokens"),
    whole("completion_tokens"),
    text("token_source"),
    number("started_at"),
    number("duration_s"),
    number("ttft_s", null=True),
    text("price_id", null=True),
    text("lease_id", null=True),
    text("replica_id", null=True),
    text("deployment_id", null=True),
    text("served_by", null=True),
    whole("attempts"),
    text("worker"),
    whole("cost_micro"),
    number("recorded_at"),
    Index(None, "project_id", "started_at"),
    Index(None, "project_id", "request_id"),
)

#: Each row is an entry of two postings, balanced by its very shape: ``amount_micro`` from one account to another.
transfers = Table(
    "transfers",
    METADATA,
    key(),
    text("kind"),
    text("reference"),
    number("created_at"),
    text("memo"),
    text("from_account"),
    text("to_account"),
    whole("amount_micro"),
    UniqueConstraint("kind", "reference"),
    CheckConstraint("amount_micro > 0", name="amount_positive"),
    CheckConstraint("from_account <> to_account", name="two_accounts"),
    Index(None, "from_account", "id"),
    Index(None, "to_account", "id"),
)

#: Sums of the transfers by account, kept in the same transactions; ``ledger verify`` recomputes them.
balances = Table(
    "balances",
    METADATA,
    key("account"),
    whole("amount_micro"),
    #: The part of it that is credit given (less taken back): the rest is usage.
    whole("credited_micro"),
    #: Available credit that gateways were last told of; means something for projects' accounts only.
    whole("told_micro"),
)

leases = Table(
    "leases",
    METADATA,
    key(),
    text("project_id"),
    text("worker"),
    whole("granted_micro"),
    whole("remaining_micro"),
    number("expires_at"),
    number("released_at", null=True),
    Index(None, "project_id", "released_at"),
    CheckConstraint("remaining_micro >= 0", name="remaining_not_negative"),
)
