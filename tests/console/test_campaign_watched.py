"""The page, the API and the provider report equal figures of a campaign until it ends."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.console.conftest import Service, open_window, signed_up
from tests.dev.test_up import up
from tests.free_ports import free_port
from tests.long_tests import long_test
from tests.prepared_cluster import copy_cluster

AREAS = ("978", "508", "774", "781")
"""Area codes of the people; not 617, because two numbers with 617 are lines of the sandbox."""
TOP = ("recipients_total", "replied", "opted_out", "parked", "sent_today", "remaining_today")
WAIT_SECONDS = 30


@pytest_asyncio.fixture
async def own_service(browser: Browser) -> AsyncIterator[Service]:
    """Yield a separate service, because this test moves its clock and controls its people."""
    with tempfile.TemporaryDirectory(prefix="crm-watched-", ignore_cleanup_errors=True) as folder:
        copy_cluster(Path(folder) / "data")
        with up(Path(folder) / "data", free_port()) as run:
            yield await signed_up(Service(run), browser)


def numbers(people: int) -> list[str]:
    return [f"+1{area}55501{n:02}" for area in AREAS for n in range(people // len(AREAS))]


def import_people(service: Service, people: int) -> str:
    """Import people, and set how they react to messages; return the id of their list."""
    rows = [f"Person{at},{number}" for at, number in enumerate(numbers(people))]
    file = ("people.csv", "\n".join(["First name,Cell", *rows]), "text/csv")
    made = service.api("POST", "/imports", files={"file": file}, data={"list_name": "Watched"})
    for _ in range(200):
        if service.api("GET", f"/imports/{made['id']}")["status"] == "completed":
            break
        time.sleep(0.1)

    def act(phone: str, behaviour: str) -> None:
        body = {"phone": phone, "behaviour": behaviour}
        service.api("POST", "/sandbox/people", json=body)

    act("*", "silent")
    act("+1508555*", "replies")
    for n in range(people // 40):
        act(f"+178155501{n:02}", "stops")
    for n in range(people // 20):
        act(f"+177455501{n:02}", "landline")
    return str(service.api("GET", "/lists?limit=1")["data"][0]["id"])


async def move_clock(service: Service, **move: str) -> None:
    """Move the clock of the sandbox forward, and wait until the clock has reached the new time."""
    service.api("POST", "/sandbox/clock", json=move)
    while (await asyncio.to_thread(service.api, "GET", "/sandbox/clock?wait=10"))[
        "status"
    ] != "still":
        pass


def provider_counts(service: Service, people: int) -> dict[str, int]:
    """Return the counts of the messages with these people, as the sandbox has stored them."""
    answer = httpx.get(f"http://127.0.0.1:{service.run.port + 1}/sandbox/messages")
    campaign_numbers = set(numbers(people))
    sent, answered = list[str](), set[str]()
    for one in answer.json()["data"]:
        if one["direction"] == "outgoing" and set(one["to"]) & campaign_numbers:
            sent.append(one["status"])
        elif one["direction"] == "incoming" and one["from"] in campaign_numbers:
            answered.add(one["from"])
    counted = Counter(sent)
    failed = sum(
        number for status, number in counted.items() if status in {"undelivered", "failed"}
    )
    return {"delivered": counted["delivered"], "failed": failed, "answered": len(answered)}


async def figures_of(page: Page) -> dict[str, str]:
    found: list[list[str]] = await page.locator("[data-figure]").evaluate_all(
        "(all) => all.map((one) => [one.dataset.figure, one.dataset.value])"
    )
    assert len({name for name, _ in found}) == len(found), "A figure is shown twice."
    return {one[0]: one[1] for one in found}


async def assert_counts_agree(
    page: Page, service: Service, campaign: Any, people: int
) -> dict[str, Any]:
    """Wait until page, API and provider have equal counts; fail after half a minute."""
    for left in range(WAIT_SECONDS, -1, -1):
        stats = service.api("GET", f"/campaigns/{campaign['id']}/stats")
        leaves = {**{name: stats[name] for name in TOP}, **stats["by_status"]}
        shown = await figures_of(page)
        seen = {name: shown.get(name) for name in leaves}
        provider = provider_counts(service, people)
        api = {"delivered": leaves["delivered"], "failed": leaves["failed"]}
        if seen == {name: str(value) for name, value in leaves.items()} and api == {
            name: provider[name] for name in api
        }:
            parts = sum(leaves[name] for name in stats["by_status"])
            assert parts == leaves["recipients_total"]
            return {**leaves, "answered": provider["answered"]}
        differs = {
            name: (seen[name], leaves[name]) for name in leaves if seen[name] != str(leaves[name])
        }
        assert left, (differs, api, provider)
        await asyncio.sleep(1)
    raise AssertionError


async def start(page: Page, service: Service, people: int) -> Any:
    """Create a campaign, open its check, and start the campaign on its page."""
    line = service.api("POST", "/lines/sync")["data"][0]["id"]
    service.api("PATCH", f"/lines/{line}", json={"daily_limit": 2 * people})
    made = service.api(
        "POST",
        "/campaigns",
        json={
            "name": "Watched",
            "line_id": line,
            "audience": {"list_id": import_people(service, people)},
            "variants": [
                {"name": "A", "body": "Hi {{ first_name }}, Granite here.", "weight": 50},
                {"name": "B", "body": "{{ first_name }}, a free look?", "weight": 50},
            ],
            "schedule": {"window": {"start": "00:00", "end": "24:00"}},
            "pacing": {
                "daily_limit": people // 2,
                "mode": "burst",
                "batch_size": people,
                "batch_interval_minutes": 1,
            },
        },
    )
    await page.goto(f"{service.run.url}/campaigns/{made['id']}")
    would = page.locator("[data-part=would_be_texted]")
    await expect(would).to_have_attribute("data-value", str(people))
    await page.get_by_role("button", name="Start sending").click()
    await page.locator("[data-figure=recipients_total]").wait_for()
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("people", [40, pytest.param(400, marks=long_test)])
async def test_figures_of_page_api_and_provider_agree_at_every_stop(
    own_service: Service, browser: Browser, people: int
) -> None:
    async with open_window(browser, state=own_service.state) as page:
        # The two hours after the start must not contain midnight in New York, because the daily
        # limit begins again at midnight.
        noon = (datetime.now(UTC) + timedelta(days=1)).replace(hour=17, minute=0)
        await move_clock(own_service, to=noon.isoformat())
        made = await start(page, own_service, people)
        await move_clock(own_service, advance="PT2H")
        half = await assert_counts_agree(page, own_service, made, people)
        assert half["delivered"] + half["failed"] == people // 2

        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await move_clock(own_service, advance="P1D")
        paused = await assert_counts_agree(page, own_service, made, people)
        assert paused["pending"] == half["pending"]

        await page.get_by_role("button", name="Resume").click()
        await move_clock(own_service, advance="P1D")
        await expect(page.locator("header").get_by_text("Completed")).to_be_visible(timeout=30_000)
        end = await assert_counts_agree(page, own_service, made, people)

        expected = {"failed": people // 20, "opted_out": people // 40, "pending": 0}
        assert {name: end[name] for name in expected} == expected
        assert end["delivered"] == people - people // 20
        assert end["answered"] == people // 4 + people // 40
        await page.locator("[data-figure=opted_out]").click()
        rows = page.get_by_role("region", name="People").locator("tbody tr")
        await expect(rows).to_have_count(people // 40)
        assert "opted_out=yes" in page.url
