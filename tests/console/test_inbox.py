"""Browser tests of the inbox: drafts, answers, keys, live messages, and its layout on a phone."""

from typing import Any

import httpx
import pytest
from playwright.async_api import expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits


def received(service: Service, phone: str, text: str) -> None:
    """Let a person of the sandbox send a message to the company."""
    httpx.post(
        f"http://127.0.0.1:{service.run.port + 1}/sandbox/receive",
        json={"from": phone, "text": text},
        timeout=10,
    ).raise_for_status()


@pytest.fixture(scope="session")
def phone_of_zoe(service: Service) -> Any:
    """Let the person Zoe send a question; return her phone number."""
    service.api("POST", "/lines/sync")
    service.api("POST", "/contacts", json={"phone": "617-555-0151", "first_name": "Zoe"})
    received(service, "+16175550151", "Are you open on Saturday?")
    return "+16175550151"


async def test_answer_is_drafted_sent_and_withdrawn(
    phone_of_zoe: str, visit: Visit, service: Service
) -> None:
    async with visit("/inbox") as page:
        await page.get_by_role("link", name="Zoe").click()
        await expect(page.get_by_role("log")).to_contain_text("Are you open on Saturday?")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Inbox")
        assert (await page.title()).endswith("crm-api")
        await assert_accessible(page)

        answer = page.get_by_role("textbox", name="Answer")
        await answer.fill("Yes, from nine")
        await expect(page.get_by_text("Draft", exact=True)).to_be_visible(timeout=10_000)
        await page.reload()
        await expect(answer).to_have_value("Yes, from nine")
        await answer.press("Enter")
        await answer.press_sequentially("to one.")
        await answer.press("Control+Enter")
        await page.get_by_role("log").get_by_role("button", name="Undo").click()
        await expect(page.get_by_text("The message was taken back.")).to_be_visible()
    (conversation,) = service.api("GET", f"/conversations?phone=%2B{phone_of_zoe[1:]}")["data"]
    assert conversation["state"] == "waiting"


@pytest.mark.usefixtures("phone_of_zoe")
async def test_keys_open_finish_and_reopen_a_conversation(visit: Visit) -> None:
    async with visit("/inbox?view=open") as page:
        await page.get_by_role("link", name="Zoe").wait_for()
        await page.keyboard.press("j")
        await page.get_by_role("log").wait_for()
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_contain_text("No single key sends")
        await page.keyboard.press("Escape")
        await page.keyboard.press("e")
        await expect(page.locator(".toast")).to_contain_text("Done.")
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.get_by_role("button", name="Undo").first.click()
        await expect(page.get_by_role("button", name="Done", exact=True)).to_be_visible()


async def test_new_message_appears_without_a_reload(
    phone_of_zoe: str, visit: Visit, service: Service
) -> None:
    async with visit("/inbox") as page:
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        received(service, phone_of_zoe, "Hello? Are you there?")
        await page.get_by_role("link", name="Zoe").click()

        await expect(page.get_by_role("log")).to_contain_text("Are you there?")


@pytest.mark.usefixtures("phone_of_zoe")
async def test_inbox_fits_a_phone_in_the_dark_theme(visit: Visit) -> None:
    async with visit("/inbox", theme="dark", width=360) as page:
        await page.get_by_role("link", name="Zoe").click()
        await page.get_by_role("log").wait_for()

        await assert_fits(page)
        await assert_accessible(page)
