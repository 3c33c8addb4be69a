"""Browser tests of contacts, campaigns and imports."""

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits

FITS = "((main) => main.scrollWidth <= main.clientWidth)(document.getElementById('main'))"
FILE = """Cell,Contact,E-Mail,Zip,Roof
617-555-0101,Ada Rossi,ada@example.com,02169,slate
(617) 555-0102,Leo Kim,n/a,02169,tin
617-555-0103,Eva Chen,eva@example.com,02170,
call after 5,Nora Silva,nora@example.com,02169,tin
617 555 0101,Ada Rossi,ada@example.com,02169,slate
"""


@pytest_asyncio.fixture(scope="session")
async def campaign(service: Service) -> Any:
    """Create and start a campaign to three people; return the campaign."""
    line = service.api("POST", "/lines/sync")["data"][0]["id"]
    ids = [
        service.api("POST", "/contacts", json={"phone": f"617-555-017{n}", "first_name": "Omar"})[
            "id"
        ]
        for n in range(3)
    ]
    made = service.api(
        "POST",
        "/campaigns",
        json={
            "name": "Foundation check",
            "line_id": line,
            "audience": {"contact_ids": ids},
            "variants": [{"name": "A", "body": "Hi {{ first_name }}!", "weight": 100}],
            "schedule": {"window": {"start": "00:00", "end": "24:00"}},
            "pacing": {"mode": "burst", "batch_size": 100, "batch_interval_minutes": 1},
        },
    )
    service.api("POST", f"/campaigns/{made['id']}/start")
    return made


async def test_part_of_the_bar_lists_its_recipients_and_explains_a_recipient(
    campaign: Any, visit: Visit
) -> None:
    async with visit(f"/campaigns/{campaign['id']}") as page:
        # The service needs some time to send the messages, so the time limit is long.
        await page.get_by_role("link", name="Delivered").click(timeout=60_000)
        assert page.url.endswith("?status=delivered")
        await page.get_by_role("button", name="Explain (617) 555-0170").click()

        await expect(page.get_by_role("dialog")).to_contain_text("Delivered")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_contact_is_found_gets_a_note_and_is_opted_out(
    visit: Visit, service: Service
) -> None:
    made = service.api("POST", "/contacts", json={"phone": "617-555-0180", "first_name": "Zelda"})
    async with visit("/contacts") as page:
        await page.get_by_role("searchbox").fill("zelda")
        await page.get_by_role("link", name="Zelda").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Zelda")

        await page.get_by_role("textbox", name="Note").fill("Call back in May.")
        await page.get_by_role("button", name="Add note").click()
        await expect(page.locator(".timeline")).to_contain_text("Call back in May.")
        await page.get_by_role("button", name="Opt out").click()
        await page.get_by_label("Reason").fill("said so on the phone")
        await page.get_by_role("dialog").get_by_role("button", name="Opt out").click()
        await expect(page.locator("header").get_by_text("Opted out")).to_be_visible()

    assert service.api("GET", f"/contacts/{made['id']}")["opted_out"] is True


async def test_bad_number_is_refused_at_its_field(visit: Visit) -> None:
    async with visit("/contacts", refused=(422,)) as page:
        await page.get_by_role("button", name="New contact").click()
        await page.get_by_role("dialog").get_by_label("Phone").fill("12")
        await page.get_by_role("button", name="Add", exact=True).click()

        await expect(page.locator(".field-error")).to_be_visible()


