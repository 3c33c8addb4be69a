"""Store in each conversation when the person was last contacted and last replied.

A segment over a million contacts must not read all messages. Our messages count from the provider's
acceptance, calls only if we called the person. Replies are messages from the person.

When an acceptance is recorded, the conversation is written a second time. Its pages have free space
for that, so that no index is written.
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
