"""Link a conversation with an unknown number to the contact that later gets this number.

A conversation may exist before a contact has its number, for example after a user sent a message in
the provider's app. When a contact gets this number, a trigger sets `contact_id` of the
conversation. So imports, the API and merges need no code for it. A segment can then join
conversations by the id of the contact.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0030"
down_revision: str | None = "20261126_0029"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# An import adds thousands of contacts in one statement. Usually every conversation has a contact,
# so the function first checks whether any conversation has none.
ADOPT_FOR_NEW = """
CREATE FUNCTION adopt_conversations_for_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        UPDATE conversation k SET contact_id = a.id
        FROM added a
        WHERE k.phone = a.phone AND k.contact_id IS NULL AND a.deleted_at IS NULL;
    END IF;
    RETURN NULL;
END
$$
"""
ADOPT = """
CREATE FUNCTION adopt_conversations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversation SET contact_id = NEW.id WHERE phone = NEW.phone AND contact_id IS NULL;
    RETURN NULL;
END
$$
"""
ON_INSERT = """
CREATE TRIGGER adopt_conversations_on_insert AFTER INSERT ON contact
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION adopt_conversations_for_new()
"""
# The trigger runs if a contact gets another number or a deleted contact is restored.
ON_UPDATE = """
CREATE TRIGGER adopt_conversations_on_update AFTER UPDATE ON contact FOR EACH ROW
WHEN (NEW.deleted_at IS NULL AND (OLD.deleted_at IS NOT NULL OR NEW.phone <> OLD.phone))
EXECUTE FUNCTION adopt_conversations()
"""
ADOPT_NOW = """
UPDATE conversation k SET contact_id = c.id
FROM contact c WHERE k.contact_id IS NULL AND c.phone = k.phone AND c.deleted_at IS NULL
"""


def upgrade() -> None:
    op.execute(ADOPT_FOR_NEW)
    op.execute(ADOPT)
    op.execute(ON_INSERT)
    op.execute(ON_UPDATE)
    op.execute(ADOPT_NOW)


def downgrade() -> None:
    op.execute("DROP TRIGGER adopt_conversations_on_update ON contact")
    op.execute("DROP TRIGGER adopt_conversations_on_insert ON contact")
    op.execute("DROP FUNCTION adopt_conversations()")
    op.execute("DROP FUNCTION adopt_conversations_for_new()")
