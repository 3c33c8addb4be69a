"""Measure how fast the consent history is linked and verified, and how much memory that takes.

The floor (least possible work) of the verification is to read the same links, entries and wordings
in the same pages without computing anything. ``python -m benchmarks.consent_chain 1000000`` uses
more entries.
"""

import asyncio
import gc
import logging
import resource
import sys
import time
from collections.abc import Iterator

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from benchmarks.figures import Figure, medians, show
from benchmarks.stage import stage
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.consent.queries import CANONICAL_WORDING
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory

ENTRIES, ROUNDS = 100_000, 3
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


def main(entries: int = ENTRIES, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the entries that are linked and verified per second, and memory."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    # The commands also freeze the garbage collector after their imports. So the number of modules
    # does not influence the measurements.
    gc.freeze()
    with stage(sandboxes=0) as on:
        linked = asyncio.run(_fill_and_link(on.database_url, entries))
        yield Figure(name="linked, entries a second", value=entries / linked, unit="/s")
        yield from medians(asyncio.run(_round(on.database_url, entries)) for _ in range(rounds))


async def _fill_and_link(url: str, entries: int) -> float:
    async with open_engine(url, pool_size=1) as engine:
        await _fill(engine, entries)
        sessions = session_factory(engine)
        return await _link(lambda: UnitOfWork(sessions, NO_QUEUE))


async def _round(url: str, entries: int) -> list[Figure]:
    before = _peak_mb()
    async with open_engine(url, pool_size=1) as engine, session_factory(engine)() as session:
        floor = await _read(session)
        cpu = time.process_time()
        verified, found = await _verify(session)
        cpu = time.process_time() - cpu
    if found.faults or found.position != entries:
        raise SystemExit(f"{found.faults} faults in {found.position:,} links")
    return [
        Figure(
            name="verified, entries a second",
            value=entries / verified,
            unit="/s",
            cpu_ms=cpu / entries * 1000,
        ),
        Figure(name="verified, of the floor", value=floor / verified, unit="x"),
        Figure(name="more memory", value=_peak_mb() - before, unit="MB", is_lower_better=True),
    ]


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
    show(main(*map(int, sys.argv[1:])))
