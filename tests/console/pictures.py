"""Reference pictures of screens: fixed size, fixed answers of the API, fixed clock.

`make pictures` opens each screen once on a running service, keeps the answers of the API in
`tests/console/pictures/NAME.json`, and takes `NAME.png` while these answers are played back. The
test plays them back again and compares: a picture changes with the console, not with the data.
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
"""The time zone of the browser."""
FAR = 48
"""A pixel differs if red, green or blue is farther apart than this, of 255."""
SHARE = 0.002
"""The part of the pixels that may differ: about 1,500, the letters of some ten words."""
OTHER_SHARE = 0.03
"""The same under another version of Chromium, which draws letters in another way."""

REFRESH = "/v1/auth/refresh"


@dataclass(frozen=True)
class Screen:
    """A screen with a picture.

    Attributes:
        name: The name of its files.
        path: Its address.
        is_visitor: Whether the browser has no signed-in user.
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
    """The answers of the API, and their time.

    Attributes:
        at: The time of the browser in milliseconds.
        chromium: The major version of the browser that took the picture.
        answers: By `name_of` the request: status, content type and body.
    """

    at: int
    chromium: str
    answers: dict[str, list[Any]] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """Write it as JSON, one line for each answer."""
        lines = ",\n".join(
            f" {json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(self.answers.items())
        )
        head = json.dumps({"at": self.at, "chromium": self.chromium})[:-1]
        file.write_text(f'{head}, "answers": {{\n{lines}\n}}}}\n')

    @classmethod
    def read(cls, file: Path) -> "Recording":
        """Read what `save` wrote."""
        return cls(**json.loads(file.read_text()))


def name_of(request: Request) -> str:
    """Return the method, the path with its sorted query, and the body of a request."""
    parts = urlsplit(request.url)
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query)))
    return f"{request.method} {parts.path}?{query} {request.post_data or ''}".rstrip("? ")


def is_stream(request: Request) -> bool:
    """Return whether the request reads the stream of live events."""
    return "text/event-stream" in request.headers.get("accept", "")


def without_port(text: str) -> str:
    """Replace the address of the service, whose port differs from run to run."""
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", text)


async def record_answers(page: Page, recording: Recording) -> None:
    """Keep the answers that the page gets from now on, without the secrets of the session."""

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
    """Wait until a screen has its data and its fonts, and nothing has the focus."""
    await page.get_by_role("heading", level=1).first.wait_for()
    await page.wait_for_load_state("networkidle")
    await page.locator(".loading-line").first.wait_for(state="detached")
    await page.evaluate("document.fonts.ready.then(() => document.activeElement?.blur())")
    await page.mouse.move(0, 0)
    # Two frames: what was measured after the last answer is drawn.
    await page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


@asynccontextmanager
async def played(
    browser: Browser, url: str, screen: Screen, recording: Recording
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open a screen whose requests are answered from a recording.

    Yields the page and the requests that the recording does not have.
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
    """Return the window as PNG."""
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
    """Return the part of the pixels that differ, from 0 to 1; 1 if the sizes differ.

    The browser reads the pictures, so that no library for images is needed.
    """
    page = await browser.new_page()
    try:
        texts = [base64.b64encode(each).decode() for each in (one, other)]
        return float(await page.evaluate(_COMPARE, [*texts, FAR]))
    finally:
        await page.close()
