"""The memory of a page does not grow during three minutes with ten events a second."""

import pytest
from playwright.async_api import Browser
from tests.console import soak, stage
from tests.console.conftest import Service
from tests.long_tests import long_test

EVENTS = 1_800
"""Number of events in three minutes, at ten events a second."""


# The events take three minutes. The rest of the time limit is for start and garbage collection.
@long_test
@pytest.mark.timeout(400)
async def test_memory_stays_the_same_while_events_flow(crowded: Service, browser: Browser) -> None:
    rate = 10
    await stage.fill(crowded.run, soak.PEOPLE, 12)
    context = await browser.new_context(storage_state=crowded.state)
    try:
        page = await context.new_page()
        found = await soak.soak(page, crowded.run, seconds=EVENTS / rate, rate=rate)
        crowded.state = await context.storage_state()
    finally:
        await context.close()

    assert found.written >= EVENTS * 0.9
    assert found.faults() == [], found
