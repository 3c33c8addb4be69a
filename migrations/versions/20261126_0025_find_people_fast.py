"""Search contacts without regard to accents, and list them by name, last change, state and city.

`search_fold` removes accents and changes letters to lower case. It uses only built-in functions, so
that pg_trgm remains the only extension. In `search_text`, a space precedes every word, so that the
trigram index also finds a word by its first letter.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0025"
down_revision: str | None = "20261126_0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SEARCH_FOLD = """
CREATE FUNCTION search_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) = char_length(value) THEN lower(translate(value, '''', ''))
    ELSE replace(replace(replace(
        translate(
            lower(regexp_replace(normalize(value, NFKD), '[\\u0300-\\u036f]+', '', 'g')),
            'łøđðħı''\u2018\u2019\u02bc', 'loddhi'),
        'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe') END
"""

OLD_SEARCH_TEXT = (
    "lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || phone || ' ' "
    "|| coalesce(email, '') || ' ' || coalesce(company, ''))"
)
SEARCH_TEXT = (
    "' ' || search_fold(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' "
    "|| phone || ' ' || coalesce(email, '') || ' ' || coalesce(company, ''))"
)
SORT_NAME = (
    "left(coalesce(nullif(btrim(search_fold(coalesce(last_name, '') || ' ' "
    "|| coalesce(first_name, ''))), ''), '~' || search_fold(coalesce(company || ' ', '')) "
    "|| phone), 200)"
)
LIVE = "deleted_at IS NULL"


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. If an
    # earlier run was interrupted after the commit, do not write the whole table again.
    if not _has_sort_name():
        op.execute(SEARCH_FOLD)
        _write_search_text(SEARCH_TEXT)
        op.add_column(
            "contact",
            sa.Column(
                "sort_name",
                sa.Text(collation="C"),
                sa.Computed(SORT_NAME, persisted=True),
                nullable=False,
            ),
        )
    with op.get_context().autocommit_block():
        _index("idx_contact_name", ["sort_name", "id"])
        _index("idx_contact_updated", ["updated_at", "id"])
        _index("idx_contact_place", [sa.text("lower(state)"), sa.text("search_fold(city)")])


def downgrade() -> None:
    for name in ("idx_contact_place", "idx_contact_updated", "idx_contact_name"):
        op.drop_index(name, "contact")
    op.drop_column("contact", "sort_name")
    _write_search_text(OLD_SEARCH_TEXT)
    op.execute("DROP FUNCTION search_fold(text)")


def _has_sort_name() -> bool:
    columns = sa.inspect(op.get_bind()).get_columns("contact")
    return any(column["name"] == "sort_name" for column in columns)


def _write_search_text(expression: str) -> None:
    op.drop_index("idx_contact_search", "contact")
    op.drop_column("contact", "search_text")
    op.add_column(
        "contact",
        sa.Column(
            "search_text", sa.Text(), sa.Computed(expression, persisted=True), nullable=False
        ),
    )
    op.create_index(
        "idx_contact_search",
        "contact",
        ["search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )


def _index(name: str, columns: list[str | sa.TextClause]) -> None:
    # If an earlier build was interrupted, it left an invalid index. Drop this index first.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.create_index(name, "contact", columns, postgresql_where=LIVE, postgresql_concurrently=True)
