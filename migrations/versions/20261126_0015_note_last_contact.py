"""Store in each conversation when the person was last contacted and when the person last wrote.

Without these times, a segment over a million contacts would have to read all messages.
`last_outgoing_at` is the time of the last message that the provider accepted, or of the last call
to the person. `last_incoming_at` is the time of the last message from the person.

When the provider accepts a message, its conversation is updated a second time. `fillfactor` leaves
free space in the pages of the table, so this update writes no index.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0015"
down_revision: str | None = "20261126_0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)

FILL = """
UPDATE conversation k SET last_outgoing_at = said.outgoing_at, last_incoming_at = said.incoming_at
FROM (
    SELECT conversation_id,
           max(occurred_at) FILTER (WHERE direction = 'outgoing' AND (
               kind = 'call' OR openphone_id IS NOT NULL OR status IN ('sent', 'delivered')))
               AS outgoing_at,
           max(occurred_at) FILTER (WHERE direction = 'incoming' AND kind = 'message')
               AS incoming_at
    FROM activity WHERE conversation_id IS NOT NULL GROUP BY conversation_id
) said
WHERE k.id = said.conversation_id
"""


def upgrade() -> None:
    op.add_column("conversation", sa.Column("last_outgoing_at", INSTANT, nullable=True))
    op.add_column("conversation", sa.Column("last_incoming_at", INSTANT, nullable=True))
    op.execute("ALTER TABLE conversation SET (fillfactor = 70)")
    op.execute(FILL)


def downgrade() -> None:
    op.execute("ALTER TABLE conversation RESET (fillfactor)")
    op.drop_column("conversation", "last_incoming_at")
    op.drop_column("conversation", "last_outgoing_at")
