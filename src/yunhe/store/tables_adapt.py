"""Tables of adaptation: orders to centres, their journals, signed recipes and the keys that are believed."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table

from yunhe.store.schema import METADATA, key, number, text, whole

adaptations = Table(
    "adaptations",
    METADATA,
    key(),
    text("project_id", null=True),
    text("model"),
    Column("centre_id", ForeignKey("centres.id"), nullable=False),
    #: The whole record (adapt.adaptation.AdaptationSpec) as JSON.
    text("spec"),
    #: What the centre is told beside it (store.adaptations.Assignment) as JSON; it stays as it was when asked for.
    text("assignment"),
    #: A phase of adapt.adaptation.
    text("state"),
    text("activity"),
    number("used_s"),
    number("created_at"),
    number("state_since"),
    number("finished_at", null=True),
    text("recipe_id", null=True),
    Column("cancel_asked", Boolean(create_constraint=False), nullable=False),
    Index(None, "centre_id", "finished_at"),
    Index(None, "model", "id"),
)

adaptation_entries = Table(
    "adaptation_entries",
    METADATA,
    Column("adaptation_id", ForeignKey("adaptations.id"), primary_key=True),
    #: From 0, without a gap.
    whole("number", primary_key=True, autoincrement=False),
    number("at"),
    #: A line of the journal (adapt.adaptation.Entry), as the centre wrote it.
    text("document"),
)

recipes = Table(
    "recipes",
    METADATA,
    key(),
    text("model"),
    text("chip"),
    text("engine"),
    text("workload"),
    #: Canonical JSON (adapt.signing.Envelope): these very characters were signed.
    text("envelope"),
    text("key_id"),
    text("origin"),
    number("created_at"),
    number("revoked_at", null=True),
    text("revoked_why", null=True),
    Index(None, "created_at"),
    Index(None, "model"),
)

trusted_keys = Table(
    "trusted_keys",
    METADATA,
    key("key_id"),
    text("name"),
    text("public_key"),
    number("valid_from"),
    number("valid_until", null=True),
    number("revoked_at", null=True),
    text("revoked_why", null=True),
    number("added_at"),
)
