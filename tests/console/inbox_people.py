"""Helpers of the browser tests: people who write to the company, and users who answer."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from playwright.async_api import Browser, Page
from tests.console.conftest import Service, open_window

SECRET = "another good one"  # noqa: S105 - of a user in a test


def sandbox(service: Service, path: str, **body: Any) -> None:
    """Call the control API of the sandbox process."""
    url = f"http://127.0.0.1:{service.run.port + 1}/sandbox{path}"
    httpx.post(url, json=body, timeout=10).raise_for_status()


def drawn_picture(service: Service) -> bytes:
    """Return a picture that the sandbox draws."""
    url = f"http://127.0.0.1:{service.run.port + 1}/media/roof.png"
    return httpx.get(url, timeout=10).raise_for_status().content


def wait_for(service: Service, path: str, *, seconds: float = 40.0) -> Any:
    """Read a list of the API until it has a row; return the first row."""
    ends_at = time.monotonic() + seconds
    while not (rows := service.api("GET", path)["data"]):
        assert time.monotonic() < ends_at, f"{path} stays empty"
        time.sleep(0.1)
    return rows[0]


def writes(service: Service, phone: str, *texts: str, name: str | None = None) -> Any:
    """Let a person send messages to the company; return the conversation with all messages.

    First wait until earlier answers in the conversation are sent. Otherwise such an answer could
    become the newest message.
    """
    if name is not None:
        service.api("POST", "/contacts", json={"phone": phone, "first_name": name})
    number = phone.replace("+", "%2B")
    for earlier in service.api("GET", f"/conversations?phone={number}")["data"]:
        wait_for_last(service, earlier, lambda last: last["status"] not in {"queued", "sending"})
    for text in texts:
        sandbox(service, "/receive", **{"from": phone, "text": text})
    conversation = wait_for(service, f"/conversations?phone={number}")
    if texts:
        wait_for_last(service, conversation, lambda last: last["body"] == texts[-1])
    return service.api("GET", f"/conversations/{conversation['id']}")


def wait_for_last(service: Service, conversation: Any, condition: Callable[[Any], bool]) -> None:
    """Wait until the newest message of the conversation meets the condition."""
    path = f"/conversations/{conversation['id']}/messages?limit=3"
    ends_at = time.monotonic() + 40
    while not condition((newest := service.api("GET", path)["data"])[0]):
        assert time.monotonic() < ends_at, newest
        time.sleep(0.1)


def add_user(service: Service, name: str, role: str) -> str:
    """Add a user who has accepted the invitation; return the e-mail address of the user."""
    email = f"{name.lower()}@granite.example.com"
    made = service.api("POST", "/users", json={"email": email, "name": name, "role": role})
    body = {"token": made["invitation_token"], "password": SECRET}
    service.api("POST", "/auth/invitations/accept", json=body)
    return email


@asynccontextmanager
async def signed_in(
    service: Service, browser: Browser, email: str, path: str, **options: Any
) -> AsyncIterator[Page]:
    """Open a new browser window, sign in as this user, and continue at ``path``."""
    async with open_window(browser, **options) as page:
        await page.goto(service.run.url + path)
        await page.locator("[name=email]").fill(email)
        await page.locator("[name=password]").fill(SECRET)
        await page.locator("button[type=submit]").click()
        await page.get_by_role("navigation", name="Main").wait_for()
        yield page
