"""A running service for the memory test and the speed test, with an owner and many rows."""

import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
from playwright.async_api import Browser, CDPSession, Page, async_playwright
from tests.console.conftest import CHROMIUM, EMAIL, FLAGS, PASSWORD, Service
from tests.dev.test_up import Run, up
from tests.free_ports import free_port

PEOPLE = """
    INSERT INTO contact (id, phone, first_name, last_name, zone_key, tags, created_at, updated_at)
    SELECT md5('soak contact' || i)::uuid, '+1' || (617000000 + i)::text || '0',
           'Ada' || i, 'Rossi' || i % 900, 'MA/America/New_York', '{}',
           now() - i * interval '1 minute', now()
    FROM generate_series(1, $1::int) i
    ON CONFLICT DO NOTHING
"""
CONVERSATIONS = """
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, last_outgoing_at,
        last_incoming_at, created_at, state, waiting_since)
    SELECT md5('soak talk' || i)::uuid, (SELECT id FROM line ORDER BY created_at LIMIT 1),
           '+1' || (617000000 + i)::text || '0', md5('soak contact' || i)::uuid,
           now() - i * interval '1 minute', now() - i * interval '2 minutes',
           now() - i * interval '1 minute', now() - interval '1 year',
           CASE WHEN i % 20 = 1 THEN 'waiting' WHEN i % 20 = 2 THEN 'open' ELSE 'done' END,
           CASE WHEN i % 20 = 1 THEN now() - i * interval '1 minute' END
    FROM generate_series(1, $1::int) i
    ON CONFLICT DO NOTHING
"""
MESSAGES = """
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(s.at - now()), 'message', CASE WHEN n % 2 = 1 THEN 'incoming' ELSE 'outgoing' END,
           CASE WHEN n % 2 = 1 THEN 'provider' ELSE 'manual' END, t.line_id, t.id, t.contact_id,
           t.phone, 'AC' || n || t.phone,
           'Message ' || n || ': could you come by on Tuesday and look at the crack in the wall?',
           CASE WHEN n % 2 = 1 THEN 'received' ELSE 'delivered' END, 4, s.at, s.at, s.at
    FROM conversation t CROSS JOIN generate_series(1, $1::int) n
    CROSS JOIN LATERAL (SELECT t.last_activity_at - (n - 1) * interval '30 minutes') s (at)
    WHERE (t.state <> 'done' OR n = 1) AND t.phone LIKE '+1617______0'
      AND NOT EXISTS (SELECT FROM activity a WHERE a.conversation_id = t.id)
"""


@contextmanager
def running() -> Iterator[Run]:
    """Run `crm-api up` in a temporary folder until the ``with`` block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-console-", ignore_cleanup_errors=True) as folder,
        up(Path(folder) / "data", free_port()) as run,
    ):
        yield run


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the Chromium that the browser tests use."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


async def first_owner(run: Run, browser: Browser) -> Any:
    """Sign up the first owner by the printed link; return the state of the owner's browser."""
    link = re.search(r"http://\S+/welcome#\S+", run.output)
    assert link is not None, run.output
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(link[0])
    await page.get_by_label("Your name").fill("Olga")
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("New password").fill(PASSWORD)
    await page.get_by_role("button", name="Begin").click()
    await page.get_by_role("navigation", name="Main").wait_for()
    state = await context.storage_state()
    await context.close()
    Service(run).api("POST", "/lines/sync")
    return state


async def connect(run: Run) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect to the embedded database as the user ``postgres``."""
    lines = (run.folder / "running.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    sockets = parse_qs(urlsplit(settings["CRM_DATABASE_URL"].strip("'\"")).query)["host"][0]
    return await asyncpg.connect(host=sockets, user="postgres", database="crm")


async def fill(run: Run, conversations: int, messages: int) -> None:
    """Store people, one conversation with each person, and the messages of the conversations.

    A conversation that is done gets one message; any other conversation gets ``messages``. Triggers
    do not run, so the new rows cause no events and no other changes.
    """
    connection = await connect(run)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(PEOPLE, conversations, timeout=300)
            await connection.execute(CONVERSATIONS, conversations, timeout=300)
            await connection.execute(MESSAGES, messages, timeout=300)
        for table in ("contact", "conversation", "activity"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=300)
    finally:
        await connection.close()


async def protocol(page: Page) -> CDPSession:
    """Open a session of the Chrome DevTools Protocol with the page."""
    return await page.context.new_cdp_session(page)


async def memory(session: CDPSession) -> dict[str, float]:
    """Return heap in bytes, DOM nodes and event listeners of a page after garbage collection."""
    for _ in range(2):
        await session.send("HeapProfiler.collectGarbage")
    found = await session.send("Performance.getMetrics")
    values = {one["name"]: one["value"] for one in found["metrics"]}
    return {
        "heap": values["JSHeapUsedSize"],
        "nodes": values["Nodes"],
        "listeners": values["JSEventListeners"],
    }
