"""Count the minutes in which a scheduled job did not run, and store details of each worker.

The details are the host, the process id, the version, and when the worker stopped.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0040"
down_revision: str | None = "20261126_0039"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
NONE_YET = sa.text("0")


def _job() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("covered_until", INSTANT, nullable=True),
        sa.Column("misses", sa.BigInteger(), server_default=NONE_YET, nullable=False),
        sa.Column("missed_from", INSTANT, nullable=True),
        sa.Column("missed_until", INSTANT, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=NONE_YET, nullable=False),
        sa.Column("failing_since", INSTANT, nullable=True),
    )


def _worker() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("process_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("stopped_at", INSTANT, nullable=True),
    )


def upgrade() -> None:
    for column in _job():
        op.add_column("scheduled_job", column)
    for column in _worker():
        op.add_column("worker_heartbeat", column)


def downgrade() -> None:
    for column in reversed(_worker()):
        op.drop_column("worker_heartbeat", column.name)
    for column in reversed(_job()):
        op.drop_column("scheduled_job", column.name)
