"""Shared fixtures of the browser tests of the console.

All tests use one running service and one Chromium. Each test has its own browser context.
"""

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
from tests.dev.test_up import Run, up
from tests.free_ports import free_port
from tests.missing_tools import end_without
from tests.prepared_cluster import copy_cluster

CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
"""Chromium's headless shell; if it is not installed, the full Chromium.

The headless shell has no parts for a visible window, and saves a third of the time.
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # With this flag, the headless shell and the full Chromium draw letters in the same way. The
    # screens of both then match the reference pictures.
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
        run: The processes of the service.
        state: Cookies and storage of a browser in which the owner is signed in.
    """

    run: Run
    state: Any = None

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API with the admin key."""
        headers = {"Authorization": f"Bearer {self.run.admin_key}"}
        url = f"{self.run.url}/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=20, **options)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the API with the admin key; return the JSON of the response."""
        answer = self.call(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


Visit = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium. Without Chromium, skip the tests; in the CI run, fail them."""
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
    # On a busy machine, a page may change late. These tests do not measure that time.
    expect.set_options(timeout=15_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session")
async def service(running: Service, browser: Browser) -> Service:
    """Return the service whose first owner has signed up."""
    return await signed_up(running, browser)


async def signed_up(running: Service, browser: Browser) -> Service:
    """Sign up as the first owner by the link that the service printed; store the browser state."""
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
    locale: str | None = None,
) -> AsyncIterator[Page]:
    """Open a browser window; fail if its log has an error or a security policy refuses something.

    Args:
        browser: The running Chromium.
        state: Stored browser state of a signed-in user; None for a visitor.
        theme: The colour scheme that the system prefers.
        width: Width of the window in pixels.
        refused: Statuses of responses that the test provokes; the browser logs each as an error.
        lost: Whether the test cuts the network or stops the service.
        locale: Language of the browser; None for English.
    """
    context: BrowserContext = await browser.new_context(
        storage_state=state,
        color_scheme=theme,
        viewport={"width": width, "height": 800},
        reduced_motion="reduce",
        locale=locale,
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
    """Yield a separate service for tests that store hundreds of conversations or many contacts."""
    with tempfile.TemporaryDirectory(prefix="crm-crowded-", ignore_cleanup_errors=True) as folder:
        copy_cluster(Path(folder) / "data")
        with up(Path(folder) / "data", free_port()) as run:
            service = await signed_up(Service(run), browser)
            service.api("POST", "/lines/sync")
            yield service


@pytest_asyncio.fixture(scope="session")
async def story(service: Service) -> None:
    """Store a fixed history of messages and outcomes for the screens of Insight."""
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
                # A refresh token is valid once, so the next window needs the new refresh token.
                service.state = await page.context.storage_state()

    return opened


async def assert_accessible(page: Page) -> None:
    """Fail if axe-core finds a violation on the page."""
    if not AXE.exists():
        end_without("axe-core is not installed (`make test` installs it)")
    await page.evaluate(AXE.read_text())
    found = await violations(page)
    if found:
        # Content that arrives during the check can make a box scrollable. The box can be reached
        # by keyboard only after the next frame, so check a second time.
        found = await violations(page)
    assert found == []


async def violations(page: Page) -> list[list[str]]:
    """Return the violations that axe-core finds after two frames, each with its HTML elements."""
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
