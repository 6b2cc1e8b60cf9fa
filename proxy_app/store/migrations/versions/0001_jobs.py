"""Jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACTIVE = "state IN ('queued', 'running', 'canceling')"


def upgrade() -> None:
    """Make the table and what allows one active job."""
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("executor", sa.String(16), nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("target", sa.String(63), nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("preview", sa.Boolean(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("variables", sa.JSON(), nullable=False),
        sa.Column("phases", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("limit_s", sa.Double(), nullable=False),
        sa.Column("rerun_of", sa.String(32)),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sqlite_autoincrement=True,
    )
    _one_active("jobs_one_per_host", "host", lanes="'host'")
    _one_active("jobs_one_per_service", "host", "target", lanes="'host', 'service'")
    _one_active("jobs_one_preview_per_host", "host", lanes="'preview'")
    op.create_index("jobs_by_state", "jobs", ["state"])


def _one_active(name: str, *columns: str, lanes: str) -> None:
    where = sa.text(f"{ACTIVE} AND lane IN ({lanes})")
    op.create_index(
        name, "jobs", list(columns), unique=True, sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    """A version that had no jobs is gone back to with a backup."""
    raise NotImplementedError
