"""Drop the primary key of the former places of people.

No statement finds a row of ``insight_person_move`` by its key. The undo of an import appends a row
for each contact, and the key took about a thirtieth of its time.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261201_0128"
down_revision: str | None = "20261201_0127"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE, KEY = "insight_person_move", "pk_insight_person_move"


def upgrade() -> None:
    op.drop_constraint(KEY, TABLE, type_="primary")


def downgrade() -> None:
    op.create_primary_key(KEY, TABLE, ["id"])
