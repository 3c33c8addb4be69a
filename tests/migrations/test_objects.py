"""`migrations/objects` has the current text of every database function and trigger."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.domain.kit.event_log import EMITTED_BY, EventType

OBJECTS = Path(__file__).parents[2] / "migrations" / "objects"
EMITTED_BY_CODE = {EventType.CONVERSATION_PRESENCE, EventType.IMPORT_PROGRESS}

FUNCTIONS = text("""
    SELECT p.proname AS name, pg_get_functiondef(p.oid) AS definition,
           ARRAY(SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t
                 JOIN pg_class r ON r.oid = t.tgrelid
                 WHERE t.tgfoid = p.oid AND NOT t.tgisinternal AND NOT r.relispartition
                 ORDER BY t.tgname, r.relname) AS triggers
    FROM pg_proc p
    WHERE p.pronamespace = CAST('public' AS regnamespace)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
""")


async def test_files_equal_the_objects_in_the_database(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        rows = (await connection.execute(FUNCTIONS)).all()

    found = {row.name: [row.definition, *row.triggers] for row in rows}
    kept = {path.stem: path.read_text() for path in OBJECTS.glob("*.sql")}
    assert sorted(kept) == sorted(found)
    for name, statements in found.items():
        assert sorted(statements_of(kept[name])) == sorted(plain(one) for one in statements), name


@pytest.mark.parametrize("event", sorted(set(EventType) - EMITTED_BY_CODE))
def test_event_names_the_file_that_emits_it(event: EventType) -> None:
    files = EMITTED_BY[event]

    assert files
    for file in files:
        assert f"'{event.value}'" in (OBJECTS / file).read_text()


def statements_of(source: str) -> list[str]:
    parts = re.split(r";\n(?=\n|\Z)", source)
    return [plain(part) for part in parts if part.strip()]


def plain(statement: str) -> str:
    """Return a statement in a form in which the file and PostgreSQL's output are equal."""
    shown = re.sub(r"\bpublic\.(?=\w+[ (])", "", statement) if "TRIGGER" in statement else statement
    shown = re.sub(r"(FUNCTION|PROCEDURE) public\.", r"\1 ", shown)
    return " ".join(shown.replace("CREATE OR REPLACE TRIGGER", "CREATE TRIGGER").split())
