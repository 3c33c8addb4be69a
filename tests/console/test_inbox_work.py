"""Browser tests of the work in the inbox: search, several users, keys, drafts and notes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect
from tests.console.conftest import EMAIL, PASSWORD, Service, Visit, assert_accessible, assert_fits
from tests.console.inbox_people import (
    add_user,
    drawn_picture,
    sandbox,
    signed_in,
    wait_for,
    writes,
)


@pytest.fixture(scope="session")
def line(service: Service) -> Any:
    return service.api("POST", "/lines/sync")["data"][0]


@pytest.fixture(scope="session")
def colleague(service: Service) -> str:
    """Return the e-mail address of the user Ben, who also answers people."""
    return add_user(service, "Ben", "manager")


def answer_of(page: Page) -> Any:
    return page.get_by_role("textbox", name="Answer")


def state_of(service: Service, conversation: Any) -> Any:
    return service.api("GET", f"/conversations/{conversation['id']}")


@pytest.mark.usefixtures("line")
async def test_search_leads_to_an_old_message_in_its_thread(visit: Visit, service: Service) -> None:
    texts = ["Do you mend chimneys in Weymouth?", *(f"Filler number {n}" for n in range(35))]
    writes(service, "+16175550201", *texts, name="Wanda")
    async with visit("/inbox") as page:
        await page.keyboard.press("/")
        await page.keyboard.type("chimney weymouth")
        hit = page.get_by_role("region", name="Search results").locator("mark").first
        await expect(hit).to_be_visible()
        await hit.click()

        found = page.locator(".message-found")
        await expect(found).to_contain_text("Do you mend chimneys in Weymouth?")
        await expect(found).to_be_in_viewport()
        assert "q=chimney" in page.url
        await assert_accessible(page)
        await page.get_by_role("searchbox").fill("xylophone nowhere")
        await expect(page.get_by_text("Nothing found")).to_be_visible()


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("line")
async def test_two_colleagues_see_each_other_and_do_not_answer_twice(
    colleague: str, visit: Visit, service: Service, browser: Browser
) -> None:
    conversation = writes(service, "+16175550202", "How much is a new footing?", name="Tess")
    path = f"/inbox/{conversation['id']}"
    async with (
        signed_in(service, browser, colleague, path) as other,
        visit(path, refused=(409,)) as page,
    ):
        await expect(page.get_by_text("Ben is looking at this")).to_be_visible(timeout=20_000)
        await answer_of(other).press_sequentially("About 900 dollars.")
        await expect(page.get_by_text("Ben is writing")).to_be_visible(timeout=15_000)

        await answer_of(page).fill("It depends.")
        await other.get_by_role("button", name="Send", exact=True).click()
        await expect(page.get_by_role("log")).to_contain_text("About 900 dollars.")
        await answer_of(page).press("Control+Enter")
        warning = page.get_by_role("alert")
        await expect(warning).to_contain_text("Ben has already answered")
        await expect(warning.get_by_role("blockquote")).to_have_text("About 900 dollars.")
        await expect(answer_of(page)).to_have_value("It depends.")
        await page.get_by_role("button", name="Send anyway").click()
        await expect(page.get_by_role("log")).to_contain_text("It depends.")
        await expect(answer_of(page)).to_have_value("")

    sent = service.api("GET", f"/conversations/{conversation['id']}/messages")["data"]
    assert sorted(one["body"] for one in sent if one["direction"] == "outgoing") == [
        "About 900 dollars.",
        "It depends.",
    ]


@pytest.mark.usefixtures("line")
async def test_one_key_chooses_an_outcome_and_can_be_undone(visit: Visit, service: Service) -> None:
    conversation = writes(service, "+16175550203", "Who is this?", name="Uma")
    async with visit(f"/inbox/{conversation['id']}") as page:
        await page.get_by_role("log").get_by_text("Who is this?").wait_for()
        await page.keyboard.press("4")
        await expect(page.get_by_text("Outcome: Wrong number.")).to_be_visible()
        contact = service.api("GET", f"/contacts/{conversation['contact']['id']}")
        assert contact["flags"] == ["invalid_number"]
        assert state_of(service, conversation)["state"] == "done"
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.locator(".toast").get_by_role("button", name="Undo").click()
        await expect(page.locator(".thread-head")).to_contain_text("waits since")
        assert service.api("GET", f"/contacts/{conversation['contact']['id']}")["flags"] == []

        await page.keyboard.press("5")
        await expect(page.get_by_text("Outcome: Stop texting.")).to_be_visible()
        assert service.api("GET", f"/contacts/{conversation['contact']['id']}")["opted_out"] is True
        await expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.locator(".toast").get_by_role("button", name="Undo").last.click()
        await expect(page.locator(".thread-head")).to_contain_text("waits since")

    contact = service.api("GET", f"/contacts/{conversation['contact']['id']}")
    assert contact["opted_out"] is False
    assert service.api("GET", f"/conversations/{conversation['id']}/messages?limit=1")["data"][0][
        "direction"
    ] == ("incoming")


@pytest.mark.usefixtures("line")
async def test_saved_reply_fills_the_answer_and_its_actions_are_done(
    visit: Visit, service: Service
) -> None:
    conversation = writes(service, "+16175550204", "Do you fix roofs?", name="Rita")
    async with visit(f"/inbox/{conversation['id']}", refused=(422,)) as page:
        await page.get_by_role("button", name="Saved replies").click()
        await page.get_by_role("button", name="New saved reply").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name of the reply").fill("No roofs")
        await dialog.get_by_label("Text").fill("Sorry {{ first_name")
        await dialog.get_by_label("Add a tag").fill("roof")
        await dialog.get_by_label("The conversation becomes").select_option("done")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.locator(".field-error")).to_be_visible()
        await dialog.get_by_label("Text").fill("Sorry {{ first_name }}, only basements.")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog).to_have_count(0)

        await page.get_by_role("button", name="Saved replies").click()
        await page.get_by_role("button", name="No roofs").first.click()
        await expect(answer_of(page)).to_have_value("Sorry Rita, only basements.")
        await expect(page.locator(".follows")).to_contain_text("tag roof · done")
        async with page.expect_response(lambda one: "apply-saved-reply" in one.url):
            await answer_of(page).press("Control+Enter")

    assert service.api("GET", f"/contacts/{conversation['contact']['id']}")["tags"] == ["roof"]
    assert state_of(service, conversation)["state"] == "done"


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("line")
async def test_draft_survives_reload_lost_network_and_sign_out(
    colleague: str, service: Service, browser: Browser
) -> None:
    conversation = writes(service, "+16175550205", "Are you insured?", name="Dora")
    path = f"/inbox/{conversation['id']}"
    async with signed_in(service, browser, colleague, path, refused=(401,), lost=True) as page:
        await answer_of(page).fill("Yes, we")
        await page.reload()
        await expect(answer_of(page)).to_have_value("Yes, we")

        await page.context.set_offline(True)
        await answer_of(page).fill("Yes, we are insured")
        await expect(page.get_by_text("Kept in this browser")).to_be_visible(timeout=10_000)
        await expect(page.get_by_role("alert")).to_contain_text("This device has no network")
        await page.context.set_offline(False)
        await expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=20_000)
        await expect(page.get_by_text("Kept in this browser")).to_have_count(0, timeout=15_000)

        await answer_of(page).fill("Yes, we are insured since 1998")
        await page.get_by_role("button", name="Your account").click()
        await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.get_by_label("E-mail").fill(EMAIL)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("navigation", name="Main").wait_for()
        await page.goto(service.run.url + path)
        await expect(answer_of(page)).to_have_value("")

    async with signed_in(service, browser, colleague, path) as page:
        await expect(answer_of(page)).to_have_value("Yes, we are insured since 1998")


@pytest.mark.usefixtures("line")
async def test_scheduled_message_respects_the_quiet_hours_of_the_person(
    visit: Visit, service: Service
) -> None:
    conversation = writes(service, "+16175550206", "Text me next week", name="Lara")
    night = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT03:00")
    opens_at = f"{night[:10]}T13:00:00.000Z"

    async def refuse(route: Route) -> None:
        # `make up` runs without legal rules, so the test itself returns the refusal that a service
        # with legal rules returns.
        wanted = route.request.post_data_json or {}
        if "send_at" not in wanted or wanted.get("move"):
            await route.continue_()
            return
        body = {"code": "send_at_outside_window", "status": 422, "next_allowed_at": opens_at}
        await route.fulfill(status=422, json=body, content_type="application/problem+json")

    async with visit(f"/inbox/{conversation['id']}", refused=(422,)) as page:
        await page.route("**/v1/messages", refuse)
        await answer_of(page).fill("Hello again")
        await page.get_by_role("button", name="Send later").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("On the person's clock (America/New_York)").fill(night)
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Send at this time").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("quiet hours")
        await expect(dialog.get_by_role("alert")).to_contain_text("8:00 AM EST")
        await dialog.get_by_role("button", name="Send then").click()

        await expect(dialog).to_have_count(0)
        await expect(page.get_by_role("log")).to_contain_text("leaves")
        planned = service.api("GET", f"/conversations/{conversation['id']}/messages?limit=1")[
            "data"
        ][0]
        assert planned["status"] == "queued"
        assert planned["send_at"] is not None
        await page.get_by_role("log").get_by_role("button", name="Undo").click()
        await expect(page.get_by_role("log")).to_contain_text("Taken back")
        await expect(answer_of(page)).to_have_value("Hello again")


@pytest.mark.usefixtures("colleague", "line")
async def test_note_mentions_a_colleague_who_gets_a_task(visit: Visit, service: Service) -> None:
    conversation = writes(service, "+16175550207", "Who came last year?", name="Nell")
    async with visit(f"/inbox/{conversation['id']}") as page:
        await page.get_by_role("log").get_by_text("Who came last year?").wait_for()
        await page.keyboard.press("n")
        note = page.get_by_role("textbox", name="Internal note")
        await note.press_sequentially("Please look, @Be")
        await page.get_by_role("button", name="@Ben").click()
        await note.press_sequentially("thanks")
        await note.press("Control+Enter")
        log = page.get_by_role("log")
        await expect(log).to_contain_text("for Ben")
        await expect(log).to_contain_text("Olga")
        await expect(log).not_to_contain_text("olga@")

        await answer_of(page).blur()
        await page.keyboard.press("t")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("What to do").fill("Find the invoice")
        await dialog.get_by_label("Who does it").select_option("Ben")
        await dialog.get_by_role("button", name="Add task").click()
        beside = page.get_by_role("complementary", name="Person")
        await beside.get_by_label("Find the invoice").click()
        await expect(page.get_by_text("Task done: Find the invoice")).to_be_visible()
        await page.get_by_label("Assigned to").select_option("Ben")
        await expect(page.get_by_label("Assigned to")).to_have_value(
            next(one["id"] for one in service.api("GET", "/users")["data"] if one["name"] == "Ben")
        )

    notes = service.api("GET", f"/conversations/{conversation['id']}/notes")["data"]
    assert [one["name"] for one in notes[0]["mentions"]] == ["Ben"]
    assert wait_for(service, f"/tasks?conversation_id={conversation['id']}")["status"] == "done"


@pytest.mark.usefixtures("line")
async def test_several_conversations_are_changed_after_a_count(
    visit: Visit, service: Service
) -> None:
    conversations = [
        writes(service, f"+1617555021{n}", "Bulk hello", name=f"Bulk{n}") for n in range(3)
    ]
    async with visit("/inbox") as page:
        await page.get_by_role("button", name="Choose", exact=True).click()
        await expect(page.get_by_role("toolbar")).to_contain_text("0 chosen")
        for n in range(2):
            await page.get_by_label(f"Choose Bulk{n}").check()
        await page.get_by_role("button", name="Change", exact=True).click()
        await page.get_by_role("button", name="Done", exact=True).first.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("2 conversations become done.")
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Change 2").click()
        await expect(page.get_by_text("2 conversations changed.")).to_be_visible()

    assert [state_of(service, one)["state"] for one in conversations] == ["done", "done", "waiting"]


@pytest.mark.usefixtures("line")
async def test_pictures_are_received_and_sent(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    conversation = writes(service, "+16175550208", "Look at this crack", name="Pia")
    sandbox(service, "/receive", **{"from": "+16175550208", "text": "here", "media": [{}]})
    (tmp_path / "roof.png").write_bytes(drawn_picture(service))
    (tmp_path / "roof.gif").write_bytes(b"not a picture")
    async with visit(f"/inbox/{conversation['id']}", refused=(422,)) as page:
        shown = page.get_by_role("log").get_by_alt_text("Picture of the message")
        await expect(shown).to_be_visible(timeout=40_000)
        assert await shown.evaluate("(one) => one.decode().then(() => one.naturalWidth > 0)")

        chooser = page.locator("input[type=file]")
        await chooser.set_input_files(tmp_path / "roof.gif")
        failed = page.locator(".toast-failed")
        await failed.get_by_role("button", name="Close").click()
        await expect(failed).to_have_count(0)
        await chooser.set_input_files(tmp_path / "roof.png")
        await expect(page.get_by_alt_text("roof.png")).to_be_visible()
        await answer_of(page).fill("Is it this one?")
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(shown).to_have_count(2, timeout=20_000)


@pytest.mark.usefixtures("line")
async def test_details_of_the_person_are_beside_the_thread(visit: Visit, service: Service) -> None:
    conversation = writes(service, "+16175550209", "Hello there", name="Ines")
    person = conversation["contact"]["id"]
    address = {"street": "7 Bay Road", "city": "Quincy", "state": "MA", "postal_code": "02169"}
    made = service.api("POST", "/properties", json={"address": address, "year_built": 1921})
    body = {"contact_id": person}
    service.api("POST", f"/properties/{made['id']}/contacts", json=body)
    start = datetime.now(UTC) + timedelta(days=1)
    times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=1)).isoformat()}
    service.api("POST", "/appointments", json=body | times)
    quote = {"number": "Q-71", "amount_cents": 90_000, "status": "sent"}
    service.api("POST", "/quotes", json=body | quote)
    sandbox(service, "/calls", person="+16175550209", answered=False)
    async with visit(f"/inbox/{conversation['id']}") as page:
        beside = page.get_by_role("complementary", name="Person")
        for text in ("7 Bay Road", "built 1921", "May be texted", "Assessment", "Quote Q-71"):
            await expect(beside).to_contain_text(text)
        await expect(page.get_by_role("log")).to_contain_text("Missed call", timeout=15_000)
        await assert_accessible(page)
    async with visit(f"/inbox/{conversation['id']}", width=360) as page:
        await page.get_by_role("button", name="Person").click()
        await expect(page.get_by_role("dialog")).to_contain_text("7 Bay Road")
        await assert_fits(page)
        await assert_accessible(page)


@pytest.mark.usefixtures("line")
async def test_answer_with_a_placeholder_is_sent_only_after_a_question(
    visit: Visit, service: Service
) -> None:
    conversation = writes(service, "+16175550219", "When can you come?", name="Polly")
    async with visit(f"/inbox/{conversation['id']}") as page:
        log = page.get_by_role("log")
        await answer_of(page).fill("Hi {{ first_name }}, on Tuesday.")
        await answer_of(page).press("Control+Enter")
        await expect(page.get_by_text("The text has a placeholder in braces.")).to_be_visible()
        await assert_accessible(page)
        await answer_of(page).fill("Hi {{ first_name }}, on Monday.")
        await expect(page.get_by_text("The text has a placeholder in braces.")).to_have_count(0)
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(log).not_to_contain_text("first_name")
        await page.get_by_role("button", name="Send anyway").click()
        await expect(log).to_contain_text("Hi {{ first_name }}, on Monday.")


@pytest.mark.usefixtures("line")
async def test_task_that_is_due_in_the_past_is_added_only_after_a_question(
    visit: Visit, service: Service
) -> None:
    conversation = writes(service, "+16175550220", "Please call me.", name="Pam")
    tasks = f"/tasks?conversation_id={conversation['id']}"
    async with visit(f"/inbox/{conversation['id']}") as page:
        await answer_of(page).blur()
        await page.keyboard.press("t")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("What to do").fill("Call Pam")
        await dialog.get_by_label("Until").fill("2020-05-01T10:00")
        await dialog.get_by_role("button", name="Add task").click()
        await expect(dialog.get_by_text("This is in the past.")).to_be_visible()
        assert service.api("GET", tasks)["data"] == []
        await dialog.get_by_role("button", name="Add anyway").click()
        await expect(page.get_by_text("Task added.")).to_be_visible()

    assert len(service.api("GET", tasks)["data"]) == 1


def overlap(one: Any, other: Any) -> bool:
    """Return whether two boxes of the page have a common point."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


