"""Segments, as a person uses them."""

from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits


def person(service: Service, phone: str, **fields: Any) -> Any:
    """Create a contact by the API."""
    return service.api("POST", "/contacts", json={"phone": phone, **fields})


async def choose(page: Page, label: str, value: str, *, nth: int = 0) -> None:
    await page.get_by_label(label, exact=True).nth(nth).select_option(value)


async def test_segment_is_built_explained_renamed_and_deleted(
    visit: Visit, service: Service
) -> None:
    person(service, "617-555-0130", first_name="Ida", address={"city": "Weston"})
    person(service, "617-555-0131", first_name="Max", address={"city": "Weston"})
    person(service, "617-555-0132", first_name="Una", address={"city": "Natick"}, tags=["vip"])
    async with visit("/segments") as page:
        await page.get_by_role("link", name="New segment").click()
        await page.get_by_label("Name of the segment").fill("Weston")
        await choose(page, "Field", "city")
        await page.get_by_label("Value", exact=True).fill("weston")
        count = page.locator("[data-part=segment-count]")
        await expect(count).to_have_attribute("data-value", "2")

        await page.get_by_role("button", name="Group").click()
        await choose(page, "How the rules combine", "any")
        await choose(page, "Field", "tags", nth=1)
        await choose(page, "Comparison", "contains_any", nth=1)
        await choose(page, "Add a value", "vip")
        await expect(count).to_have_attribute("data-value", "3")
        await assert_accessible(page)
        await page.reload()
        await expect(page.get_by_label("Name of the segment")).to_have_value("Weston")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Weston")

        await page.get_by_role("button", name="Why Una is in it").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("In the segment")
        await expect(dialog).to_contain_text("has Natick")
        await page.keyboard.press("Escape")
        await page.get_by_label("Name of the segment").fill("Weston and guests")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Weston and guests")
        made = service.api("GET", "/segments")["data"][0]
        assert made["name"] == "Weston and guests"

        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="No segments yet")).to_be_visible()

    assert service.api("GET", "/segments")["data"] == []


async def test_faulty_rule_is_marked_with_the_sentence_of_the_api(visit: Visit) -> None:
    async with visit("/segments?id=new", refused=(422,)) as page:
        await choose(page, "Field", "phone")
        await page.get_by_label("Value", exact=True).fill("12")

        await expect(page.locator(".rule .field-error")).to_be_visible()
        await page.get_by_role("button", name="Undo the changes").click()
        await expect(page.locator(".rule .field-error")).to_have_count(0)


async def test_segment_of_a_draft_names_it_and_is_not_deleted(
    visit: Visit, service: Service
) -> None:
    line = service.api("POST", "/lines/sync")["data"][0]["id"]
    rule = {"field": "city", "op": "eq", "value": "Weston"}
    made = service.api("POST", "/segments", json={"name": "Old roofs", "filter": {"all": [rule]}})
    body = {
        "name": "Roof check",
        "line_id": line,
        "audience": {"segment_id": made["id"]},
        "variants": [{"name": "A", "body": "Hi!", "weight": 100}],
    }
    campaign = service.api("POST", "/campaigns", json=body)
    async with visit(f"/segments?id={made['id']}", refused=(409,)) as page:
        await expect(page.get_by_role("link", name="Roof check")).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Delete").click()

        await expect(dialog.get_by_role("link", name="Roof check")).to_be_visible()
    service.api("DELETE", f"/campaigns/{campaign['id']}")
    service.api("DELETE", f"/segments/{made['id']}")


SCREENS = ["/segments", "/segments?id=new"]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
async def test_screens_of_people_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    failed: list[str] = []
    async with visit("/contacts", theme=theme, width=width) as page:
        page.on("response", lambda one: failed.append(one.url) if one.status >= 400 else None)
        for path in SCREENS:
            await page.goto(service.run.url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)

    assert failed == []
