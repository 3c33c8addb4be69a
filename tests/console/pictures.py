"""Reference pictures of screens, with a fixed size, fixed API responses and a fixed clock.

`make pictures` opens each screen once on a running service, and stores the responses of the API in
`tests/console/pictures/NAME.json`. It then shows the screen with these stored responses, and saves
`NAME.png`. The test shows the screen with the same responses and compares the pictures. For this
reason, a picture changes only if the console changes, not if the data change.
"""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from playwright.async_api import Browser, Page, Request, Route
from tests.console.story import PERIOD

FOLDER = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 1040, 720
ZONE = "America/New_York"
"""Time zone of the browser."""
FAR = 48
"""Two pixels differ if one of their colour values (0 to 255) differs by more than this."""
SHARE = 0.002
"""Fraction of the pixels that may differ: about 1,500 pixels, or the letters of ten words."""
OTHER_SHARE = 0.03
"""Fraction of the pixels that may differ if the version of Chromium is different.

Another version draws letters in another way.
"""

REFRESH = "/v1/auth/refresh"


@dataclass(frozen=True)
class Screen:
    """A screen of the console that has a reference picture.

    Attributes:
        name: Name of the files of the screen, without extension.
        path: Path and query of the screen.
        is_visitor: Whether no user is signed in.
    """

    name: str
    path: str
    is_visitor: bool = False

    @property
    def picture(self) -> Path:
        return FOLDER / f"{self.name}.png"

    @property
    def recording(self) -> Path:
        return FOLDER / f"{self.name}.json"


SCREENS = (
    Screen("sign-in", "/sign-in", is_visitor=True),
    Screen("insight", f"/insight?by=campaign&{PERIOD}&rules=1"),
    Screen("holdouts", "/insight?part=holdouts"),
    Screen("today", "/today"),
    Screen("inbox", "/inbox"),
    Screen("contacts", "/contacts"),
    Screen("campaigns", "/campaigns"),
    Screen("calendar", "/calendar"),
    Screen("templates", "/templates"),
    Screen("settings", "/settings"),
)


@dataclass
class Recording:
    """The stored API responses of a screen, and the time for which they are right.

    Attributes:
        at: Time of the browser, in milliseconds since 1970.
        chromium: Major version of the Chromium that took the picture.
        answers: Status, content type and body of each response, by `name_of` its request.
    """

    at: int
    chromium: str
    answers: dict[str, list[Any]] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """Write the recording to a JSON file, with one line for each response."""
        lines = ",\n".join(
            f" {json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(self.answers.items())
        )
        head = json.dumps({"at": self.at, "chromium": self.chromium})[:-1]
        file.write_text(f'{head}, "answers": {{\n{lines}\n}}}}\n')

    @classmethod
    def read(cls, file: Path) -> "Recording":
        """Read a recording from a file that `save` wrote."""
        return cls(**json.loads(file.read_text()))


def name_of(request: Request) -> str:
    """Return a name of the request: method, path with sorted query, and body."""
    parts = urlsplit(request.url)
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query)))
    return f"{request.method} {parts.path}?{query} {request.post_data or ''}".rstrip("? ")


def is_stream(request: Request) -> bool:
    """Return whether the request reads the stream of live events."""
    return "text/event-stream" in request.headers.get("accept", "")


def without_port(text: str) -> str:
    """Replace the port in addresses of the service by 8000; the port differs between runs."""
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", text)


async def record_responses(page: Page, recording: Recording) -> None:
    """Record each later API response to the page, except the response that has access tokens."""

    async def keep(route: Route) -> None:
        request = route.request
        if is_stream(request):
            await route.fulfill(status=403)
            return
        answer = await route.fetch()
        if urlsplit(request.url).path != REFRESH:
            kind = answer.headers.get("content-type", "")
            text = without_port(await answer.text())
            recording.answers[name_of(request)] = [answer.status, kind, text]
        await route.fulfill(response=answer)

    await page.route("**/v1/**", keep)


def chromium_of(browser: Browser) -> str:
    """Return the major version of a browser."""
    return browser.version.split(".", 1)[0]


async def settle(page: Page) -> None:
    """Wait until a screen has its data and its fonts; then remove the focus."""
    await page.get_by_role("heading", level=1).first.wait_for()
    await page.wait_for_load_state("networkidle")
    await page.locator(".loading-line").first.wait_for(state="detached")
    await page.evaluate("document.fonts.ready.then(() => document.activeElement?.blur())")
    await page.mouse.move(0, 0)
    # The page measures its layout after the last response. After two frames, the page is drawn.
    await page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


@asynccontextmanager
async def played(
    browser: Browser, url: str, screen: Screen, recording: Recording
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open a screen, and respond to its requests from a recording.

    Yields:
        The page, and the names of the requests that the recording does not contain.
    """
    context = await browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        locale="en-US",
        timezone_id=ZONE,
        color_scheme="light",
        reduced_motion="reduce",
    )
    if not screen.is_visitor:
        await context.add_cookies([{"name": "crm_csrf", "value": "played", "url": url}])
    page = await context.new_page()
    await page.clock.set_fixed_time(recording.at / 1000)
    unknown: list[str] = []

    async def answer(route: Route) -> None:
        request = route.request
        if is_stream(request):
            await route.fulfill(status=403)
            return
        if urlsplit(request.url).path == REFRESH:
            await route.fulfill(json={"access_token": "played", "expires_in": 900})
            return
        name = name_of(request)
        if name not in recording.answers:
            unknown.append(name)
            await route.fulfill(status=404, json={"status": 404, "code": "not_recorded"})
            return
        status, kind, body = recording.answers[name]
        await route.fulfill(status=status, content_type=kind, body=body)

    await page.route("**/v1/**", answer)
    try:
        await page.goto(url + screen.path)
        await settle(page)
        yield page, unknown
    finally:
        await page.unroute_all(behavior="ignoreErrors")
        await context.close()


async def picture_of(page: Page) -> bytes:
    """Return a picture of the window as PNG."""
    return await page.screenshot(animations="disabled", caret="initial", scale="css")


_COMPARE = """async ([one, other, far]) => {
  const pixels = async (text) => {
    const image = new Image();
    image.src = `data:image/png;base64,${text}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  };
  const [a, b] = [await pixels(one), await pixels(other)];
  if (a.width !== b.width || a.height !== b.height) return 1;
  let apart = 0;
  for (let at = 0; at < a.data.length; at += 4) {
    if ([0, 1, 2].some((part) => Math.abs(a.data[at + part] - b.data[at + part]) > far)) apart += 1;
  }
  return apart / (a.width * a.height);
}"""


async def difference(browser: Browser, one: bytes, other: bytes) -> float:
    """Return the fraction of the pixels that differ, from 0 to 1; 1 if the sizes differ.

    The browser decodes the pictures, so that the tests need no image library.
    """
    page = await browser.new_page()
    try:
        texts = [base64.b64encode(each).decode() for each in (one, other)]
        return float(await page.evaluate(_COMPARE, [*texts, FAR]))
    finally:
        await page.close()
