"""Give conversations of unknown numbers to whoever becomes the number's contact.

A colleague's text in the app, or one of the past, may be there before its number is a contact's.
Whoever adds the contact (an import, the API, a merge) need not know of it: these triggers do. What
a segment asks of a conversation then is one join by the contact's id.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0030"
down_revision: str | None = "20261126_0029"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Nearly always no conversation is nobody's, and an import adds thousands in one statement.
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
# A number that changed hands, or whose contact came back.
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
