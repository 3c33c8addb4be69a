"""Browser tests of the parts that all screens share, such as palette, keys and live events."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect
from tests.console.conftest import (
    EMAIL,
    PASSWORD,
    Service,
    Visit,
    assert_accessible,
    assert_fits,
    open_window,
)
from tests.console.inbox_people import SECRET, add_user, signed_in, writes
from tests.dev.test_up import wait_until

SCREENS = (
    "/today",
    "/inbox",
    "/inbox?view=done",
    "/contacts",
    "/campaigns",
    "/campaigns/new",
    "/calendar",
    "/insight",
    "/imports",
    "/imports/new",
    "/templates",
    "/operations",
    "/settings",
)
WRITER = "+16175550251"


@pytest.fixture(scope="session")
def conversation(service: Service) -> Any:
    service.api("POST", "/lines/sync")
    return writes(service, WRITER, "May I ask something?", name="Willa")


async def focused(page: Page) -> str:
    """Return the name of the link, button or field that has the focus; "" if none has it."""
    return str(
        await page.evaluate(
            "((one) => one.matches('a, button, input, select, textarea') "
            "? one.getAttribute('aria-label') || one.innerText : '')(document.activeElement)"
        )
    )


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until an element with this name has the focus."""
    for _ in range(60):
        if name in await focused(page):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


@pytest.mark.usefixtures("conversation")
async def test_palette_finds_screens_people_and_actions(visit: Visit) -> None:
    async with visit("/today") as page:
        await page.keyboard.press("Control+k")
        field = page.get_by_role("combobox", name="Find a screen")
        await field.fill("sett lines")
        await expect(page.get_by_role("option").first).to_have_text("Settings: lines")
        await assert_accessible(page)
        await field.press("Enter")
        await expect(page).to_have_url(re.compile(r"/settings\?part=lines$"))

        await page.keyboard.press("Control+k")
        await field.fill("willa")
        people = page.get_by_role("group", name="Conversations")
        await people.get_by_role("option").first.click()
        await expect(page.get_by_role("log")).to_contain_text("May I ask something?")

        await page.keyboard.press("Control+k")
        await field.fill("new task")
        await field.press("Enter")
        await expect(page.get_by_role("dialog", name="New task")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+k")
        await field.fill("zzzz no such thing")
        await expect(page.get_by_text("Nothing found")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(field).to_have_count(0)


@pytest.mark.usefixtures("conversation")
async def test_keys_are_listed_for_each_screen_and_open_it(visit: Visit) -> None:
    async with visit("/today") as page:
        await page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        await expect(dialog).to_contain_text("Go to Inbox")
        await expect(dialog.get_by_text("Next conversation")).to_have_count(0)
        await page.keyboard.press("Escape")
        await page.keyboard.press("g")
        await page.keyboard.press("i")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Inbox")
        await page.keyboard.press("?")
        await expect(dialog).to_contain_text("Next conversation")
        await expect(dialog).to_contain_text("No single key sends a message.")


async def test_sign_in_and_answer_with_the_keyboard_alone(
    conversation: Any, service: Service, browser: Browser
) -> None:
    async with open_window(browser) as page:
        await page.goto(f"{service.run.url}/inbox")
        await page.get_by_label("E-mail").wait_for()
        await page.get_by_label("E-mail").focus()
        await page.keyboard.type(EMAIL)
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Willa").wait_for()

        await page.keyboard.press("Tab")
        assert "Skip to the content" in await focused(page)
        await page.keyboard.press("Enter")
        await tab_to(page, "Willa")
        await page.keyboard.press("Enter")
        await page.get_by_role("log").get_by_text("May I ask something?").wait_for()
        await page.keyboard.press("r")
        await expect(page.get_by_role("textbox", name="Answer")).to_be_focused()
        await page.keyboard.type("Of course")
        before = service.api("GET", f"/conversations/{conversation['id']}/messages?limit=1")[
            "data"
        ][0]
        assert before["direction"] == "incoming"
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_role("log")).to_contain_text("Of course")
        await page.keyboard.press("Escape")
        await page.keyboard.press("e")
        await expect(page.locator(".toast").last).to_contain_text("Done.")


async def test_tabs_of_a_browser_share_one_stream(
    conversation: Any, visit: Visit, service: Service
) -> None:
    streams: list[str] = []
    async with visit("/today") as page:
        page.context.on(
            "request",
            lambda one: streams.append(one.url) if one.url.endswith("/v1/events") else None,
        )
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        second = await page.context.new_page()
        await second.goto(f"{service.run.url}/inbox/{conversation['id']}")
        await expect(second.get_by_text("Live", exact=True)).to_be_visible()
        writes(service, WRITER, "Do you also mend porches?")
        await expect(second.get_by_role("log")).to_contain_text("Do you also mend porches?")
        assert streams == []
        await page.close()
        await expect(second.get_by_text("Live", exact=True)).to_be_visible()
        writes(service, WRITER, "How much is a porch?")
        await expect(second.get_by_role("log")).to_contain_text("How much is a porch?")

    assert len(streams) == 1


@pytest.mark.timeout(180)
async def test_lost_network_is_shown_and_missed_messages_appear_afterwards(
    conversation: Any, visit: Visit, service: Service
) -> None:
    async with visit(f"/inbox/{conversation['id']}", lost=True) as page:
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.context.set_offline(True)
        await expect(page.get_by_text(re.compile("^Offline since"))).to_be_visible()
        await expect(page.get_by_role("alert")).to_contain_text("This device has no network")
        await page.get_by_role("textbox", name="Answer").fill("Written in a tunnel")
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.get_by_text("Your text is kept")).to_be_visible()
        # The browser has not loaded the script of the next screen yet, and has no network now.
        await page.evaluate("window.isSame = true")
        await page.get_by_role("link", name="Templates").click()
        writes(service, WRITER, "When could you come?")
        await page.context.set_offline(False)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Templates")
        assert await page.evaluate("window.isSame")

        await page.go_back()
        await expect(page.get_by_role("log")).to_contain_text("When could you come?")
        await expect(page.get_by_role("textbox", name="Answer")).to_have_value(
            "Written in a tunnel"
        )
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.get_by_role("log")).to_contain_text("Written in a tunnel")

    sent = service.api("GET", f"/conversations/{conversation['id']}/messages")["data"]
    assert [one["body"] for one in sent].count("Written in a tunnel") == 1


