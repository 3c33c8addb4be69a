"""Ten screens match their reference pictures; `make pictures` replaces the pictures."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from tests.console import pictures
from tests.console.conftest import Service, Visit
from tests.console.inbox_people import writes
from tests.console.pictures import SCREENS, Recording, Screen

TAKES = "CRM_TESTS_TAKE_PICTURES" in os.environ
ONLY = os.environ.get("CRM_TESTS_PICTURES", "").split()
"""Names of the screens whose pictures are replaced; if empty, all pictures are replaced."""


@pytest.fixture(scope="session")
def data_of_the_screens(service: Service, story: None) -> None:
    """Store waiting people, a quote, a task and a template, so that no screen is empty."""
    assert story is None
    conversation = writes(
        service, "+16175550281", "Could you look at our porch on Friday?", name="Nia"
    )
    writes(service, "+16175550282", "How much is a step?", "How long does it take?", name="Otis")
    contact = {"contact_id": conversation["contact"]["id"]}
    quote = {"number": "Q-281", "amount_cents": 420_000, "status": "approved"}
    service.api("POST", "/quotes", json=contact | quote)
    now = datetime.now(UTC)
    task = {"title": "Order cement", "due_at": (now - timedelta(hours=1)).isoformat()}
    service.api("POST", "/tasks", json=contact | task)
    body = {"name": "Porches", "body": "Hi {{ first_name }}, Granite here. A free look?"}
    service.api("POST", "/templates", json=body)


@pytest.mark.skipif(not TAKES, reason="`make pictures` takes the pictures")
@pytest.mark.usefixtures("data_of_the_screens")
@pytest.mark.parametrize("screen", SCREENS, ids=lambda one: one.name)
async def test_take_picture(
    screen: Screen, visit: Visit, service: Service, browser: Browser
) -> None:
    if ONLY and screen.name not in ONLY:
        pytest.skip("not among the chosen screens")
    pictures.FOLDER.mkdir(exist_ok=True)
    recording = Recording(at=int(time.time() * 1000), chromium=pictures.chromium_of(browser))
    if screen.is_visitor:
        recording.answers["GET /v1/auth/first-owner"] = [
            200,
            "application/json",
            '{"needed":false}',
        ]
    else:
        async with visit("/settings", refused=(403,)) as page:
            await _record(page, service.run.url + screen.path, recording)
    async with pictures.played(browser, service.run.url, screen, recording) as (page, unknown):
        assert unknown == []
        screen.picture.write_bytes(await pictures.picture_of(page))
    recording.save(screen.recording)


async def _record(page: Page, address: str, recording: Recording) -> None:
    await pictures.record_responses(page, recording)
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Emulation.setTimezoneOverride", {"timezoneId": pictures.ZONE})
    await page.clock.set_fixed_time(recording.at / 1000)
    await page.set_viewport_size({"width": pictures.WIDTH, "height": pictures.HEIGHT})
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    await page.goto(address)
    await pictures.settle(page)
    await page.unroute_all(behavior="wait")


@pytest.mark.skipif(TAKES, reason="the pictures are being taken")
@pytest.mark.parametrize("screen", SCREENS, ids=lambda one: one.name)
async def test_screen_matches_its_picture(
    screen: Screen, service: Service, browser: Browser, tmp_path: Path
) -> None:
    assert screen.picture.exists(), f"{screen.name} has no picture: run `make pictures`"
    recording = Recording.read(screen.recording)
    async with pictures.played(browser, service.run.url, screen, recording) as (page, unknown):
        assert unknown == [], (
            "The screen sends requests that were not recorded: run `make pictures`."
        )
        taken = await pictures.picture_of(page)
    apart = await pictures.difference(browser, screen.picture.read_bytes(), taken)
    is_same_browser = recording.chromium == pictures.chromium_of(browser)
    allowed = pictures.SHARE if is_same_browser else pictures.OTHER_SHARE
    if apart > allowed:
        (tmp_path / screen.picture.name).write_bytes(taken)
    assert apart <= allowed, (
        f"{apart:.2%} of the pixels of {screen.name} differ from its picture, more than "
        f"{allowed:.1%}. Compare {tmp_path / screen.picture.name}; if the change is wanted, run "
        "`make pictures`."
    )


async def test_changed_screen_is_detected(service: Service, browser: Browser) -> None:
    screen = SCREENS[0]
    recording = Recording.read(screen.recording)
    async with pictures.played(browser, service.run.url, screen, recording) as (page, _):
        await page.get_by_label("E-mail").fill("somebody@granite.example.com")
        await page.get_by_role("button", name="Sign in").evaluate("(one) => one.remove()")
        taken = await pictures.picture_of(page)
    apart = await pictures.difference(browser, screen.picture.read_bytes(), taken)

    assert apart > pictures.SHARE


def test_pictures_are_small_and_belong_to_screens() -> None:
    kept = list(pictures.FOLDER.glob("*"))

    assert max((one.stat().st_size for one in kept), default=0) <= 400_000
    assert {one.stem for one in kept} <= {one.name for one in SCREENS}
