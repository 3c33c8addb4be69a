"""Browser tests of settings and operations, such as API keys, users and office hours."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.console.conftest import EMAIL, Service, Visit, assert_accessible, assert_fits

PARTS = [
    "/settings",
    "/settings?part=you",
    "/settings?part=provider",
    "/operations",
    "/operations?part=health",
    "/operations?part=events",
    "/operations?part=jobs",
    "/operations?part=reconciliation",
    "/operations?part=audit",
]


@pytest_asyncio.fixture
async def same_settings(service: Service) -> AsyncIterator[None]:
    """Restore the company settings after the test."""
    before = service.api("GET", "/settings")
    yield
    names = ("office_hours", "holidays", "away_reply", "brand", "carrier_budgets", "test_numbers")
    service.api("PATCH", "/settings", json={name: before[name] for name in names})


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 360)])
async def test_parts_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    service.api("POST", "/lines/sync")
    failed: list[str] = []
    async with visit("/settings?part=keys", theme=theme, width=width) as page:
        page.on("response", lambda one: failed.append(one.url) if one.status >= 400 else None)
        for path in PARTS:
            await page.goto(service.run.url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)

    assert failed == []


async def test_key_is_made_shown_once_rotated_and_revoked(visit: Visit, service: Service) -> None:
    async with visit("/settings?part=keys", refused=(422,)) as page:
        await page.get_by_role("button", name="New key").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name of a new key").fill("Website form")
        await dialog.get_by_role("button", name="Create the key").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("at least one scope")
        await dialog.get_by_label("contacts:write").check()
        await dialog.get_by_role("button", name="Create the key").click()
        await expect(page.locator(".secret")).to_contain_text("crm_")
        await page.get_by_role("button", name="Done").click()
        await expect(page.locator(".secret")).to_have_count(0)

        await page.get_by_role("button", name="Rotate Website form").click()
        await page.get_by_role("dialog").get_by_label("The old key ends").select_option("0")
        await page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        await expect(page.locator(".secret")).to_contain_text("crm_")
        await page.get_by_role("button", name="Done").click()
        await page.get_by_role("button", name="Revoke Website form").last.click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("does not work any more")).to_be_visible()

    keys = service.api("GET", "/api-keys?limit=100")["data"]
    assert not [one for one in keys if one["name"] == "Website form" and one["status"] == "active"]


async def test_user_gets_a_role_is_disabled_and_enabled(visit: Visit, service: Service) -> None:
    body = {"email": "bea@granite.example.com", "name": "Bea", "role": "viewer"}
    token = service.api("POST", "/users", json=body)["invitation_token"]
    accepted = {"token": token, "password": "another good one"}
    service.api("POST", "/auth/invitations/accept", json=accepted)
    async with visit("/settings?part=people") as page:
        await page.get_by_label("Role of Bea").select_option("manager")
        await expect(page.get_by_text("Bea is now manager.")).to_be_visible()
        await page.get_by_role("button", name="Disable Bea").click()
        await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        await expect(page.get_by_text("Bea can no longer sign in.")).to_be_visible()
        await page.get_by_role("button", name="Enable Bea").click()
        await expect(page.get_by_role("button", name="End the sessions of Bea")).to_be_visible()

    found = service.api("GET", "/users?limit=100")["data"]
    assert [(one["role"], one["status"]) for one in found if one["name"] == "Bea"] == [
        ("manager", "active")
    ]


@pytest.mark.usefixtures("same_settings")
async def test_hours_holidays_and_registration_are_saved(visit: Visit, service: Service) -> None:
    async with visit("/settings", refused=(422,)) as page:
        hours = page.get_by_role("region", name="Office hours")
        await hours.get_by_label("Always open").uncheck()
        await hours.get_by_label("Fri closes").fill("12:30")
        await hours.get_by_role("button", name="Add a holiday").click()
        await hours.get_by_label("Date of holiday 1").fill("2026-12-25")
        await hours.get_by_label("Name of holiday 1").fill("Christmas")
        await hours.get_by_label("Reply while the office is closed").fill("We answer on Monday.")
        await hours.get_by_role("button", name="Save the hours").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()

        carriers = page.get_by_role("region", name="Registration and budgets")
        await carriers.get_by_label("Tax ID (EIN)").fill("12")
        await carriers.get_by_label("T-Mobile, segments a day").fill("2000")
        await carriers.get_by_role("button", name="Add a vendor on T-Mobile").click()
        await carriers.get_by_label("Name of vendor 1 on T-Mobile").fill("Acme 1,000")
        save_carriers = carriers.get_by_role("button", name="Save the registration")
        # The browser refuses the form while a vendor has no segments.
        await save_carriers.click()
        await carriers.get_by_label("Segments a day of vendor 1 on T-Mobile").fill("500")
        await carriers.get_by_role("button", name="Add a vendor on AT&T").click()
        await carriers.get_by_label("Name of vendor 1 on AT&T").fill("Forms")
        await carriers.get_by_label("Segments a day of vendor 1 on AT&T").fill("20")
        await expect(carriers.get_by_text("count only with a limit")).to_be_visible()
        await save_carriers.click()
        assert service.api("GET", "/settings")["carrier_budgets"] == {}
        await carriers.get_by_role("button", name="Remove vendor 1 on AT&T").click()
        await carriers.get_by_role("button", name="Save the registration").click()
        await expect(carriers.locator(".field-error")).to_be_visible()
        await carriers.get_by_label("Tax ID (EIN)").fill("12-3456789")
        # The error and the sum of the vendors say nothing about the end of the save.
        async with page.expect_response(lambda one: one.request.method == "PATCH") as response:
            await carriers.get_by_role("button", name="Save the registration").click()
        assert (await response.value).ok
        await expect(carriers.locator(".field-error")).to_have_count(0)
        await expect(carriers.get_by_text("500 segments a day")).to_be_visible()

    saved = service.api("GET", "/settings")
    assert saved["office_hours"]["days"]["fri"] == [{"start": "08:00", "end": "12:30"}]
    assert saved["holidays"] == [{"date": "2026-12-25", "name": "Christmas"}]
    assert list(saved["carrier_budgets"]) == ["t_mobile"]
    budget = saved["carrier_budgets"]["t_mobile"]
    assert budget["daily_segments"] == 2000
    assert budget["other_vendors"] == [{"name": "Acme 1,000", "daily_segments": 500}]


@pytest.mark.usefixtures("same_settings")
async def test_forms_of_the_company_do_not_overwrite_the_changes_of_a_colleague(
    visit: Visit, service: Service
) -> None:
    before = service.api("GET", "/settings")
    async with visit("/settings", refused=(412,)) as page:
        hours = page.get_by_role("region", name="Office hours")
        reply = hours.get_by_label("Reply while the office is closed")
        company = page.get_by_role("region", name="Company", exact=True)
        await reply.fill("Mine")
        await company.get_by_label("Own numbers for test messages").fill("617-555-0101")
        holiday = {"date": "2026-12-25", "name": "Christmas"}
        service.api("PATCH", "/settings", json={"holidays": [holiday]})
        await company.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        # The save of another form keeps what was typed here.
        await expect(reply).to_have_value("Mine")
        await hours.get_by_role("button", name="Save the hours").click()
        await expect(hours.get_by_label("Name of holiday 1")).to_have_value("Christmas")

        await reply.fill("Mine again")
        service.api("PATCH", "/settings", json={"away_reply": "Theirs"})
        await hours.get_by_role("button", name="Save the hours").click()
        await expect(hours.get_by_text("Somebody else has changed this")).to_be_visible()
        await expect(reply).to_have_value("Mine again")
        await hours.get_by_role("button", name="Load the current values").click()
        await expect(reply).to_have_value("Theirs")

    after = service.api("GET", "/settings")
    assert (after["away_reply"], after["holidays"]) == ("Theirs", [holiday])
    assert after["test_numbers"] == ["+16175550101"]
    assert after["business_name"] == before["business_name"]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("same_settings")
async def test_provider_is_connected_step_by_step(visit: Visit) -> None:
    async with visit("/settings?part=provider", refused=(422,)) as page:
        lines = page.get_by_role("listitem", name="Lines")
        await lines.get_by_role("button", name="Read them from the provider").click()
        await expect(lines.get_by_text("Done")).to_be_visible()
        await expect(page.get_by_text("crm-api webhooks register")).to_be_visible()
        webhook = page.get_by_role("listitem", name="Webhook")
        await webhook.get_by_role("button", name="Check the registration").click()

        test = page.get_by_role("listitem", name="Test message")
        await test.get_by_label("Your own number").fill("12")
        await test.get_by_role("button", name="Send the test message").click()
        await expect(test.locator(".field-error")).to_be_visible()
        await test.get_by_label("Your own number").fill("+16175550282")
        await test.get_by_role("button", name="Send the test message").click()
        await expect(test.get_by_text("Sending and reports work.")).to_be_visible(timeout=30_000)


async def test_own_notices_are_chosen_and_a_wrong_password_is_refused(visit: Visit) -> None:
    async with visit("/settings?part=you", refused=(401, 403, 422)) as page:
        await page.get_by_label("A note mentions you: By mail").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await expect(page.get_by_label("A note mentions you: By mail")).to_be_checked()
        await page.reload()
        await expect(page.get_by_label("A note mentions you: By mail")).to_be_checked()
        await page.get_by_label("The current one").fill("not the right one")
        await page.get_by_label("A new one").fill("another good one")
        await page.get_by_role("button", name="Change it").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Settings")


async def test_endpoint_is_added_and_bad_address_refused(visit: Visit, service: Service) -> None:
    async with visit("/settings?part=webhooks", refused=(422,)) as page:
        await page.get_by_role("button", name="New endpoint").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Address of the endpoint").fill("http://10.0.0.1/")
        await dialog.get_by_role("button", name="Add").click()
        await expect(dialog.locator(".field-error")).to_be_visible()
        await dialog.get_by_label("Address of the endpoint").fill("https://hooks.example.com/crm")
        await dialog.get_by_label("opt_out").check()
        await dialog.get_by_role("button", name="Add").click()
        await expect(page.locator(".secret")).to_be_visible()
        await page.get_by_role("button", name="Done").click()
        await page.get_by_role("button", name="Open https://hooks.example.com/crm").click()
        await expect(page.get_by_text("Nothing was delivered yet.")).to_be_visible()
        await assert_accessible(page)
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("No other system gets events.")).to_be_visible()

    assert service.api("GET", "/webhook-endpoints")["data"] == []


async def test_audit_log_is_filtered_and_events_opened(visit: Visit, service: Service) -> None:
    service.api("POST", "/lists", json={"name": "For the log"})
    async with visit("/operations?part=audit&action=create_first_owner") as page:
        await expect(page.get_by_title(EMAIL).first).to_have_text("Olga")
        await page.goto(f"{service.run.url}/operations?part=audit")
        await page.get_by_role("button", name="Create list").first.click()
        await expect(page.get_by_label("What, exactly")).to_have_value("create_list")
        assert "action=create_list" in page.url
        await expect(page.locator("tbody tr").first).to_contain_text("Create list")
        await page.get_by_label("What, exactly").fill("no_such_action")
        await expect(page.get_by_text("No entry matches.")).to_be_visible()
        await page.get_by_role("link", name="Jobs and workers").click()
        await expect(page.get_by_text("Alive").first).to_be_visible()
        await page.get_by_role("link", name="Events of the provider").click()
        await page.get_by_label("Status").select_option("dead")
        await expect(page.get_by_text("No event has this status.")).to_be_visible()