def is_answering(service: Service) -> bool:
    """Return whether the service responds successfully."""
    try:
        return service.call("GET", "/lines").is_success
    except httpx.HTTPError:
        return False


async def cut(route: Route) -> None:
    await route.abort("connectionrefused")


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("conversation")
async def test_list_stays_if_it_cannot_be_read_again(visit: Visit, service: Service) -> None:
    writes(service, WRITER, "Do you clean gutters?")
    async with visit("/inbox", lost=True) as page:
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        row = page.get_by_text("Do you clean gutters?")
        await expect(row).to_be_visible()
        await page.route("**/v1/conversations?*", cut)
        writes(service, WRITER, "Is anybody there?")
        notice = page.get_by_text("A part of this screen could not be read again")
        await expect(notice).to_be_visible(timeout=60_000)
        await expect(row).to_be_visible()
        await expect(page.get_by_text("This could not be loaded")).to_have_count(0)
        await page.unroute("**/v1/conversations?*")
        writes(service, WRITER, "I am still here")
        await expect(page.get_by_text("I am still here")).to_be_visible(timeout=60_000)


@pytest.mark.timeout(180)
async def test_restarted_service_loses_nothing(
    conversation: Any, visit: Visit, service: Service
) -> None:
    async with visit("/today", lost=True) as page:
        answer = page.get_by_role("textbox", name="Answer")
        log = page.get_by_role("log")
        await page.route("**/v1/conversations/*/messages?*", cut)
        await page.goto(f"{service.run.url}/inbox/{conversation['id']}")
        await expect(page.get_by_text("This could not be loaded")).to_be_visible()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.unroute("**/v1/conversations/*/messages?*")
        for process in service.run.processes_of("serve"):
            process.kill()
        await answer.fill("Typed while the service was away")
        # Wait until the service runs again, because later tests use the same service.
        await asyncio.to_thread(wait_until, lambda: is_answering(service), 90)
        await expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=60_000)
        await expect(log).to_contain_text("May I ask something?")
        await expect(page.get_by_text("Kept in this browser")).to_have_count(0, timeout=60_000)
        writes(service, WRITER, "Are you back?")
        await expect(log).to_contain_text("Are you back?", timeout=60_000)
        newest = service.api("GET", f"/conversations/{conversation['id']}/messages?limit=1")[
            "data"
        ][0]
        assert newest["direction"] == "incoming"
        await page.reload()
        await expect(answer).to_have_value("Typed while the service was away")
        await answer.fill("")
        async with page.expect_response(lambda one: one.request.method == "DELETE"):
            pass


