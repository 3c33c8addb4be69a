"""One running service and one Chromium for all journeys; each journey has a browser of its own."""

import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from tests.clients import node
from tests.console.story import write_story
from tests.dev.test_up import Run, free_port, up
from tests.missing_tools import end_without
from tests.prepared_cluster import copy_cluster

CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
"""Chromium without the parts that only a visible window needs, which saves a third of the time; if
it is not installed, the whole Chromium."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The headless shell draws letters as the whole Chromium does, so both match the pictures.
    "--font-render-hinting=slight",
]
AXE = node.CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
EMAIL, PASSWORD = "olga@granite.example.com", "correct horse battery"
WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} refused ${event.blockedURI}`));
"""


@dataclass
class Service:
    """A running `crm-api up` with its first owner.

    Attributes:
        run: The processes.
        state: The stored state of a signed-in browser of the owner.
    """

    run: Run
    state: Any = None

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API with the admin key."""
        headers = {"Authorization": f"Bearer {self.run.admin_key}"}
        url = f"{self.run.url}/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=20, **options)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the API with the admin key and return the JSON of the answer."""
        answer = self.call(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


Visit = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium; skip the journeys, or fail in the CI run, if there is none."""
    if shutil.which(CHROMIUM) is None:
        end_without("Chromium is not installed (apt-get install chromium-headless-shell)")
    return CHROMIUM


@pytest.fixture(scope="session")
def running(chromium: str) -> Iterator[Service]:
    del chromium
    with tempfile.TemporaryDirectory(prefix="crm-console-", ignore_cleanup_errors=True) as folder:
        copy_cluster(Path(folder) / "data")
        with up(Path(folder) / "data", free_port()) as run:
            yield Service(run)


@pytest_asyncio.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    # A busy machine may paint late; these tests do not measure that.
    expect.set_options(timeout=15_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session")
async def service(running: Service, browser: Browser) -> Service:
    """The service after its first owner has followed the link that the start printed."""
    return await signed_up(running, browser)


async def signed_up(running: Service, browser: Browser) -> Service:
    """Follow the printed link as the first owner, and store the state of the browser."""
    link = re.search(r"http://\S+/welcome#\S+", running.run.output)
    assert link is not None, running.run.output
    async with open_window(browser) as page:
        await page.goto(running.run.url)
        await page.get_by_text("Nobody can sign in yet.").wait_for()
        await expect(page.get_by_role("button", name="Forgotten your password?")).to_have_count(0)
        await page.goto(link[0])
        await page.get_by_label("Your name").fill("Olga")
        await page.get_by_label("E-mail").fill(EMAIL)
        await page.get_by_label("New password").fill(PASSWORD)
        await page.get_by_role("button", name="Begin").click()
        await page.get_by_role("navigation", name="Main").wait_for()
        running.state = await page.context.storage_state()
    return running


@asynccontextmanager
async def open_window(
    browser: Browser,
    *,
    state: Any = None,
    theme: Literal["light", "dark"] = "light",
    width: int = 1280,
    refused: tuple[int, ...] = (),
    lost: bool = False,
) -> AsyncIterator[Page]:
    """Open a browser window; fail if its console has an error or its policy refuses something.

    Args:
        browser: The Chromium.
        state: Cookies of a signed-in user; None for a visitor.
        theme: The colours that the system asks for.
        width: Width of the window in pixels.
        refused: Statuses of answers that the journey provokes; each is an error in the console.
        lost: Whether the journey cuts the network or stops the service.
    """
    context: BrowserContext = await browser.new_context(
        storage_state=state,
        color_scheme=theme,
        viewport={"width": width, "height": 800},
        reduced_motion="reduce",
    )
    errors: list[str] = []
    page = await context.new_page()
    await page.add_init_script(WATCH)
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
    provoked = tuple(f"status of {status}" for status in refused)
    if lost:
        provoked += ("net::ERR_", "status of 502", "status of 503")
    assert [one for one in errors if not any(part in one for part in provoked)] == []


@pytest_asyncio.fixture(scope="session")
async def crowded(browser: Browser) -> AsyncIterator[Service]:
    """A service of its own for journeys that fill it: hundreds of waiting people, many contacts."""
    with tempfile.TemporaryDirectory(prefix="crm-crowded-", ignore_cleanup_errors=True) as folder:
        copy_cluster(Path(folder) / "data")
        with up(Path(folder) / "data", free_port()) as run:
            service = await signed_up(Service(run), browser)
            service.api("POST", "/lines/sync")
            yield service


@pytest_asyncio.fixture(scope="session")
async def story(service: Service) -> None:
    """A fixed history for the screens of Insight."""
    service.api("POST", "/lines/sync")
    await write_story(service.run.folder)


@pytest.fixture
def visit(service: Service, browser: Browser) -> Visit:
    """Return a function that opens a page as the owner; use its result with ``async with``."""

    @asynccontextmanager
    async def opened(path: str, **options: Any) -> AsyncIterator[Page]:
        async with open_window(browser, state=service.state, **options) as page:
            await page.goto(service.run.url + path)
            await page.get_by_role("navigation", name="Main").wait_for()
            try:
                yield page
            finally:
                # The refresh token was used up: the next window needs the new one.
                service.state = await page.context.storage_state()

    return opened


async def assert_accessible(page: Page) -> None:
    """Fail if axe-core finds a violation on the page."""
    if not AXE.exists():
        end_without("axe-core is not installed (`make test` installs it)")
    await page.evaluate(AXE.read_text())
    found = await violations(page)
    if found:
        # Content that arrives during the check can make a box wider. The box gets its place in the
        # order of the keyboard in the next frame.
        found = await violations(page)
    assert found == []


async def violations(page: Page) -> list[list[str]]:
    """Return the violations that axe-core finds after the next frame, each with its elements."""
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    await page.evaluate(frames)
    found: list[list[str]] = await page.evaluate(
        "axe.run().then(({violations}) => violations.map((one) => "
        "[one.id, ...one.nodes.map((node) => node.html.slice(0, 200))]))"
    )
    return found


async def assert_fits(page: Page) -> None:
    """Fail if the page is wider than its window."""
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
