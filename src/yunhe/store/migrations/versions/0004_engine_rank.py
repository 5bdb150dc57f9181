"""Which engine a deployment gets that leaves it open."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("centre_engines", sa.Column("rank", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("centre_engines", "rank")
