"""How the hosts are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "host_states",
        sa.Column("name", sa.String(253), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("look", sa.JSON()),
        sa.Column("history", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """A version that did not look at hosts is gone back to with a backup."""
    raise NotImplementedError
