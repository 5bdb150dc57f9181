"""Adaptations with their journals, signed recipes, and the keys that are believed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _create_adaptations()
    _create_recipes()


def downgrade() -> None:
    for table in ("trusted_keys", "recipes", "adaptation_entries", "adaptations"):
        op.drop_table(table)


def _create_adaptations() -> None:
    op.create_table(
        "adaptations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("centre_id", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("activity", sa.Text(), nullable=False),
        sa.Column("used_s", sa.Float(precision=53), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("state_since", sa.Float(precision=53), nullable=False),
        sa.Column("finished_at", sa.Float(precision=53), nullable=True),
        sa.Column("recipe_id", sa.Text(), nullable=True),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["centre_id"], ["centres.id"], name=op.f("fk_adaptations_centre_id_centres")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adaptations")),
    )
    op.create_index(
        op.f("ix_adaptations_centre_id_finished_at"), "adaptations", ["centre_id", "finished_at"], unique=False
    )
    op.create_index(op.f("ix_adaptations_model_id"), "adaptations", ["model", "id"], unique=False)
    op.create_table(
        "adaptation_entries",
        sa.Column("adaptation_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adaptation_id"], ["adaptations.id"], name=op.f("fk_adaptation_entries_adaptation_id_adaptations")
        ),
        sa.PrimaryKeyConstraint("adaptation_id", "number", name=op.f("pk_adaptation_entries")),
    )


def _create_recipes() -> None:
    op.create_table(
        "recipes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("chip", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("revoked_at", sa.Float(precision=53), nullable=True),
        sa.Column("revoked_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipes")),
    )
    op.create_index(op.f("ix_recipes_created_at"), "recipes", ["created_at"], unique=False)
    op.create_index(op.f("ix_recipes_model"), "recipes", ["model"], unique=False)
    op.create_table(
        "trusted_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Float(precision=53), nullable=False),
        sa.Column("valid_until", sa.Float(precision=53), nullable=True),
        sa.Column("revoked_at", sa.Float(precision=53), nullable=True),
        sa.Column("revoked_why", sa.Text(), nullable=True),
        sa.Column("added_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_trusted_keys")),
    )
