"""Browser tests of templates: versions, their differences, and approval by another user."""

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits

FIRST = "Hi {{ first_name }}, Granite here. A free look? Reply STOP to opt out."
SECOND = "Hi {{ first_name }}, Granite here. A cheap look? Reply STOP to opt out."


@pytest_asyncio.fixture
async def template(service: Service) -> Any:
    """Create and submit a template with the admin key, so that the owner may approve it."""
    body = {"name": "Chimney", "category": "first message", "body": FIRST}
    made = service.api("POST", "/templates", json=body)
    service.api("POST", f"/templates/{made['id']}/submit")
    yield made
    service.call("DELETE", f"/templates/{made['id']}")


async def test_template_is_approved_changed_and_compared(
    visit: Visit, service: Service, template: Any
) -> None:
    async with visit("/templates?status=submitted", refused=(403,)) as page:
        await page.get_by_role("link", name="Chimney").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Chimney")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.locator("header").get_by_text("Approved")).to_be_visible()

        await page.get_by_label("Message", exact=True).fill(SECOND)
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.locator("ins")).to_have_text("cheap")
        await expect(page.locator("del")).to_have_text("free")
        await expect(page.locator(".stops small").first).to_contain_text("Olga ·")
        await page.get_by_role("button", name="Hand in for approval").click()
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("You wrote it")
        await expect(page.get_by_text("No campaign has used it yet.")).to_be_visible()
        await assert_accessible(page)
        await page.set_viewport_size({"width": 360, "height": 800})
        await assert_fits(page)

    versions = service.api("GET", f"/templates/{template['id']}")["versions"]
    assert [one["status"] for one in versions] == ["approved", "submitted"]


async def test_template_is_rejected_with_a_reason(
    visit: Visit, service: Service, template: Any
) -> None:
    async with visit(f"/templates?id={template['id']}") as page:
        await expect(page.get_by_role("button", name="Reject")).to_be_disabled()
        await page.get_by_label("Note (needed to reject)").fill("Name the price.")
        await page.get_by_role("button", name="Reject").click()

        await expect(page.get_by_text("was rejected: Name the price.")).to_be_visible()

    assert service.api("GET", f"/templates/{template['id']}")["status"] == "rejected"


@pytest.mark.timeout(300)
async def test_campaign_keeps_the_approved_version(
    visit: Visit, service: Service, template: Any
) -> None:
    service.api("POST", "/lines/sync")
    newer = {"body": SECOND}
    async with visit(f"/templates?id={template['id']}") as page:
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.locator("header").get_by_text("Approved")).to_be_visible()
        service.api("PATCH", f"/templates/{template['id']}", json=newer)
        person = service.api(
            "POST", "/contacts", json={"phone": "617-555-0281", "first_name": "Al"}
        )
        made = service.api("POST", "/lists", json={"name": "Chimneys"})
        ids = {"contact_ids": [person["id"]]}
        service.api("POST", f"/lists/{made['id']}/contacts", json=ids)
        await page.goto(f"{service.run.url}/campaigns/new?list={made['id']}")
        await page.get_by_label("Name of the campaign").fill("By template")
        await page.get_by_label("Use a template for Message").select_option(
            label="Chimney · version 1, approved"
        )
        await expect(page.get_by_label("Message", exact=True)).to_have_value(FIRST)
        await page.get_by_role("button", name="Review and start").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("By template")

    used = service.api("GET", "/campaigns?q=by%20template")["data"][0]["variants"][0]
    assert (used["template_id"], used["template_version"]) == (template["id"], 1)
