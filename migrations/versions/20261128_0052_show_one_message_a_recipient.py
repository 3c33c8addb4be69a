"""Show one message per recipient and step, even if its sending needs several attempts.

Before this revision, each attempt had a separate message. Now `campaign_membership.activity_id`
refers to the message of the recipient, and each further attempt uses the same message. Between two
attempts the message has the status `queued`.

A recipient may get the status `skipped`, `cancelled` or `failed` while its message is `queued`.
Then a trigger changes the message to `failed`. If no request to the provider was made for the
message, the trigger deletes the message instead, because no report about it can arrive. This is
done by a trigger, because many statements set these statuses of recipients.

`released` is no longer a status of messages. This migration converts the existing messages with
this status. While the service is updated, processes of the previous release still write this
status, and a second trigger converts their messages. A later migration may drop the second trigger.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0052"
down_revision: str | None = "20261128_0051"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The function does not wait for a message that another transaction has locked. That transaction
# updates the recipient afterwards, so the trigger runs again.
END_MESSAGE = """
CREATE OR REPLACE FUNCTION end_message_of_recipient() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    waiting uuid;
BEGIN
    IF NEW.status = 'skipped' AND OLD.status <> 'skipped' THEN
        NEW.skipped_at := NEW.updated_at;
    END IF;
    IF NEW.activity_id IS NOT NULL THEN
        SELECT a.id INTO waiting FROM activity a
        WHERE a.id = NEW.activity_id AND a.status = 'queued' FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND AND EXISTS (
            SELECT FROM send_attempt t WHERE t.membership_id = NEW.id AND t.called_at IS NOT NULL
        ) THEN
            UPDATE activity SET status = 'failed', updated_at = NEW.updated_at,
                error_code = coalesce(NEW.skip_reason, NEW.error_code, NEW.status)
            WHERE id = waiting;
        ELSIF FOUND THEN
            DELETE FROM activity WHERE id = waiting;
        END IF;
    END IF;
    RETURN NEW;
END
$$
"""
ON_END = """
CREATE OR REPLACE TRIGGER end_message_of_recipient BEFORE UPDATE ON campaign_membership FOR EACH ROW
WHEN ((NEW.status = 'skipped' AND OLD.status <> 'skipped')
      OR (NEW.activity_id IS NOT NULL AND NEW.status IN ('skipped', 'cancelled', 'failed')))
EXECUTE FUNCTION end_message_of_recipient()
"""
CONVERT_RELEASED = """
CREATE OR REPLACE FUNCTION convert_released_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.status := 'failed';
    NEW.error_code := coalesce(NEW.error_code, 'withdrawn');
    NEW.send_after := NULL;
    RETURN NEW;
END
$$
"""
ON_RELEASED = """
CREATE OR REPLACE TRIGGER convert_released_message BEFORE UPDATE ON activity FOR EACH ROW
WHEN (NEW.status = 'released') EXECUTE FUNCTION convert_released_message()
"""
# This migration adds one condition to the trigger: the messages that the migration converts emit
# no event, because they are old.
ON_MESSAGE_STATUS = """
CREATE OR REPLACE TRIGGER tell_message_status AFTER UPDATE ON activity FOR EACH ROW
WHEN (NEW.kind = 'message' AND OLD.status IS DISTINCT FROM NEW.status
      AND NEW.status NOT IN ('sending', 'released') {converted})
EXECUTE FUNCTION tell_message_status()
"""
NOT_CONVERTED = "AND OLD.status <> 'released'"

# Find the recipients of the next 5,000 attempts that sent nothing. A `released` attempt certainly
# sent nothing. For a `not_found` attempt, the look-ups showed that it sent nothing.
NEXT_RECIPIENTS = """
SELECT array_agg(DISTINCT a.membership_id) AS ids, max(a.id::text) AS last FROM (
    SELECT id, membership_id FROM send_attempt
    WHERE id > :after AND membership_id IS NOT NULL AND status IN ('released', 'not_found')
    ORDER BY id LIMIT 5000
) a
"""
# The attempts of a recipient that sent nothing get the message of the recipient's best attempt. The
# array has the statuses from the best to the worst.
JOIN_TRIES = """
WITH tries AS (
    SELECT a.id, a.activity_id, a.status,
           first_value(a.activity_id) OVER (
               PARTITION BY a.membership_id, a.phone
               ORDER BY array_position(ARRAY['delivered', 'failed', 'sent', 'claimed', 'calling',
                        'unknown', 'parked', 'refused', 'released', 'not_found'], a.status),
                   a.created_at DESC, a.id DESC) AS shown
    FROM send_attempt a WHERE a.membership_id = ANY(:ids)
), joined AS (
    UPDATE send_attempt a SET activity_id = t.shown FROM tries t
    WHERE a.id = t.id AND t.activity_id <> t.shown AND t.status IN ('released', 'not_found')
    RETURNING t.activity_id
)
DELETE FROM activity x USING joined j WHERE x.id = j.activity_id AND x.openphone_id IS NULL
"""
KEEP_MESSAGE = """
WITH shown AS (
    SELECT DISTINCT ON (a.membership_id) a.membership_id, a.activity_id
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE a.membership_id = ANY(:ids) AND a.phone = m.phone
      AND m.status IN ('pending', 'review', 'held', 'sending', 'unknown')
    ORDER BY a.membership_id, a.created_at DESC, a.id DESC
)
UPDATE campaign_membership m SET activity_id = s.activity_id FROM shown s
WHERE m.id = s.membership_id
"""
END_RELEASED = """
UPDATE activity x
SET status = CASE WHEN m.status IN ('pending', 'review', 'held') THEN 'queued' ELSE 'failed' END,
    error_code = CASE WHEN m.status NOT IN ('pending', 'review', 'held')
        THEN coalesce(m.skip_reason, m.error_code, m.status) END,
    send_after = NULL
FROM campaign_membership m JOIN send_attempt a ON a.membership_id = m.id
WHERE m.id = ANY(:ids) AND x.id = a.activity_id AND x.status = 'released'
"""


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    for column in (
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("skipped_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("campaign_membership", column, if_not_exists=True)
    for function in (END_MESSAGE, CONVERT_RELEASED):
        op.execute(function)
    for trigger in (ON_END, ON_RELEASED, ON_MESSAGE_STATUS.format(converted=NOT_CONVERTED)):
        op.execute(trigger)
    with op.get_context().autocommit_block():
        _convert()


def _convert() -> None:
    bind, after = op.get_bind(), "00000000-0000-0000-0000-000000000000"
    while True:
        batch = bind.execute(sa.text(NEXT_RECIPIENTS), {"after": after}).one()
        if batch.last is None:
            return
        for statement in (JOIN_TRIES, KEEP_MESSAGE, END_RELEASED):
            bind.execute(sa.text(statement), {"ids": batch.ids})
        after = batch.last


def downgrade() -> None:
    op.execute(ON_MESSAGE_STATUS.format(converted=""))
    op.execute("DROP TRIGGER convert_released_message ON activity")
    op.execute("DROP TRIGGER end_message_of_recipient ON campaign_membership")
    op.execute("DROP FUNCTION convert_released_message()")
    op.execute("DROP FUNCTION end_message_of_recipient()")
    op.drop_column("campaign_membership", "skipped_at")
    op.drop_column("campaign_membership", "activity_id")
