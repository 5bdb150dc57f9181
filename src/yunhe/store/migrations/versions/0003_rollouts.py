"""Roll-outs of recipes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_deployment_id_id"), "rollouts", ["deployment_id", "id"], unique=False)
    op.create_index(op.f("ix_rollouts_stage"), "rollouts", ["stage"], unique=False)


def downgrade() -> None:
    op.drop_table("rollouts")
