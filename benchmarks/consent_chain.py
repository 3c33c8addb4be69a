"""Measure how fast the consent history is linked and verified, and how much memory that takes.

The floor of the verification is to read the same links, entries and wordings in the same pages
without computing anything. ``python -m benchmarks.consent_chain 1000000`` uses more entries.
"""

import asyncio
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from crm_api.dev.embedded_servers import servers
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.consent.queries import CANONICAL_WORDING
from crm_api.domain.inbound.webhook_setup.signing import NO_QUEUE
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.platform.migration_runner import upgrade

ENTRIES = 100_000
SECRET = b"a benchmark's secret key, made up"
FILL = (
    """INSERT INTO consent_entry (phone_hash, action, source, actor, occurred_at, created_at)
    SELECT sha256(int8send(i)), 'opt_out', 'message', 'person', now(), now()
    FROM generate_series(1, :entries) i""",
    """INSERT INTO consent_wording (entry_id, phone, reason, evidence, salt)
    SELECT id, '+1617555' || lpad((id % 10000)::text, 4, '0'), 'stop texting me',
           jsonb_build_object('text', 'please stop texting me'), sha256(int8send(id))
    FROM consent_entry""",
    "ALTER TABLE consent_entry DISABLE TRIGGER append_only",
    f"""UPDATE consent_entry e SET wording_digest = sha256(
        w.salt || convert_to({CANONICAL_WORDING}, 'UTF8'))
    FROM consent_wording w WHERE w.entry_id = e.id""",  # noqa: S608 - a constant of the code
    "ALTER TABLE consent_entry ENABLE TRIGGER append_only",
    "INSERT INTO consent_unlinked SELECT id FROM consent_entry",
)


def main(entries: int = ENTRIES) -> None:
    """Run the benchmark and print the results."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(_measure(entries))


async def _measure(entries: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder)) as urls,
    ):
        assert urls.database_url is not None  # noqa: S101 - no URL was given, so they were started
        await upgrade(urls.database_url)
        async with open_engine(urls.database_url, pool_size=1) as engine:
            await _fill(engine, entries)
            sessions = session_factory(engine)
            linked = await _link(lambda: UnitOfWork(sessions, NO_QUEUE))
            before = _peak_mb()
            async with sessions() as session:
                floor = await _read(session)
                verified, found = await _verify(session)
    rate = entries / verified
    print(
        f"linked: {entries / linked:,.0f} entries/s\n"
        f"verified: {rate:,.0f} entries/s ({found.position:,} links, {found.faults} faults), "
        f"{verified:.1f} s; floor, read and nothing else: {entries / floor:,.0f}/s; "
        f"{floor / verified:.2f} of the floor\n"
        f"peak memory {_peak_mb():.0f} MB, {_peak_mb() - before:.0f} MB more than before"
    )


async def _fill(engine: AsyncEngine, entries: int) -> None:
    async with engine.begin() as connection:
        for statement in FILL:
            values = {"entries": entries} if ":entries" in statement else {}
            await connection.execute(text(statement), values)
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text("VACUUM ANALYZE"))


async def _link(new_uow: UnitOfWorkFactory) -> float:
    begun = time.perf_counter()
    has_more = True
    while has_more:
        async with new_uow() as uow:
            has_more = await linking.link_entries(uow, secret=SECRET)
    return time.perf_counter() - begun


async def _read(session: AsyncSession) -> float:
    begun = time.perf_counter()
    after = 0
    while rows := await linking.read_links(session, after=after, limit=linking.VERIFIED_AT_ONCE):
        after = rows[-1].position
    return time.perf_counter() - begun


async def _verify(session: AsyncSession) -> tuple[float, ChainVerification]:
    begun = time.perf_counter()
    found = ChainVerification()
    while await linking.verify_links(session, found, secret=SECRET):
        await session.rollback()
    await linking.verify_tail(session, found, now=clock.now())
    return time.perf_counter() - begun, found


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES)
