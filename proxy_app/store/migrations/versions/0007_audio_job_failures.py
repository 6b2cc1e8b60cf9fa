"""How often a service that was at work on an audio job has failed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count from here on."""
    column = sa.Column("failures", sa.Integer(), nullable=False, server_default="0")
    op.add_column("audio_jobs", column)


def downgrade() -> None:
    """A version without it is gone back to with a backup."""
    raise NotImplementedError
