"""Browser tests of the keys J and K, which step from conversation to conversation."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit
from tests.console.inbox_people import writes

MESSAGES = 18
PRESS = """
(keys) => [...keys].forEach((key) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true})))
"""
"""Script that presses several keys without a pause, even on a slow machine."""


@pytest.fixture(scope="session")
def people(service: Service) -> Any:
    """Create conversations with three people; the first person has sent many messages."""
    service.api("POST", "/lines/sync")
    texts = [f"Crack number {n}" for n in range(MESSAGES)]
    first = writes(service, "+16175550221", *texts, name="Stella")
    others = [
        writes(service, f"+1617555022{n}", "Hello", name=name)
        for n, name in ((2, "Stephan"), (3, "Stewart"))
    ]
    return [first, *others]


async def rows_of(page: Page) -> list[str]:
    """Return the ids of the conversations in the list, in the order of the list."""
    await page.locator("[data-row]").first.wait_for()
    found: list[str] = await page.eval_on_selector_all(
        "[data-row]", "(all) => all.map((one) => one.dataset.row)"
    )
    return found


async def test_quick_steps_end_at_the_conversation_that_is_marked(
    people: Any, visit: Visit
) -> None:
    del people
    async with visit("/inbox") as page:
        rows = await rows_of(page)
        await page.locator(f'[data-row="{rows[0]}"]').click()
        await expect(page).to_have_url(re.compile(rows[0]))
        await page.evaluate(PRESS, "jj")

        await expect(page).to_have_url(re.compile(rows[2]))
        name = await page.locator(f'[data-row="{rows[2]}"] .conversation-name').inner_text()
        await expect(page.get_by_role("heading", level=2, name=name).first).to_be_visible()
        await page.go_back()
        await expect(page).to_have_url(re.compile(rows[0]))
        await expect(page.locator(f'[data-row="{rows[0]}"]')).to_have_attribute(
            "aria-current", "true"
        )


async def test_screen_opened_right_after_a_step_stays_open(people: Any, visit: Visit) -> None:
    del people
    async with visit("/inbox") as page:
        rows = await rows_of(page)
        await page.locator(f'[data-row="{rows[0]}"]').click()
        await expect(page).to_have_url(re.compile(rows[0]))
        await page.evaluate(PRESS, "jgc")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")

        await page.wait_for_timeout(400)
        assert page.url.endswith("/contacts")


async def test_thread_shows_its_newest_message_and_has_the_earlier_ones(
    people: Any, visit: Visit
) -> None:
    async with visit(f"/inbox/{people[0]['id']}") as page:
        messages = page.locator(".thread [data-message]")
        await expect(messages).to_have_count(MESSAGES)
        await expect(messages.last).to_contain_text(f"Crack number {MESSAGES - 1}")
        await expect(messages.last).to_be_in_viewport()
        await page.get_by_role("log").hover()
        await page.mouse.wheel(0, -4_000)
        await expect(messages.first).to_be_in_viewport()
