"""Browser tests of the calendar: appointments, the layout on a phone, calendar feeds."""

import re
from datetime import datetime, timedelta

import httpx
from playwright.async_api import expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.people import person


async def test_appointment_is_booked_moved_by_keyboard_and_held(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0143", first_name="Bea", last_name="Visit")
    async with visit(
        f"/calendar?show=day&date=2027-03-02&book={one['id']}", refused=(409,)
    ) as page:
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Bea Visit")
        await dialog.get_by_label("Begins (").fill("2027-03-02T10:00")
        await dialog.get_by_role("button", name="Book", exact=True).click()
        visit_of_bea = page.get_by_role("button", name=re.compile("Bea Visit.*Assessment"))
        await expect(visit_of_bea).to_be_visible()
        made = service.api("GET", f"/appointments?contact_id={one['id']}")["data"][0]

        await page.get_by_role("button", name="New appointment").click()
        await dialog.get_by_label("With whom").fill("Bea Visit")
        await dialog.get_by_role("button", name="Bea Visit").click()
        await dialog.get_by_label("Begins (").fill("2027-03-02T10:30")
        await dialog.get_by_role("button", name="Book", exact=True).click()
        await expect(dialog.locator("[data-part=conflict]")).to_contain_text("Bea Visit")
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Book anyway").click()
        await expect(visit_of_bea).to_have_count(2)

        await visit_of_bea.first.focus()
        await page.keyboard.press("Alt+ArrowUp")
        await page.keyboard.press("Alt+ArrowUp")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("is now at")).to_be_visible()
        moved = service.api("GET", f"/appointments/{made['id']}")["starts_at"]
        assert (datetime.fromisoformat(made["starts_at"]) - datetime.fromisoformat(moved)) == (
            timedelta(minutes=30)
        )

        await visit_of_bea.first.click()
        await dialog.get_by_role("button", name="It took place").click()
        await expect(
            page.get_by_role("button", name=re.compile("Bea Visit.*Assessment")).first
        ).to_have_class(re.compile("visit-held"))
        await assert_accessible(page)

    assert service.api("GET", f"/appointments/{made['id']}")["status"] == "held"


async def test_calendar_is_a_list_on_a_phone_and_bad_times_are_refused(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0144", first_name="Cal")
    body = {
        "contact_id": one["id"],
        "starts_at": "2027-04-06T14:00:00Z",
        "ends_at": "2027-04-06T15:00:00Z",
    }
    service.api("POST", "/appointments", json=body)
    async with visit("/calendar?show=week&date=2027-04-06", width=360) as page:
        await page.get_by_role("button", name="Cal", exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Cancel the appointment").click()
        await expect(page.get_by_text("Cancelled", exact=True)).to_be_visible()
        await assert_fits(page)
        await assert_accessible(page)

    assert service.api("GET", f"/appointments?contact_id={one['id']}")["data"][0]["status"] == (
        "cancelled"
    )


async def status_of(address: str) -> int:
    """Return the status of the response to a request without credentials."""
    async with httpx.AsyncClient() as stranger:
        return (await stranger.get(address)).status_code


async def test_feed_is_shown_once_and_revoked(visit: Visit, service: Service) -> None:
    async with visit("/calendar?part=sharing", refused=(422,)) as page:
        await page.get_by_label("Name of the feed").fill("Crew")
        await page.get_by_role("button", name="Make a feed").click()
        secret = await page.locator(".secret").inner_text()
        assert await status_of(secret) == 200
        await assert_accessible(page)
        await page.get_by_role("button", name="I have it").click()
        await expect(page.locator(".secret")).to_have_count(0)
        await page.get_by_role("button", name="Revoke Crew").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("The address no longer works.")).to_be_visible()
        assert await status_of(secret) == 410

        await page.get_by_label("Name of the calendar").fill("Phone")
        await page.get_by_label("Address of one calendar").fill("http://[::1")
        await page.get_by_label("User name at the server").fill("olga")
        await page.get_by_label("Secret at the server").fill("abcd")
        await page.get_by_role("button", name="Connect", exact=True).click()

    assert service.api("GET", "/calendar-accounts")["data"] == []


async def test_appointment_in_the_past_is_booked_only_after_a_question(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0146", first_name="Pia", last_name="Past")
    path = f"/appointments?contact_id={one['id']}"
    async with visit(f"/calendar?show=day&date=2020-01-01&book={one['id']}") as page:
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Begins (").fill("2020-01-01T10:00")
        await dialog.get_by_role("button", name="Book", exact=True).click()
        await expect(dialog.get_by_text("This is in the past.")).to_be_visible()
        await assert_accessible(page)
        assert service.api("GET", path)["data"] == []
        await dialog.get_by_role("button", name="Book anyway").click()
        await expect(dialog).to_have_count(0)

    assert len(service.api("GET", path)["data"]) == 1