@pytest.mark.parametrize(("width", "number"), [(1280, "+16175550252"), (390, "+16175550254")])
@pytest.mark.usefixtures("line")
async def test_notice_covers_no_button_of_the_conversation(
    visit: Visit, service: Service, width: int, number: str
) -> None:
    conversation = writes(service, number, "Is Monday free?", name="Noa")
    async with visit(f"/inbox/{conversation['id']}", width=width, refused=(409,)) as page:

        async def refuse(route: Route) -> None:
            body = {"status": 409, "code": "x", "title": "x", "detail": "Not now. " * 20}
            await route.fulfill(status=409, json=body, content_type="application/problem+json")

        await page.route("**/v1/conversations/*", refuse)
        await page.get_by_role("button", name="Done", exact=True).click()
        notice = await page.locator(".toast-failed").bounding_box()
        buttons = page.locator(".answer button, .thread-head button")
        boxes = [await one.bounding_box() for one in await buttons.all()]

    assert len(boxes) > 5
    assert [box for box in boxes if box and overlap(box, notice)] == []


@pytest.mark.usefixtures("line")
async def test_conversation_is_assigned_on_a_phone(visit: Visit, service: Service) -> None:
    conversation = writes(service, "+16175550253", "Is Tuesday free?", name="Moe")
    async with visit(f"/inbox/{conversation['id']}", width=390) as page:
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.get_by_label("Assigned to").select_option(label="Me")
        await assert_fits(page)
        await assert_accessible(page)

    assert state_of(service, conversation)["assignee"]["name"] == "Olga"
