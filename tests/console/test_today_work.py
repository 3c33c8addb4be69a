"""Browser tests of Today: two clicks handle a row, and a refused change is undone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.inbox_people import writes


@pytest.fixture(scope="session")
def rows_of_today(service: Service) -> Any:
    """Store a row for each part of Today: quote, invoice, waiting person, task, appointment."""
    service.api("POST", "/lines/sync")
    conversation = writes(service, "+16175550231", "Hello? Anybody?", name="Tova")
    contact = {"contact_id": conversation["contact"]["id"]}
    quote = {"number": "Q-231", "amount_cents": 420_000, "status": "approved"}
    invoice = {"number": "I-231", "amount_cents": 99_000, "status": "open"}
    now = datetime.now(UTC)
    service.api("POST", "/quotes", json=contact | quote)
    service.api("POST", "/invoices", json=contact | invoice)
    task = {"title": "Order cement", "due_at": (now - timedelta(hours=1)).isoformat()}
    service.api("POST", "/tasks", json=contact | task)
    wanda = {"phone": "+16175550233", "first_name": "Wanda"}
    visited = service.api("POST", "/contacts", json=wanda)
    hours = {
        "starts_at": (now - timedelta(hours=1)).isoformat(),
        "ends_at": (now + timedelta(hours=1)).isoformat(),
    }
    service.api("POST", "/appointments", json={"contact_id": visited["id"]} | hours)
    return conversation


@pytest.fixture(autouse=True)
def finish_other_conversations(service: Service) -> None:
    """Mark all other waiting conversations as done.

    Today shows only the people who wait longest. People of earlier tests would fill the list.
    """
    for conversation in service.api("GET", "/conversations?state=waiting&limit=200")["data"]:
        if conversation["phone"] != "+16175550231":
            service.api("PATCH", f"/conversations/{conversation['id']}", json={"state": "done"})


def part(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name)


async def test_each_row_is_acted_on_with_two_clicks(
    rows_of_today: Any, visit: Visit, service: Service
) -> None:
    async with visit("/today") as page:
        await expect(part(page, "Money waiting")).to_contain_text("Q-231")
        await assert_accessible(page)
        await page.get_by_role("button", name="Book a visit for Q-231").click()
        await page.get_by_role("dialog").get_by_role("button", name="Book", exact=True).click()
        await expect(page.get_by_text("Booked.")).to_be_visible()
        await expect(part(page, "Money waiting").get_by_text("Quote approved Q-231")).to_have_count(
            0
        )

        await page.get_by_role("button", name="Invoice I-231 is paid").click()
        await page.get_by_role("dialog").get_by_role("button", name="It is paid").click()
        await expect(part(page, "Money waiting").get_by_text("I-231")).to_have_count(0)

        await part(page, "Tasks due").get_by_role("checkbox", name="Order cement").click()
        await page.locator(".toast").get_by_role("button", name="Undo").last.click()
        await expect(
            part(page, "Tasks due").get_by_role("checkbox", name="Order cement")
        ).to_be_visible()
        await page.get_by_role("button", name="Move Order cement to tomorrow").click()
        await expect(
            part(page, "Tasks due").get_by_role("checkbox", name="Order cement")
        ).to_have_count(0)

        # The row disappears before the service has responded.
        async with page.expect_response(lambda one: one.url.endswith(rows_of_today["id"])):
            await page.get_by_role("button", name="Snooze Tova until tomorrow").click()
        await expect(part(page, "People waiting").get_by_text("Tova")).to_have_count(0)

        await page.get_by_role("button", name="Held: the visit to Wanda").click()
        await expect(page.get_by_text("The visit to Wanda took place.")).to_be_visible()

    assert service.api("GET", "/quotes?number=Q-231")["data"][0]["status"] == "approved"
    booked = service.api("GET", f"/appointments?contact_id={rows_of_today['contact']['id']}")[
        "data"
    ]
    assert [one["kind"] for one in booked] == ["repair"]
    assert service.api("GET", "/invoices?number=I-231")["data"][0]["status"] == "paid"
    assert service.api("GET", f"/conversations/{rows_of_today['id']}")["state"] == "snoozed"
    (visited,) = service.api("GET", "/contacts?q=%2B16175550233")["data"]
    (visit_to_wanda,) = service.api("GET", f"/appointments?contact_id={visited['id']}")["data"]
    assert visit_to_wanda["status"] == "held"


async def test_refused_change_is_undone_with_a_sentence(visit: Visit, service: Service) -> None:
    writes(service, "+16175550232", "Is it ready?", name="Odd")

    async def refuse(route: Route) -> None:
        body = {"status": 409, "code": "x", "title": "x", "detail": "Somebody else was faster."}
        if route.request.method != "PATCH":
            await route.continue_()
        else:
            await route.fulfill(status=409, json=body, content_type="application/problem+json")

    async with visit("/today", refused=(409,)) as page:
        await page.route("**/v1/conversations/*", refuse)
        await page.get_by_role("button", name="Done with Odd").click()

        await expect(page.get_by_role("alert")).to_have_text("Somebody else was faster.")
        await expect(part(page, "People waiting")).to_contain_text("Odd")


async def test_text_of_a_row_is_above_its_buttons_on_a_phone(
    rows_of_today: Any, visit: Visit, service: Service
) -> None:
    assert rows_of_today
    writes(service, "+16175550231", "Water comes through the wall of the basement.")
    async with visit("/today", width=390) as page:
        row = part(page, "People waiting").get_by_role("listitem").filter(has_text="Tova")
        text = await row.get_by_text("Water comes through").bounding_box()
        button = await row.get_by_role("button").first.bounding_box()

    assert text
    assert button
    assert text["width"] > 150
    assert text["y"] + text["height"] <= button["y"]


@pytest.mark.parametrize("width", [1280, 360])
async def test_today_is_accessible_and_fits(rows_of_today: Any, visit: Visit, width: int) -> None:
    assert rows_of_today
    async with visit("/today", theme="dark", width=width) as page:
        await page.get_by_role("heading", level=1).wait_for()
        await expect(page.locator(".loading-line")).to_have_count(0)

        await assert_accessible(page)
        await assert_fits(page)
