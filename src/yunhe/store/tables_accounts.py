"""Tables of accounts: organisations, projects, users, memberships, keys, sessions."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table, UniqueConstraint

from yunhe.store.schema import METADATA, key, number, text, whole

organisations = Table("organisations", METADATA, key(), text("name", unique=True), number("created_at"))

projects = Table(
    "projects",
    METADATA,
    key(),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False),
    text("name", unique=True),
    number("created_at"),
    whole("rpm_limit", null=True),
    whole("tpm_limit", null=True),
    text("suspended_reason", null=True),
)

users = Table(
    "users",
    METADATA,
    key(),
    text("name", unique=True),
    text("password_hash"),
    text("roles"),
    number("created_at"),
    Column("disabled", Boolean(create_constraint=False), nullable=False),
)

memberships = Table(
    "memberships",
    METADATA,
    key(),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    text("role"),
    UniqueConstraint("user_id", "project_id"),
    Index(None, "project_id"),
)

api_keys = Table(
    "api_keys",
    METADATA,
    key(),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    text("name"),
    text("prefix", unique=True),
    text("digest"),
    text("scopes"),
    number("created_at"),
    number("expires_at", null=True),
    number("revoked_at", null=True),
    whole("rpm_limit", null=True),
    whole("tpm_limit", null=True),
    text("models", null=True),
    Index(None, "project_id", "id"),
)

sessions = Table(
    "sessions",
    METADATA,
    key(),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    text("prefix", unique=True),
    text("digest"),
    number("created_at"),
    number("expires_at"),
)
