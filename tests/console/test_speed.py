"""The CPU time of the inbox is within its limits, as on a CPU that is four times slower."""

import pytest
from playwright.async_api import Browser
from tests.console import soak, speed, stage
from tests.console.conftest import Service
from tests.long_tests import long_test

TOLERANCE = 1.5
"""Factor by which a median may exceed its limit.

This test detects only a large slowdown; `make console-speed` uses the exact limits.
"""


# This long test measures CPU time. Tests that run at the same time would change the result.
@long_test
@pytest.mark.timeout(300)
async def test_cpu_time_of_the_inbox_is_within_its_limits(
    crowded: Service, browser: Browser
) -> None:
    await stage.fill(crowded.run, soak.PEOPLE, 30)
    context = await browser.new_context(storage_state=crowded.state)
    try:
        page = await context.new_page()
        await page.add_init_script(speed.WATCH)
        found = await speed.cpu_times(page, crowded.run.url, 8)
        crowded.state = await context.storage_state()
    finally:
        await context.close()

    assert [one for one in found if one.median > one.limit * TOLERANCE] == []