@pytest.mark.timeout(180)
async def test_expired_token_is_renewed_and_an_ended_session_continues_after_sign_in(
    conversation: Any, service: Service, browser: Browser
) -> None:
    email = add_user(service, "Olive", "agent")
    path = f"/inbox/{conversation['id']}"
    async with signed_in(service, browser, email, path, refused=(401, 403)) as page:
        await page.get_by_role("log").wait_for()
        await page.context.clock.install()
        await page.reload()
        await page.get_by_role("log").wait_for()
        async with page.expect_response(lambda one: "/v1/auth/refresh" in one.url):
            await page.context.clock.fast_forward("01:00:00")
        await page.keyboard.press("n")
        await page.get_by_role("textbox", name="Internal note").fill("Not saved yet")

        users = service.api("GET", "/users?limit=100")["data"]
        olive = next(one["id"] for one in users if one["email"] == email)
        renewals: list[str] = []

        async def slow(route: Route) -> None:
            renewals.append(route.request.url)
            answer = await route.fetch()
            # A second renewal of the token would still be open when the user has signed in.
            if len(renewals) > 1:
                await asyncio.sleep(2)
            await route.fulfill(response=answer)

        await page.route("**/v1/auth/refresh", slow)
        service.call("POST", f"/users/{olive}/sign-out")
        await page.get_by_role("link", name="Contacts").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        await page.get_by_label("E-mail").fill(email)
        await page.get_by_label("Password").fill(SECRET)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")
        assert len(renewals) == 1
        await page.unroute_all(behavior="wait")
        await page.goto(service.run.url + path)
        await page.get_by_role("log").wait_for()
        await page.keyboard.press("n")
        await expect(page.get_by_role("textbox", name="Internal note")).to_have_value(
            "Not saved yet"
        )


async def test_screens_load_without_a_failed_request_and_fit_at_twice_the_size(
    conversation: Any, visit: Visit, service: Service
) -> None:
    failed: list[str] = []
    # At a zoom of 200 %, a window of 1280 pixels shows a page that is 640 CSS pixels wide.
    async with visit("/today", width=640) as page:
        page.on(
            "response",
            lambda one: failed.append(f"{one.status} {one.url}") if one.status >= 400 else None,
        )
        bar = page.get_by_role("complementary", name="Sandbox")
        for path in (*SCREENS, f"/inbox/{conversation['id']}"):
            await page.goto(service.run.url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(bar).to_contain_text("Nothing is really sent")
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_fits(page)
        await assert_accessible(page)

    assert failed == []


@pytest.mark.usefixtures("conversation")
async def test_number_of_waiting_people_is_on_the_inbox_on_a_phone(
    visit: Visit, service: Service
) -> None:
    writes(service, WRITER, "Are you there?")
    async with visit("/settings", width=390) as page:
        badge = page.locator(".nav-count")
        await expect(badge).to_be_attached()
        inside = await badge.evaluate(
            "(one) => ((inner, outer) => inner.left >= outer.left && inner.right <= outer.right)"
            "(one.getBoundingClientRect(), one.closest('a').getBoundingClientRect())"
        )

    assert inside


@pytest.mark.parametrize(
    "path",
    [
        "/contacts/abc",
        "/campaigns/abc",
        "/segments?id=abc",
        "/contacts/018f3c1e-0000-7000-8000-000000000000",
    ],
)
async def test_address_of_something_that_does_not_exist_says_so(visit: Visit, path: str) -> None:
    async with visit(path, refused=(404,)) as page:
        await expect(page.get_by_role("alert")).to_contain_text(
            "This does not exist, or it was deleted."
        )
        await expect(page.get_by_text("No operation")).to_have_count(0)


async def test_viewer_may_not_write_a_campaign(service: Service, browser: Browser) -> None:
    email = add_user(service, "Vera", "viewer")
    async with signed_in(service, browser, email, "/campaigns/new") as page:
        await expect(page.get_by_role("alert")).to_contain_text("You may not see this")
        await expect(page.get_by_label("Name of the campaign")).to_have_count(0)
