"""Browser tests of a new user, who double-clicks, works by keyboard and answers at once."""

import asyncio
import re
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Route, expect
from tests.console.conftest import Service, Visit, assert_accessible
from tests.console.inbox_people import wait_for, writes
from tests.console.people import person

DOUBT = "Wrong number, I am not Gina and have no house"
PEOPLE = {
    "dora": "+14135550161",
    "gina": "+14135550162",
    "hank": "+14135550163",
    "ida": "+14135550166",
    "jan": "+14135550167",
}
IMMEDIATE_SECONDS = 1.0
"""Seconds in which a faulty console would send a message before its draft is stored.

A correct console waits until the draft is stored.
"""


@pytest.fixture(scope="session")
def lines(service: Service) -> Any:
    return service.api("POST", "/lines/sync")["data"]


def finish(service: Service, conversation: str) -> None:
    """Mark a conversation as done, because other tests look at the people who wait longest."""
    service.api("PATCH", f"/conversations/{conversation}", json={"state": "done"})


async def test_own_name_is_shown(visit: Visit) -> None:
    async with visit("/settings?part=you") as page:
        await expect(page.locator(".user-name")).to_have_text("Olga")
        await expect(page.get_by_text("Olga · olga@granite.example.com · owner")).to_be_visible()


async def test_double_click_acts_once(visit: Visit, service: Service) -> None:
    dora = person(service, PEOPLE["dora"], first_name="Dora")
    async with visit(f"/contacts/{dora['id']}") as page:
        # The sections above the button grow when their data arrive, and the button moves. A click
        # at the old place would be lost.
        for text in ("says how engaged", "No appointment.", "No outcome."):
            await page.get_by_text(text).wait_for()
        outcomes = page.get_by_role("region", name="Outcomes")
        await outcomes.get_by_role("button", name="Record").click()
        await outcomes.get_by_label("Amount in dollars").fill("4850.50")
        await outcomes.get_by_role("button", name="Record").dblclick()
        await expect(outcomes.get_by_text("$4,850.50")).to_be_visible()

    assert len(service.api("GET", f"/outcomes?contact_id={dora['id']}")["data"]) == 1


async def test_click_right_after_a_search_opens_the_contact(visit: Visit, service: Service) -> None:
    person(service, "413-555-0165", first_name="Yolanda")

    async def load_late(route: Route) -> None:
        await asyncio.sleep(1)
        await route.continue_()

    async with visit("/contacts") as page:
        await page.get_by_role("link", name="Yolanda").wait_for()
        await page.route(re.compile(r"/assets/contact-[^/]*\.js"), load_late)
        await page.get_by_role("searchbox").fill("yolanda")
        await page.get_by_role("link", name="Yolanda").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Yolanda")


async def test_dialog_focuses_its_first_field(visit: Visit, service: Service) -> None:
    async with visit("/contacts") as page:
        await page.get_by_role("button", name="New contact").press("Enter")
        await expect(page.get_by_role("dialog").get_by_label("Phone")).to_be_focused()
        await page.keyboard.type("413-555-0164")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="(413) 555-0164")).to_be_visible()
        engagement = page.get_by_role("region", name="Engagement")
        sentence = engagement.get_by_text("Nothing has happened that says")
        box = await sentence.bounding_box()
        assert box is not None
        assert box["width"] > 200

        await page.goto(service.run.url + "/settings?part=people")
        await page.get_by_role("button", name="Invite", exact=True).click()
        await expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()


@pytest.mark.usefixtures("lines")
async def test_answer_that_is_sent_at_once_leaves_no_draft(visit: Visit, service: Service) -> None:
    conversation = writes(service, PEOPLE["hank"], "Are you there?", name="Hank")
    path = f"/conversations/{conversation['id']}"
    saving, posted, free = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "PUT":
            saving.set()
            await free.wait()
        await route.continue_()

    async with visit(f"/inbox/{conversation['id']}") as page:
        await page.route("**/draft", hold)
        page.on(
            "response",
            lambda one: posted.set() if one.url.endswith("/v1/messages") else None,
        )
        answer = page.get_by_role("textbox", name="Answer")
        await answer.fill("Yes, we are.")
        await saving.wait()
        await page.get_by_role("button", name="Send", exact=True).click()
        with suppress(TimeoutError):
            await asyncio.wait_for(posted.wait(), IMMEDIATE_SECONDS)
        free.set()
        await expect(page.get_by_role("log").get_by_text("Yes, we are.")).to_be_visible()
        await expect(answer).to_have_value("")
        await page.unroute_all(behavior="wait")

    assert service.api("GET", path)["has_draft"] is False