async def test_file_is_checked_corrected_imported_and_undone(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "quincy.csv"
    file.write_text(FILE)
    async with visit("/imports/new") as page:
        await page.locator("input[type=file]").set_input_files(file)
        await page.get_by_label("Put everybody on this list").fill("Quincy")
        await page.get_by_role("button", name="Check the file").click()
        created = page.locator("[data-figure=created]")
        await expect(created).to_have_attribute("data-value", "3", timeout=30_000)
        await expect(page.get_by_text("The text contains no phone number.")).to_be_visible()
        await page.get_by_text("1 line repeats the number").click()
        await expect(page.get_by_text("Line 6 repeats line 2")).to_be_visible()

        await page.get_by_label("What Roof becomes").select_option("")
        await page.get_by_role("button", name="Check again").click()
        await page.get_by_role("button", name="Import", exact=True).click(timeout=30_000)
        await expect(page.get_by_role("link", name="Show the contacts")).to_be_visible(
            timeout=30_000
        )
        write = page.get_by_role("link", name="Write to them")
        await expect(write).to_have_attribute("href", re.compile(r"/campaigns/new\?list=.+"))
        person = service.api("GET", "/contacts?phone=%2B16175550101")["data"][0]
        assert "roof" not in person["attributes"]

        await page.get_by_role("button", name="Undo the import").click()
        await page.get_by_role("dialog").get_by_role("button", name="Undo the import").click()
        await expect(page.get_by_text("Undone:")).to_be_visible(timeout=30_000)

    assert service.api("GET", "/contacts?phone=%2B16175550101")["data"] == []


async def test_refused_option_of_an_import_is_named(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "quincy.csv"
    file.write_text(FILE)
    async with visit("/imports/new", refused=(422,)) as page:
        await page.locator("input[type=file]").set_input_files(file)
        await page.get_by_label("Put everybody on this list").fill("x" * 201)
        await page.get_by_role("button", name="Check the file").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await expect(page.get_by_text("errors")).to_have_count(0)


async def test_fault_of_a_date_names_the_field_of_the_screen(
    visit: Visit, service: Service
) -> None:
    service.api("POST", "/lines/sync")
    made = service.api("POST", "/lists", json={"name": "Winter"})
    one = service.api("POST", "/contacts", json={"phone": "617-555-0194", "first_name": "Uma"})
    service.api("POST", f"/lists/{made['id']}/contacts", json={"contact_ids": [one["id"]]})
    async with visit(f"/campaigns/new?list={made['id']}", refused=(422,)) as page:
        await page.get_by_label("Name of the campaign").fill("Winter check")
        await page.get_by_label("Message", exact=True).fill("Hi {{ first_name }}")
        await page.get_by_label("First message", exact=True).fill("2025-11-03T09:00")
        await page.get_by_role("button", name="Review and start").click()
        await expect(page.locator(".field-error").first).to_contain_text(
            "“First message” is in the past."
        )
        await expect(page.get_by_text("start_at")).to_have_count(0)
        await page.get_by_role("button", name="Empty the form").click()
        await expect(page.get_by_label("Name of the campaign")).to_have_value("")


async def test_campaign_is_written_previewed_and_started(visit: Visit, service: Service) -> None:
    service.api("POST", "/lines/sync")
    ids = [
        service.api("POST", "/contacts", json={"phone": f"617-555-019{n}", "first_name": "Nora"})
        for n in range(2)
    ]
    made = service.api("POST", "/lists", json={"name": "Autumn"})
    added = {"contact_ids": [one["id"] for one in ids]}
    service.api("POST", f"/lists/{made['id']}/contacts", json=added)
    async with visit("/campaigns/new") as page:
        await page.get_by_label("Name of the campaign").fill("Autumn check")
        await page.get_by_label("To", exact=True).select_option(f"list:{made['id']}")
        first = page.get_by_label("From", exact=True).locator("option").first
        await expect(first).to_have_text(re.compile("^Sandbox line"))
        await page.get_by_label("Message", exact=True).fill("Hi {{ first_name }}, a free check?")
        preview = page.get_by_role("complementary", name="Preview")
        await expect(preview).to_contain_text("Hi Nora, a free check?")
        await assert_accessible(page)
        await page.reload()
        await expect(page.get_by_label("Name of the campaign")).to_have_value("Autumn check")

        await page.get_by_role("button", name="Review and start").click()
        await page.get_by_role("button", name="Send a test message").click()
        lines = page.locator("#own-numbers option")
        await expect(lines.first).to_have_attribute("label", "Sandbox line")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Start sending").click()
        await expect(page.get_by_text("Started.", exact=True)).to_be_visible()

    found = service.api("GET", "/campaigns?q=Autumn")["data"]
    assert [one["status"] for one in found] != ["draft"]


@pytest.mark.parametrize("width", [1280, 390])
async def test_long_name_of_a_campaign_is_broken_into_lines(
    campaign: Any, visit: Visit, service: Service, width: int
) -> None:
    name = {"name": "Autumn" + "x" * 190}
    service.api("PATCH", f"/campaigns/{campaign['id']}", json=name)
    contact = service.api("GET", "/contacts?phone=%2B16175550170")["data"][0]["id"]
    try:
        async with visit(f"/contacts/{contact}", width=width) as page:
            await expect(page.get_by_role("link", name="Autumnxxx")).to_be_visible()
            assert await page.evaluate(FITS)
            await page.goto(f"{service.run.url}/calendar?show=list")
            await expect(page.get_by_role("link", name="Autumnxxx").first).to_be_visible()
            assert await page.evaluate(FITS)
            await page.goto(f"{service.run.url}/campaigns/{campaign['id']}")
            await expect(page.get_by_role("heading", level=1)).to_contain_text("Autumnxxx")
            assert await page.evaluate(FITS)
    finally:
        name = {"name": campaign["name"]}
        service.api("PATCH", f"/campaigns/{campaign['id']}", json=name)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
async def test_screens_are_accessible_and_fit(
    campaign: Any, visit: Visit, theme: str, width: int
) -> None:
    failed: list[str] = []
    async with visit("/contacts", theme=theme, width=width) as page:
        page.on("response", lambda one: failed.append(one.url) if one.status >= 400 else None)
        paths = [
            "/campaigns",
            "/campaigns/new",
            f"/campaigns/{campaign['id']}",
            "/imports",
            "/imports/new",
        ]
        for path in ["/contacts", *paths]:
            await page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/")[2] + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)

    assert failed == []
