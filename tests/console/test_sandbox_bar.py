"""Browser tests of the sandbox bar, which controls people, faults and the clock."""

import asyncio
import re
from datetime import datetime, timedelta

from playwright.async_api import Route, expect
from tests.console.conftest import Service, Visit, assert_accessible
from tests.console.inbox_people import wait_for

PERSON = "+16175550241"


async def test_person_writes_sends_stop_and_calls(visit: Visit, service: Service) -> None:
    service.api("POST", "/lines/sync")
    async with visit("/inbox", refused=(422,)) as page:
        await page.get_by_role("button", name="People", exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Number of the person").fill("12")
        await dialog.get_by_label("What the person writes").fill("Do you work on Sundays?")
        await dialog.get_by_role("button", name="Write as this person").click()
        await expect(dialog.locator(".field-error")).to_be_visible()
        await dialog.get_by_label("Number of the person").fill("617-555-0241")
        await dialog.get_by_role("button", name="Write as this person").click()
        await expect(page.locator(".inbox-list")).to_contain_text("Do you work on Sundays?")
        await assert_accessible(page)

        await dialog.get_by_role("button", name="Call, nobody answers").click()
        await dialog.get_by_label("This person").select_option("silent")
        await dialog.get_by_role("button", name="Set", exact=True).click()
        await expect(dialog.get_by_text("Deliver")).to_be_visible()
        await dialog.get_by_role("button", name="Forget +16175550241").click()
        await expect(dialog.get_by_text("Deliver")).to_have_count(0)
        await dialog.get_by_role("button", name="Say STOP").click()
        await expect(page.get_by_text("wrote: STOP")).to_be_visible()

    number = PERSON.replace("+", "%2B")
    assert wait_for(service, f"/contacts?phone={number}&opted_out=true")["phone"] == PERSON
    assert wait_for(service, "/calls")["is_missed"] is True


async def test_faults_are_added_shown_in_the_bar_and_removed(
    visit: Visit, service: Service
) -> None:
    async with visit("/operations", refused=(422,)) as page:
        await page.get_by_role("button", name="Faults").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("What goes wrong").select_option("429")
        await dialog.get_by_label("Times").fill("3")
        await dialog.get_by_label("Only for this number").fill("x")
        await dialog.get_by_role("button", name="Let it fail").click()
        await expect(dialog.locator(".field-error")).to_be_visible()
        await dialog.get_by_label("Only for this number").fill("617-555-0242")
        await dialog.get_by_role("button", name="Let it fail").click()
        await expect(dialog).to_contain_text("3 times · (617) 555-0242")
        await assert_accessible(page)
        faults = service.api("GET", "/sandbox/faults")["data"]
        assert [(one["kind"], one["count"]) for one in faults] == [("429", 3)]
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="1 fault").click()
        await page.get_by_role("button", name="Remove all faults").click()
        await expect(page.get_by_text("The sandbox works again.")).to_be_visible()

    assert service.api("GET", "/sandbox/faults")["data"] == []


async def test_clock_is_moved_and_all_times_follow(visit: Visit, service: Service) -> None:
    before = service.api("GET", "/sandbox/clock")["now"]
    async with visit("/today") as page:
        await page.get_by_role("button", name="1 hour").click()
        await expect(page.get_by_text("The sandbox clock has moved.")).to_be_visible(timeout=60_000)

    after = service.api("GET", "/sandbox/clock")
    assert after["status"] == "still"
    assert after["now"] > before
    assert after["ahead"] != "PT0S"


async def test_date_is_shown_once_the_clock_of_the_service_is_known(
    visit: Visit, service: Service
) -> None:
    service.api("POST", "/lists", json={"name": "For the clock"})
    now = datetime.fromisoformat(service.api("GET", "/sandbox/clock")["now"])
    is_shown = asyncio.Event()

    async def answer_late(route: Route) -> None:
        await is_shown.wait()
        answer = await route.fetch()
        clock = await answer.json()
        clock["now"] = (datetime.fromisoformat(clock["now"]) + timedelta(days=2)).isoformat()
        await route.fulfill(response=answer, json=clock)

    async with visit("/today") as page:
        await page.clock.set_fixed_time(now)
        await page.route("**/v1/sandbox/clock", answer_late)
        await page.goto(service.run.url + "/operations?part=audit")
        time = page.locator("tbody td").first
        await expect(time).to_have_text(re.compile(r"^\d+:\d\d"))
        is_shown.set()
        await expect(time).to_have_text(re.compile(r"^[A-Z][a-z]{2} \d"))
