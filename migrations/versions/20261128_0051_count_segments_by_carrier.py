"""Count the segments of accepted messages by carrier.

A segment is a part of a long message. The claim stores the number of segments and the carrier of
the recipient's number in the attempt. The trigger function `count_accepted`, which counts the
accepted messages of each line, also appends the segments to `carrier_tally`. Attempts of the
previous release have neither value. For these, every 67 characters count as one segment of an
unknown carrier.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0051"
down_revision: str | None = "20261128_0050"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTION = """
CREATE OR REPLACE FUNCTION count_accepted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), count(*)
        FROM added WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;{inserted}
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), -count(*)
        FROM removed WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;{deleted}
    ELSE
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), sum(texts)
        FROM (
            SELECT line_id, campaign_id, accepted_at, 1 AS texts FROM added
            WHERE accepted_at IS NOT NULL
            UNION ALL
            SELECT line_id, campaign_id, accepted_at, -1 FROM removed
            WHERE accepted_at IS NOT NULL
        ) change
        GROUP BY 1, 2, 3 HAVING sum(texts) <> 0;{updated}
    END IF;
    RETURN NULL;
END
$$
"""

SEGMENTS = "coalesce(segments, CAST(ceil(length(body) / 67.0) AS integer))"
APPEND = """
        INSERT INTO carrier_tally (carrier, quarter, segments)
        SELECT coalesce(carrier, 'unknown'), date_bin('15 minutes', accepted_at, '2000-01-01Z'),
               {sum}
        FROM {rows} WHERE accepted_at IS NOT NULL GROUP BY 1, 2;"""
INSERTED = APPEND.format(sum=f"sum({SEGMENTS})", rows="added")
DELETED = APPEND.format(sum=f"-sum({SEGMENTS})", rows="removed")
UPDATED = f"""
        INSERT INTO carrier_tally (carrier, quarter, segments)
        SELECT carrier, date_bin('15 minutes', accepted_at, '2000-01-01Z'), sum(segments)
        FROM (
            SELECT coalesce(carrier, 'unknown') AS carrier, accepted_at, {SEGMENTS} AS segments
            FROM added WHERE accepted_at IS NOT NULL
            UNION ALL
            SELECT coalesce(carrier, 'unknown'), accepted_at, -{SEGMENTS}
            FROM removed WHERE accepted_at IS NOT NULL
        ) change
        GROUP BY 1, 2 HAVING sum(segments) <> 0;"""


def upgrade() -> None:
    op.add_column("send_attempt", sa.Column("segments", sa.SmallInteger(), nullable=True))
    op.add_column("send_attempt", sa.Column("carrier", sa.Text(), nullable=True))
    op.create_table(
        "carrier_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("segments", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carrier_tally")),
    )
    op.create_index("idx_carrier_tally_quarter", "carrier_tally", ["quarter"])
    op.execute(FUNCTION.format(inserted=INSERTED, deleted=DELETED, updated=UPDATED))


def downgrade() -> None:
    op.execute(FUNCTION.format(inserted="", deleted="", updated=""))
    op.drop_table("carrier_tally")
    op.drop_column("send_attempt", "carrier")
    op.drop_column("send_attempt", "segments")