@pytest.mark.usefixtures("lines")
async def test_doubtful_reply_is_decided_in_its_conversation(
    visit: Visit, service: Service
) -> None:
    gina = writes(service, PEOPLE["gina"], DOUBT, name="Gina")
    wait_for(service, "/alerts?status=open")
    async with visit("/operations") as page:
        await page.get_by_role("link", name="Open the conversation").first.click()
        await expect(page.get_by_role("log").get_by_text(DOUBT)).to_be_visible()
        await expect(page.get_by_text("May be texted")).to_have_count(0)
        await page.get_by_role("button", name="Decide").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Opt out").click()
        await expect(dialog.get_by_label("Reason")).to_be_focused()
        await dialog.get_by_label("Opt in: messages are allowed").check()
        await dialog.get_by_label("Reason").fill("Only a wrong name")
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Opt in").click()
        await expect(page.get_by_role("button", name="Decide")).to_have_count(0)
    finish(service, gina["id"])


@pytest.mark.usefixtures("lines")
async def test_alert_on_today_links_to_the_reply(visit: Visit, service: Service) -> None:
    jan = writes(service, PEOPLE["jan"], DOUBT, name="Jan")
    wait_for(service, "/alerts?status=open")
    async with visit("/today") as page:
        alerts = page.get_by_role("region", name="Alerts")
        await alerts.get_by_role("link", name="Doubtful opt-out").first.click()
        await expect(page.get_by_role("log").get_by_text(DOUBT)).to_be_visible()
        await expect(page.get_by_text("A reply may mean stop")).to_be_visible()
    finish(service, jan["id"])


async def test_reply_goes_to_the_line_that_sent_the_message(
    visit: Visit, service: Service, lines: list[dict[str, Any]]
) -> None:
    first = min(lines, key=lambda one: str(one["number"]))
    other = next(one for one in lines if one["id"] != first["id"])
    number = "+14135550165"
    body = {"line_id": other["id"], "to": number, "body": "Hello, Granite here."}
    service.api("POST", "/messages", json=body)
    wait_for(service, f"/conversations?phone={number.replace('+', '%2B')}")
    async with visit("/inbox") as page:
        await page.get_by_role("button", name="People", exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Number of the person").fill(number)
        await dialog.get_by_label("What the person writes").fill("Hello back")
        await dialog.get_by_role("button", name="Write as this person").click()
        await expect(page.locator(".inbox-list")).to_contain_text("Hello back")

    found = service.api("GET", f"/conversations?phone={number.replace('+', '%2B')}")["data"]
    assert [one["line_id"] for one in found] == [other["id"]]
    finish(service, found[0]["id"])


async def test_new_campaign_fits_a_phone_and_names_missing_fields(visit: Visit) -> None:
    async with visit("/campaigns/new", width=360) as page:
        await expect(page.get_by_role("status").filter(has_text="Give it a name.")).to_be_visible()
        await page.get_by_label("Name of the campaign").fill("Cracks")
        await expect(page.get_by_role("status").filter(has_text="Choose people.")).to_be_visible()
        assert await page.evaluate(
            "((main) => main.scrollWidth <= main.clientWidth)(document.querySelector('main'))"
        )


@pytest.mark.usefixtures("lines")
async def test_form_names_faults_of_the_message(visit: Visit, service: Service) -> None:
    made = service.api("POST", "/lists", json={"name": "Lacking"})
    who = person(service, PEOPLE["ida"], first_name="Ida", attributes={"crack_size": "half"})
    body = {"contact_ids": [who["id"]]}
    service.api("POST", f"/lists/{made['id']}/contacts", json=body)
    before = service.api("GET", "/settings")["business_name"]
    service.api("PATCH", "/settings", json={"business_name": None})
    try:
        async with visit(f"/campaigns/new?list={made['id']}", refused=(422,)) as page:
            message = page.get_by_role("textbox", name="Message", exact=True)
            await message.fill("Hello {{ first_nam }}")
            await expect(page.get_by_text("the variable first_nam does not exist.")).to_have_count(
                2
            )
            await expect(page.get_by_text("errors")).to_have_count(0)
            await message.fill("Hello. Reply STOP to opt out. ")
            await expect(page.get_by_role("link", name="Enter the name")).to_be_visible()
            await page.get_by_role("button", name="crack size").click()
            await expect(message).to_have_value(re.compile(r"attributes\.crack_size \}\}"))
            service.api("PATCH", "/settings", json={"business_name": "Granite"})
            await page.reload()
            await expect(page.get_by_text("Write Granite into it")).to_be_visible()
    finally:
        service.api("PATCH", "/settings", json={"business_name": before})


async def test_file_of_another_kind_is_refused_at_once(visit: Visit) -> None:
    async with visit("/imports/new") as page:
        field = page.locator("input[type=file]")
        await field.set_input_files(
            {"name": "list.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}
        )
        await expect(page.get_by_role("alert")).to_have_text("This is not a CSV or Excel file.")
        await expect(page.get_by_role("button", name="Check the file")).to_be_disabled()
        await assert_accessible(page)


async def test_boxes_look_the_same_on_every_way_to_the_settings(
    visit: Visit, service: Service
) -> None:
    async with visit("/settings") as page:
        label = page.locator("label", has=page.get_by_role("checkbox")).first
        await expect(label).to_have_css("display", "flex")
        for path in ("/inbox", "/campaigns/new", "/calendar"):
            await page.goto(service.run.url + path)
            await page.get_by_role("link", name="Settings").click()
            await expect(label).to_have_css("column-gap", "8px")
