"""Link the entries of the consent history into a chain of hashes.

Each entry gets a hash of its words (number, reason, note, shown text and evidence) and of a random
salt. An erasure removes the words and the salt; the hash alone then reveals nothing. Each entry
also gets a link in a chain of keyed hashes, which shows later changes of entries.

The migration does not know the key of the chain. So it writes the existing entries to
`consent_unlinked`, and the first run of the job links them. The hash may be null, because processes
of the previous release write entries without it while the service is updated.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0019"
down_revision: str | None = "20261126_0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OLD_SOURCES = "source IN ('message', 'api', 'import', 'provider')"
SOURCES = (
    "source IN ('message', 'api', 'import', 'provider', 'user', 'web_form', 'paper', "
    "'phone_call', 'in_person')"
)
FILL_SALTS = """
    UPDATE consent_wording SET salt = uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
"""
FILL_DIGESTS = """
    UPDATE consent_entry e
    SET wording_digest = sha256(w.salt || convert_to(
        jsonb_build_array(w.phone, w.reason, w.note, w.text_shown, w.evidence)::text, 'UTF8'))
    FROM consent_wording w WHERE w.entry_id = e.id
"""
FILL_UNLINKED = "INSERT INTO consent_unlinked (entry_id) SELECT id FROM consent_entry"


def upgrade() -> None:
    op.add_column("consent_entry", sa.Column("wording_digest", sa.LargeBinary(), nullable=True))
    op.add_column("consent_wording", sa.Column("text_shown", sa.Text(), nullable=True))
    op.add_column("consent_wording", sa.Column("salt", sa.LargeBinary(), nullable=True))
    op.drop_constraint(op.f("ck_consent_entry_source"), "consent_entry", type_="check")
    op.create_check_constraint(op.f("ck_consent_entry_source"), "consent_entry", SOURCES)
    op.create_table(
        "consent_unlinked",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["consent_entry.id"], name=op.f("fk_consent_unlinked_entry_id")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_consent_unlinked")),
    )
    op.create_table(
        "consent_link",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["consent_entry.id"], name=op.f("fk_consent_link_entry_id")
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_consent_link")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_consent_link_entry_id")),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON consent_link "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(FILL_SALTS)
    # The trigger refuses every change of an entry. Disable it only while the entries get the hash
    # of their words.
    op.execute("ALTER TABLE consent_entry DISABLE TRIGGER append_only")
    op.execute(FILL_DIGESTS)
    op.execute("ALTER TABLE consent_entry ENABLE TRIGGER append_only")
    op.execute(FILL_UNLINKED)


def downgrade() -> None:
    op.drop_table("consent_link")
    op.drop_table("consent_unlinked")
    op.drop_constraint(op.f("ck_consent_entry_source"), "consent_entry", type_="check")
    # The previous release does not know the new sources. So entries with a new source get the
    # source "api".
    op.execute("ALTER TABLE consent_entry DISABLE TRIGGER append_only")
    op.execute(f"UPDATE consent_entry SET source = 'api' WHERE NOT {OLD_SOURCES}")
    op.execute("ALTER TABLE consent_entry ENABLE TRIGGER append_only")
    op.create_check_constraint(op.f("ck_consent_entry_source"), "consent_entry", OLD_SOURCES)
    op.drop_column("consent_wording", "salt")
    op.drop_column("consent_wording", "text_shown")
    op.drop_column("consent_entry", "wording_digest")
