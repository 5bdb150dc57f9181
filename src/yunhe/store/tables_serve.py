"""Tables of the catalogue, of serve, and of what controllers and gateways follow."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table

from yunhe.store.schema import METADATA, key, number, text, whole

models = Table(
    "models",
    METADATA,
    key(),
    text("name", unique=True),
    number("created_at"),
    #: The whole record (catalogue.model.Model) as JSON.
    text("record"),
)

deployments = Table(
    "deployments",
    METADATA,
    key(),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    text("name"),
    text("model"),
    number("created_at"),
    number("deleted_at", null=True),
    #: The whole record (serve.model.Deployment) as JSON.
    text("record"),
    Index(None, "project_id", "name"),
)

replicas = Table(
    "replicas",
    METADATA,
    key(),
    text("deployment_id"),
    text("model"),
    text("state"),
    text("centre_id", null=True),
    number("state_since"),
    #: The whole record (serve.model.Replica) as JSON.
    text("record"),
    Index(None, "deployment_id", "id"),
    Index(None, "centre_id", "state"),
)

rollouts = Table(
    "rollouts",
    METADATA,
    key(),
    text("deployment_id"),
    text("stage"),
    number("created_at"),
    #: The whole record (serve.rollout.Rollout) as JSON.
    text("record"),
    Index(None, "deployment_id", "id"),
    Index(None, "stage"),
)

events = Table(
    "events",
    METADATA,
    key(),
    number("at"),
    text("subject_kind"),
    text("subject_id"),
    text("kind"),
    text("reason"),
    text("severity"),
    Index(None, "subject_id", "id"),
)

counters = Table("counters", METADATA, key("name"), whole("value"))

gateway_changes = Table(
    "gateway_changes",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    text("kind"),
    text("entity"),
)

leaders = Table("leaders", METADATA, key("name"), text("holder"), number("expires_at"))
