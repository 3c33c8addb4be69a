"""After an import, search and lists are fast without the automatic VACUUM and ANALYZE."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import TextClause, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.workers.imports.test_imports import Importer

from crm_api.domain.imports.contacts import undo_request, write
from crm_api.domain.imports.contacts.source import CHUNK_ROWS
from crm_api.domain.imports.contacts.write import MANY_PEOPLE
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
PENDING = text("SELECT gin_clean_pending_list('idx_contact_search')")
"""Query that empties the pending list of the search index, and gives the pages that it had.

The pending list contains words that are not in the index yet.
"""
ROWS_SEEN = text("SELECT reltuples FROM pg_class WHERE relname = 'contact'")


@pytest.fixture
def importer(committed_uow: NewUow, tmp_path: Path) -> Importer:
    return Importer(committed_uow, tmp_path)


@pytest.fixture
def statements(committed_db: AsyncEngine) -> Iterator[Counter[str]]:
    """Yield a counter of the SQL statements that all connections run."""
    counts: Counter[str] = Counter()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counts[" ".join(statement.split())] += 1

    event.listen(committed_db.sync_engine, "before_cursor_execute", note)
    yield counts
    event.remove(committed_db.sync_engine, "before_cursor_execute", note)


def people(count: int) -> str:
    rows = (f"+1617555{at:04d},Person{at},p{at}@example.com" for at in range(count))
    return "phone,first_name,email\n" + "\n".join(rows) + "\n"


async def read_number(new_uow: NewUow, statement: TextClause) -> float:
    async with new_uow() as uow:
        return float(await uow.session.scalar(statement) or 0)


async def test_search_index_has_no_pending_words_after_an_import_or_its_undo(
    importer: Importer, committed_uow: NewUow
) -> None:
    done = await importer.import_file(people(MANY_PEOPLE))
    after_import = await read_number(committed_uow, PENDING)
    async with committed_uow() as uow:
        await undo_request.request_undo(uow, import_id=done.id, now=clock.now())
    await importer.run()
    after_undo = await read_number(committed_uow, PENDING)

    assert (done.status, done.created) == ("completed", MANY_PEOPLE)
    assert (after_import, after_undo) == (0, 0)


async def test_large_import_updates_the_statistics(
    importer: Importer, committed_uow: NewUow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "ANALYZE_FROM", 50)

    await importer.import_file(people(49))
    before = await read_number(committed_uow, ROWS_SEEN)
    await importer.import_file(people(100))
    after = await read_number(committed_uow, ROWS_SEEN)

    assert before != 49
    assert after == 100


async def test_statistics_are_refreshed_once_while_the_last_chunk_is_stored(
    importer: Importer,
    committed_uow: NewUow,
    statements: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write, "ANALYZE_FROM", 50)

    done = await importer.import_file(people(CHUNK_ROWS + 1))

    assert done.created == CHUNK_ROWS + 1
    assert statements["SELECT analyze_contacts()"] == 1
    assert await read_number(committed_uow, ROWS_SEEN) in {CHUNK_ROWS, CHUNK_ROWS + 1}


async def test_dry_run_and_repeated_file_cause_no_clean_up(
    importer: Importer, statements: Counter[str]
) -> None:
    await importer.import_file(people(5))
    statements.clear()

    await importer.import_file(people(5))
    await importer.import_file(people(9), dry_run=True)

    assert statements["SELECT clean_contact_search()"] == 0
    assert statements["SELECT analyze_contacts()"] == 0


async def test_full_chunk_is_written_with_few_statements(
    importer: Importer, statements: Counter[str]
) -> None:
    """Prove that the number of statements does not grow with the rows of a chunk."""
    await importer.import_file(people(MANY_PEOPLE))

    assert statements["SELECT clean_contact_search()"] == 2
    assert statements.total() <= 60


async def test_import_is_completed_if_the_search_index_cannot_be_cleaned(
    importer: Importer, committed_uow: NewUow
) -> None:
    async with committed_uow() as uow:
        await uow.session.execute(
            text("ALTER FUNCTION clean_contact_search() RENAME TO clean_contact_search_later")
        )
    try:
        done = await importer.import_file(people(MANY_PEOPLE))
    finally:
        async with committed_uow() as uow:
            await uow.session.execute(
                text("ALTER FUNCTION clean_contact_search_later() RENAME TO clean_contact_search")
            )

    assert (done.status, done.created) == ("completed", MANY_PEOPLE)
