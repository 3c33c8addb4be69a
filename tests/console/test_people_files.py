"""Browser tests of two imports: files with outcomes, and do-not-contact files."""

from pathlib import Path

from playwright.async_api import expect
from tests.console.conftest import Service, Visit, assert_accessible
from tests.console.people import person

INVOICES = """Invoice No,Cell,Paid On,Amount,Status
INV-1,617-555-0137,2026-11-02,"$1,234.50",Paid
INV-2,617-555-0138,11/03/2026,900,Paid
INV-3,617-555-0139,,450,Overdue
"""


async def test_outcomes_are_imported_from_a_file_and_reversed(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "invoices.csv"
    file.write_text(INVOICES)
    before = len(service.api("GET", "/outcomes?source=import&limit=200")["data"])
    async with visit("/imports/new") as page:
        await page.get_by_role("radio", name="Outcomes").check()
        await page.locator("input[type=file]").set_input_files(file)
        await page.get_by_role("button", name="Check the file").click()
        created = page.locator("[data-figure=created]")
        await expect(created).to_have_attribute("data-value", "2", timeout=60_000)
        await expect(page.get_by_text("Rows with the status")).to_be_visible()
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Save as CSV").click()
        assert (await download.value).suggested_filename == "errors-invoices.csv"
        await expect(page.get_by_label("What Cell becomes")).to_have_value("phone")
        await assert_accessible(page)

        await page.get_by_role("button", name="Import", exact=True).click()
        await page.get_by_role("button", name="Undo the import").click(timeout=60_000)
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Undo the import").click()
        await expect(page.get_by_text("2 outcomes were reversed")).to_be_visible(timeout=60_000)

    rows = service.api("GET", "/outcomes?source=import&limit=200")["data"]
    assert len(rows) == before + 4


async def test_numbers_of_a_file_are_marked_do_not_contact_after_a_check(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "stop.csv"
    file.write_text("617-555-0142\nnot a number\n")
    one = person(service, "617-555-0142", first_name="Gus")
    async with visit("/imports/new") as page:
        await page.get_by_role("radio", name="Do not contact").check()
        await page.locator("input[type=file]").set_input_files(file)
        await page.get_by_role("button", name="Check the file").click()
        stopped = page.locator("[data-figure=newly_suppressed]")
        await expect(stopped).to_have_attribute("data-value", "1", timeout=60_000)
        assert service.api("GET", f"/contacts/{one['id']}")["flags"] == []
        await page.get_by_role("button", name="Stop these numbers").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("stop.csv")
        await expect(page.get_by_role("link", name="Show the contacts")).to_be_visible(
            timeout=60_000
        )
        await page.goto(f"{service.run.url}/imports?kind=do_not_contact")
        await expect(page.get_by_role("link", name="stop.csv").first).to_be_visible()

    assert service.api("GET", f"/contacts/{one['id']}")["flags"] == ["do_not_contact"]
