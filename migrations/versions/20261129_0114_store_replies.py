"""Store the time to each reply, and the place of the person in stored replies and answers.

Three functions of the job `compute_credits` are important here:

- `copy_replies` stores the replies to first messages of campaigns in `insight_reply`. It processes
  a message 74 hours after it was sent, at the earliest.
- `add_places` stores the place (ZIP, city and source) of the person in each stored reply, and in
  each stored answer of a user (`insight_answer`).
- `update_place_sums` corrects the sums by place when the place of a person changes. A trigger has
  recorded this change in `insight_person_move`. The function deletes the recorded change.

If a message or its reply changes later than 73 hours after the message was sent, row triggers
record the change, so that `copy_replies` stores the reply again. Earlier changes are not recorded,
because the reply is not stored yet.

The place in stored replies and answers must change too. So when a row of `insight_person_move` is
deleted, a new trigger clears the place in the replies and answers of this person. Then `add_places`
stores the new place. A trigger is used because the previous release also has `update_place_sums`,
but does not know the new columns.

This revision only creates the tables and triggers. The job stores the replies after the upgrade,
beginning with the oldest hour.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0114"
down_revision: str | None = "20261129_0113"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOTE_LATE_REPLY = """CREATE OR REPLACE FUNCTION note_late_reply()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_reply_change (membership_id) VALUES (coalesce(NEW.id, OLD.id));
    RETURN NULL;
END
$function$"""
FORGET_PLACES = """CREATE OR REPLACE FUNCTION forget_places()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE insight_answer k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_reply k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    RETURN NULL;
END
$function$"""


def _is_reply(row: str) -> str:
    return (
        f"({row}.step = 0) AND ({row}.replied_at IS NOT NULL) AND "
        f"({row}.status = ANY (ARRAY['sent'::text, 'delivered'::text])) AND "
        f"({row}.sent_at < (now() - '73:00:00'::interval))"
    )


_SENT = "= ANY (ARRAY['sent'::text, 'delivered'::text])"
_DIFFER = " OR ".join(
    f"(old.{one} IS DISTINCT FROM new.{one})"
    for one in ("step", "sent_at", "replied_at", "contact_id")
)
CONDITIONS = {
    "DELETE": f"({_is_reply('old')})",
    "INSERT": f"({_is_reply('new')})",
    "UPDATE": (
        f"((({_is_reply('old')}) OR ({_is_reply('new')})) AND "
        f"({_DIFFER} OR ((old.status {_SENT}) <> (new.status {_SENT}))))"
    ),
}


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    _create_tables()
    op.execute(NOTE_LATE_REPLY)
    for event, condition in CONDITIONS.items():
        op.execute(
            f"CREATE OR REPLACE TRIGGER note_late_reply_on_{event.lower()} AFTER {event} "
            f"ON campaign_membership FOR EACH ROW WHEN ({condition}) "
            "EXECUTE FUNCTION note_late_reply()"
        )
    op.execute(FORGET_PLACES)
    op.execute(
        "CREATE OR REPLACE TRIGGER forget_places AFTER DELETE ON insight_person_move "
        "REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_places()"
    )
    op.execute(
        "CREATE OR REPLACE TRIGGER note_removed_person AFTER DELETE ON contact FOR EACH ROW "
        "WHEN (((old.postal_code IS NOT NULL) OR (old.city IS NOT NULL) OR "
        "(old.source IS NOT NULL))) EXECUTE FUNCTION note_moved_person()"
    )
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON insight_answer {columns}")


INDEXES = {
    "idx_insight_answer_zip": "(zip, waited) INCLUDE (at, conversation_id) WHERE is_placed",
    "idx_insight_answer_contact": "(contact_id)",
    "idx_insight_answer_unplaced": "(id) WHERE NOT is_placed",
}


def _places() -> list[sa.Column[bool] | sa.Column[str]]:
    return [
        sa.Column("is_placed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("zip", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
    ]


def _create_tables() -> None:
    op.create_table(
        "insight_reply",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waited", sa.BigInteger(), nullable=False),
        *_places(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_reply")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_insight_reply_zip",
        "insight_reply",
        ["zip", "waited"],
        postgresql_include=["at", "id"],
        postgresql_where=sa.text("is_placed"),
        if_not_exists=True,
    )
    op.create_index(
        "idx_insight_reply_contact", "insight_reply", ["contact_id"], if_not_exists=True
    )
    op.create_index(
        "idx_insight_reply_unplaced",
        "insight_reply",
        ["id"],
        postgresql_where=sa.text("NOT is_placed"),
        if_not_exists=True,
    )
    op.create_table(
        "insight_reply_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("membership_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_reply_change")),
        if_not_exists=True,
    )
    op.create_table(
        "insight_reply_until",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_insight_reply_until_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_reply_until")),
        if_not_exists=True,
    )
    for column in _places():
        op.add_column("insight_answer", column, if_not_exists=True)


def downgrade() -> None:
    op.execute("DROP TRIGGER note_removed_person ON contact")
    op.execute("DROP TRIGGER forget_places ON insight_person_move")
    op.execute("DROP FUNCTION forget_places()")
    for event in CONDITIONS:
        op.execute(f"DROP TRIGGER note_late_reply_on_{event.lower()} ON campaign_membership")
    op.execute("DROP FUNCTION note_late_reply()")
    for name in INDEXES:
        op.drop_index(name, "insight_answer")
    for column in ("source", "city", "zip", "is_placed"):
        op.drop_column("insight_answer", column)
    for name in ("_until", "_change", ""):
        op.drop_table(f"insight_reply{name}")
