"""What the watch process knows of services."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of states, restarts and settings."""
    op.create_table(
        "service_states",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("checking", sa.Boolean(), nullable=False),
        sa.Column("last_check", sa.JSON()),
        sa.Column("known", sa.JSON(), nullable=False),
    )
    op.create_table(
        "service_restarts",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("boot_id", sa.String(36), nullable=False),
        sa.Column("monotonic", sa.Double(), nullable=False),
        sa.Column("by", sa.String(16), nullable=False),
    )
    op.create_index("service_restarts_by_service", "service_restarts", ["service"])
    op.create_table(
        "service_settings",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("auto_restart", sa.Boolean()),
        sa.Column("removed", sa.String(64)),
    )


def downgrade() -> None:
    """A version without the watch process is gone back to with a backup."""
    raise NotImplementedError
