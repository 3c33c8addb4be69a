"""Browser tests of sign-in, sign-out, first owner, invitation, and unknown addresses."""

import re

from playwright.async_api import Browser, expect
from tests.console.conftest import (
    EMAIL,
    PASSWORD,
    Service,
    Visit,
    assert_accessible,
    assert_fits,
    open_window,
)
from tests.console.inbox_people import SECRET, add_user, signed_in

BUSY_FOR_A_SECOND = """
setTimeout(() => { const end = Date.now() + 1000; while (Date.now() < end); })
"""
EXPIRED_PEER = """
navigator.locks.request("crm-has-token", { mode: "shared" }, () => new Promise(() => {}));
window.channel = new BroadcastChannel("crm-session");
channel.onmessage = ({ data }) => {
  const token = { text: "expired", until: Date.now() - 1000 };
  if (data.kind === "ask") channel.postMessage({ kind: "token", token });
};
0
"""


async def test_visitor_signs_in_and_continues_at_the_requested_address(
    service: Service, browser: Browser
) -> None:
    async with open_window(browser) as page:
        await page.goto(f"{service.run.url}/campaigns?status=draft")
        await page.get_by_label("E-mail").fill(EMAIL)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()

        await expect(page.get_by_role("heading", level=1)).to_have_text("Campaigns")
        assert page.url.endswith("/campaigns?status=draft")
        assert re.search("crm-api$", await page.title())


async def test_wrong_password_is_refused_with_a_sentence(
    service: Service, browser: Browser
) -> None:
    async with open_window(browser, refused=(401,)) as page:
        await page.goto(f"{service.run.url}/sign-in")
        await page.get_by_label("E-mail").fill(EMAIL)
        await page.get_by_label("Password").fill("not the right one")
        await page.get_by_role("button", name="Sign in").click()

        await expect(page.get_by_role("alert")).to_contain_text("Check both")


async def test_sign_in_is_accessible_on_a_phone_in_the_dark_theme(
    service: Service, browser: Browser
) -> None:
    async with open_window(browser, theme="dark", width=360) as page:
        await page.goto(f"{service.run.url}/sign-in")
        await page.get_by_role("button", name="Sign in").wait_for()

        await assert_accessible(page)
        await assert_fits(page)


async def test_no_token_is_stored_where_scripts_can_read_it(visit: Visit) -> None:
    async with visit("/contacts") as page:
        kept = await page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        )

    assert "crm_csrf" in kept
    assert not re.search(r"crm_(at|rt|access|refresh)", kept)


async def test_second_tab_shares_the_session_without_renewing_it(
    visit: Visit, service: Service
) -> None:
    async with visit("/contacts") as page:
        second = await page.context.new_page()
        renewals: list[str] = []
        second.on("request", lambda one: renewals.append(one.url) if "refresh" in one.url else None)
        await page.evaluate(BUSY_FOR_A_SECOND)
        await second.goto(f"{service.run.url}/campaigns")
        await expect(second.get_by_role("heading", level=1)).to_have_text("Campaigns")
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")

    assert renewals == []


async def test_new_tab_renews_an_expired_token_of_another_tab(
    service: Service, browser: Browser
) -> None:
    async with open_window(browser, state=service.state) as page:
        await page.goto(f"{service.run.url}/healthz")
        await page.evaluate(EXPIRED_PEER)
        second = await page.context.new_page()
        await second.goto(f"{service.run.url}/campaigns")
        await expect(second.get_by_role("heading", level=1)).to_have_text("Campaigns")
        service.state = await page.context.storage_state()


async def test_invited_user_chooses_a_password_and_signs_out_of_all_tabs(
    service: Service, browser: Browser
) -> None:
    body = {"email": "ada@granite.example.com", "name": "Ada", "role": "viewer"}
    token = service.api("POST", "/users", json=body)["invitation_token"]
    async with open_window(browser) as page:
        await page.goto(f"{service.run.url}/accept-invitation?token={token}")
        await page.get_by_label("New password").fill("another good one")
        await page.get_by_role("button", name="Accept").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Today")
        await page.get_by_role("link", name="Contacts").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")
        await expect(page.get_by_role("button", name="New contact")).to_have_count(0)
        second = await page.context.new_page()
        await second.goto(f"{service.run.url}/contacts")

        await page.get_by_role("button", name="Your account").click()
        await page.get_by_role("button", name="Sign out", exact=True).click()

        await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        await expect(second.get_by_role("button", name="Sign in")).to_be_visible()


async def test_language_of_the_browser_is_kept_for_a_new_user(
    service: Service, browser: Browser
) -> None:
    body = {"email": "sol@granite.example.com", "name": "Sol", "role": "viewer"}
    token = service.api("POST", "/users", json=body)["invitation_token"]
    async with open_window(browser, locale="es-MX") as page:
        await page.goto(f"{service.run.url}/accept-invitation?token={token}")
        await page.get_by_label("Contraseña nueva").fill(SECRET)
        await page.get_by_role("button", name="Aceptar").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Hoy")
    async with signed_in(service, browser, body["email"], "/contacts") as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contactos")


async def test_language_of_a_user_is_not_replaced_by_that_of_the_browser(
    service: Service, browser: Browser
) -> None:
    email = add_user(service, "Luz", "viewer")
    async with signed_in(service, browser, email, "/contacts") as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")
    async with signed_in(service, browser, email, "/contacts", locale="es-MX") as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")


async def test_forgotten_password_is_replaced_by_the_link_of_an_owner(
    service: Service, visit: Visit, browser: Browser
) -> None:
    email = add_user(service, "Fay", "viewer")
    async with open_window(browser, width=360) as page:
        await page.goto(f"{service.run.url}/sign-in")
        await page.get_by_role("button", name="Forgotten your password?").click()
        await expect(page.get_by_text("This service sends no mail")).to_be_visible()
        await expect(page.locator(".secret")).to_contain_text("crm-api users reset-password")
        await expect(page.get_by_role("button", name="Send the link")).to_have_count(0)
        await assert_accessible(page)
        await assert_fits(page)
        async with visit("/settings?part=people") as owners:
            await owners.get_by_role("button", name="New password for Fay").click()
            link = await owners.locator(".secret").inner_text()
        await page.goto(link)
        await page.get_by_label("New password").fill("a third good one")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Today")
        assert service.api("GET", "/colleagues")
        again = service.call(
            "POST", "/auth/token", data={"username": email, "password": "a third good one"}
        )
        assert again.status_code == 200


async def test_link_of_the_first_owner_works_once(service: Service) -> None:
    link = re.search(r"/welcome#(\S+)", service.run.output)
    assert link is not None
    body = {"token": link[1], "email": "eve@example.com", "name": "Eve", "password": PASSWORD}

    again = service.call("POST", "/auth/first-owner", json=body)
    forged = service.call("POST", "/auth/first-owner", json=body | {"token": "x"})

    assert (again.status_code, again.json()["code"]) == (409, "owner_exists")
    assert (forged.status_code, forged.json()["code"]) == (422, "ticket_over")


async def test_unknown_address_has_its_own_page(service: Service, browser: Browser) -> None:
    async with open_window(browser, refused=(404,)) as page:
        answer = await page.goto(f"{service.run.url}/no-such-page")

        assert answer is not None
        assert answer.status == 404
        await expect(page.get_by_role("heading", level=1)).to_have_text("This page does not exist")
