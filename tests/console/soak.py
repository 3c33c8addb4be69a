"""Memory test: an open inbox gets events for an hour, and its memory must not grow.

`python -m tests.console.soak --minutes 60 --rate 10` prints heap, DOM nodes and event listeners at
the start and at the end, each after a forced garbage collection. The exit status is 1 if they grow
beyond a tolerance, or if events do not reach the page.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import asyncpg
from playwright.async_api import Page, expect
from tests.console import stage

PEOPLE = 400
"""Number of conversations; the events belong to at most forty of these conversations."""
WARM_SECONDS = 12.0
"""Seconds of the warm-up, in which caches, fonts and compiled code are loaded.

Memory that still grows after the warm-up would never stop growing.
"""
MOST_HEAP = 1.25
MOST_NODES = 1.15
SPARE_HEAP, SPARE_NODES, SPARE_LISTENERS = 4_000_000, 400, 150

EVENTS = """
    INSERT INTO event (type, subject_id, data)
    SELECT CASE WHEN n % 5 = 0 THEN 'conversation.presence'
                WHEN n % 5 = 1 THEN 'message.status' ELSE 'conversation.changed' END,
           t.id,
           CASE WHEN n % 5 = 0 THEN jsonb_build_object('user_id', md5('user' || n % 7)::uuid,
                    'name', 'Ben ' || n % 7, 'activity', 'typing', 'until', now())
                WHEN n % 5 = 1 THEN jsonb_build_object('status', 'delivered', 'error_code', NULL,
                    'contact_id', t.contact_id, 'conversation_id', t.id, 'line_id', t.line_id)
                ELSE jsonb_build_object('line_id', t.line_id, 'contact_id', t.contact_id,
                    'state', 'waiting', 'waiting_since', now(), 'assignee_id', NULL,
                    'snoozed_until', NULL) END
    FROM generate_series(1, $1::int) n
    CROSS JOIN LATERAL (SELECT * FROM conversation WHERE state = 'waiting'
                        ORDER BY waiting_since OFFSET n % 40 LIMIT 1) t
"""
WATCH = """
() => {
  window.soak = {events: 0};
  const channel = new BroadcastChannel("crm-live");
  channel.onmessage = ({data}) => { if (data.event) window.soak.events++; };
}
"""


@dataclass(frozen=True)
class SoakResult:
    """The result of a memory test.

    Attributes:
        before: Heap in bytes, DOM nodes and event listeners after the warm-up.
        after: Heap in bytes, DOM nodes and event listeners at the end.
        written: Number of events that were written.
        seen: Number of events that reached the page.
        seconds: Duration in which the events were written.
    """

    before: dict[str, float]
    after: dict[str, float]
    written: int
    seen: int
    seconds: float

    def faults(self) -> list[str]:
        """Return one sentence for each figure that grew too much, and one for missing events."""
        found = []
        if self.after["heap"] > self.before["heap"] * MOST_HEAP + SPARE_HEAP:
            found.append("The heap grows.")
        if self.after["nodes"] > self.before["nodes"] * MOST_NODES + SPARE_NODES:
            found.append("The page keeps nodes.")
        if self.after["listeners"] > self.before["listeners"] + SPARE_LISTENERS:
            found.append("The page keeps listeners.")
        if self.seen < self.written * 0.9:
            found.append(f"Of {self.written} events {self.seen} arrived.")
        return found


async def write_events(
    connection: "asyncpg.Connection[asyncpg.Record]", *, seconds: float, rate: int
) -> int:
    """Write ``rate`` events per second in batches, two batches a second; return their number."""
    written, begins = 0, time.monotonic()
    while (passed := time.monotonic() - begins) < seconds:
        due = int(min(passed + 0.5, seconds) * rate) - written
        if due > 0:
            await connection.execute(EVENTS, due)
            written += due
        await asyncio.sleep(0.5)
    return written


async def soak(page: Page, run: Any, *, seconds: float, rate: int) -> SoakResult:
    """Open a conversation in the inbox, write events, and measure the memory before and after."""
    await page.goto(f"{run.url}/inbox")
    await page.locator("[data-row]").first.click()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    session = await stage.protocol(page)
    await session.send("Performance.enable")
    # If several pages of the console are open in a browser, only one page reads the event stream.
    # This page sends the events to the other pages over a BroadcastChannel. A page does not receive
    # the events that it sends itself. So a second page is opened, which counts the events.
    other = await page.context.new_page()
    await other.goto(f"{run.url}/settings")
    await other.evaluate(WATCH)
    await page.bring_to_front()
    connection = await stage.connect(run)
    try:
        await write_events(connection, seconds=WARM_SECONDS, rate=rate)
        await asyncio.sleep(3)
        before = await stage.memory(session)
        seen_before = await other.evaluate("window.soak.events")
        begins = time.monotonic()
        written = await write_events(connection, seconds=seconds, rate=rate)
        took = time.monotonic() - begins
        await asyncio.sleep(4)
        seen = await other.evaluate("window.soak.events") - seen_before
        after = await stage.memory(session)
    finally:
        await connection.close()
        await other.close()
    return SoakResult(before, after, written, seen, took)


async def main(seconds: float, rate: int) -> int:
    """Start service and browser, run the memory test, and print the figures; return the status."""
    with stage.running() as run:
        async with stage.chromium() as browser:
            state = await stage.first_owner(run, browser)
            await stage.fill(run, PEOPLE, 12)
            context = await browser.new_context(storage_state=state)
            found = await soak(await context.new_page(), run, seconds=seconds, rate=rate)
    for name, values in (("before", found.before), ("after", found.after)):
        sys.stdout.write(json.dumps({"when": name, **values}) + "\n")
    sys.stdout.write(
        f"{found.written} events in {found.seconds:.0f} s, {found.seen} reached the page\n"
    )
    for fault in found.faults():
        sys.stdout.write(f"{fault}\n")
    return 1 if found.faults() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=10)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.minutes * 60, given.rate)))
