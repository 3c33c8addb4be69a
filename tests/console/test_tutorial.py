"""A user can follow `docs/tutorial/console.md` in a browser.

`make pictures` replaces the pictures of this page.
"""

import os
import re
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout
from tests.clients import node
from tests.console.conftest import EMAIL, PASSWORD, Service
from tests.dev.test_up import up
from tests.free_ports import free_port
from tests.long_tests import long_test

PAGE = node.ROOT / "docs" / "tutorial" / "console.md"
PICTURES = PAGE.parent / "pictures"
RETAKE = "CRM_TESTS_TAKE_PICTURES" in os.environ
SIZE = (1200, 750)
MOST_BYTES = 120_000
BEGIN = "2030-03-04T14:05:00Z"
"""Start of the sandbox clock: a Monday, 09:05 in New York.

The date is far in the future and constant, so the pictures always show the same dates.
"""
NAMES = re.findall(r"\(pictures/(\w+)\.png\)", PAGE.read_text())


@pytest_asyncio.fixture
async def first_day(browser: Browser) -> AsyncIterator[tuple[Page, Service]]:
    """Yield a browser page and a new service, whose clocks show the same fixed time."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-tutorial-", ignore_cleanup_errors=True) as folder,
        up(Path(folder) / "data", free_port(), CRM_SANDBOX_CLOCK=BEGIN) as run,
    ):
        service = Service(run)
        context = await browser.new_context(
            viewport={"width": SIZE[0], "height": SIZE[1]},
            timezone_id="America/New_York",
            locale="en-US",
            reduced_motion="reduce",
        )
        page = await context.new_page()
        page.set_default_timeout(20_000)
        await page.clock.install(time=datetime.fromisoformat(now_of(service)))
        yield page, service
        await context.close()


def now_of(service: Service) -> str:
    return str(service.api("GET", "/sandbox/clock")["now"])


async def take(page: Page, name: str) -> None:
    """Wait until the window is complete; if pictures are replaced, take its picture."""
    await expect(page.locator(".loading-line")).to_have_count(0)
    await expect(page.locator(".toast")).to_have_count(0)
    await page.evaluate("document.fonts.ready")
    await page.mouse.move(0, 0)
    if RETAKE:
        PICTURES.mkdir(exist_ok=True)
        await page.screenshot(path=PICTURES / f"{name}.png", animations="disabled", caret="hide")


async def dismiss(page: Page) -> None:
    """Close the notices at the bottom of the window, so that the picture does not show them."""
    closers = page.locator(".toast").get_by_role("button", name="Close")
    while await closers.count():
        # A notice may disappear before the click, because it is shown only for some seconds.
        with suppress(PlaywrightTimeout):
            await closers.first.click(timeout=1_000)


def file_of_the_page(folder: Path) -> Path:
    """Write the CSV file that the tutorial page contains; return its path."""
    found = re.search(r"cat > (\S+) <<'END'\n(.*?)END\n", PAGE.read_text(), re.DOTALL)
    assert found is not None
    file = folder / found[1]
    file.write_text(found[2])
    return file


def message_of_the_page() -> str:
    found = re.search(r"`(Hi \{\{.*?)`", PAGE.read_text())
    assert found is not None
    return found[1]


async def begin(page: Page, service: Service) -> None:
    link = re.search(r"http://\S+/welcome#\S+", service.run.output)
    assert link is not None
    await page.goto(link[0])
    await page.get_by_label("Your name").fill("Olga")
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("New password").fill(PASSWORD)
    await page.get_by_role("button", name="Begin").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Today")
    await take(page, "today")


async def import_people(page: Page, file: Path) -> None:
    main = page.get_by_role("navigation", name="Main")
    await main.get_by_role("link", name="Contacts").click()
    await page.get_by_role("link", name="Import").last.click()
    await page.wait_for_url("**/imports**")
    if "/imports/new" not in page.url:
        await page.get_by_role("link", name="New import").first.click()
    await page.locator("input[type=file]").set_input_files(file)
    await page.get_by_label("Put everybody on this list").fill("Porch Street")
    await page.get_by_role("button", name="Check the file").click()
    created = page.locator("[data-figure=created]")
    await expect(created).to_have_attribute("data-value", "8", timeout=30_000)
    await dismiss(page)
    await take(page, "import")
    await page.get_by_role("button", name="Import", exact=True).click()
    await expect(page.get_by_role("link", name="Show the contacts")).to_be_visible(timeout=30_000)


async def write(page: Page) -> None:
    main = page.get_by_role("navigation", name="Main")
    await main.get_by_role("link", name="Settings").click()
    await page.get_by_role("link", name="Lines", exact=True).click()
    await page.get_by_role("button", name="Read them from the provider").click()
    await expect(page.locator("tbody tr").first).to_be_visible()
    await main.get_by_role("link", name="Campaigns").click()
    await page.get_by_role("link", name="New campaign").click()
    await page.get_by_label("Name of the campaign").fill("Porches")
    await page.get_by_label("To", exact=True).select_option(label="Porch Street (8)")
    await page.get_by_label("Message", exact=True).fill(message_of_the_page())
    preview = page.get_by_role("complementary", name="Preview")
    await expect(preview.locator(".phone-text")).to_contain_text("May we look at your porch?")
    await page.get_by_label("At any hour that is legal").check()
    await dismiss(page)
    await page.locator("main").evaluate("(box) => box.scrollTo(0, 0)")
    await take(page, "composer")


async def start(page: Page) -> None:
    await page.get_by_role("button", name="Review and start").click()
    check = page.get_by_role("region", name="Before it starts")
    would = check.locator("[data-part=would_be_texted]")
    await expect(would).to_have_attribute("data-value", "8")
    await dismiss(page)
    await take(page, "check")
    await check.get_by_role("button", name="Start sending").click()
    await page.locator("[data-figure=recipients_total]").wait_for()
    await page.get_by_role("button", name="12 hours").click()
    await expect(page.get_by_text("The sandbox clock has moved.")).to_be_visible(timeout=120_000)
    await expect(page.locator("header").get_by_text("Completed")).to_be_visible()
    for name, value in (("delivered", 8), ("opted_out", 1)):
        figure = page.locator(f"[data-figure={name}]")
        await expect(figure).to_have_attribute("data-value", str(value), timeout=30_000)
    await dismiss(page)
    await take(page, "campaign")


async def answer(page: Page) -> None:
    await page.locator("[data-figure=opted_out]").click()
    people = page.get_by_role("region", name="People").locator("tbody tr")
    await expect(people).to_have_count(1)
    await expect(people).to_contain_text("Omar Haddad")
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Inbox").click()
    await expect(page.get_by_text("Yes, please call me tomorrow").first).to_be_visible()
    await dismiss(page)
    await take(page, "inbox")
    await page.get_by_text("Ines Costa").first.click()
    await page.get_by_role("textbox").last.fill("With pleasure. At three?")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".bubble-out").last).to_contain_text("At three?")


# This test is slow, because it starts its own service.
@long_test
@pytest.mark.timeout(600)
async def test_tutorial_can_be_followed_to_its_end(
    first_day: tuple[Page, Service], tmp_path: Path
) -> None:
    page, service = first_day
    await begin(page, service)
    await import_people(page, file_of_the_page(tmp_path))
    await write(page)
    await start(page)
    await answer(page)


@pytest.mark.parametrize("name", NAMES)
def test_picture_exists_and_is_small(name: str) -> None:
    picture = (PICTURES / f"{name}.png").read_bytes()

    assert struct.unpack(">II", picture[16:24]) == SIZE, "Run `make pictures`."
    assert len(picture) <= MOST_BYTES
