"""Browser tests of Today, the calendar, Insight, operations, settings and templates."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.inbox_people import add_user, signed_in
from tests.console.people import person

PARTS = [
    "/today",
    "/calendar",
    "/insight?by=campaign",
    "/operations",
    "/operations?part=health",
    "/operations?part=jobs",
    "/operations?part=audit",
    "/settings",
    "/settings?part=lines",
    "/settings?part=people",
    "/settings?part=keys",
    "/settings?part=webhooks",
    "/templates",
]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
async def test_parts_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    async with visit("/operations", theme=theme, width=width) as page:
        for path in PARTS:
            await page.goto(service.run.url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)


async def test_person_is_invited_with_a_link(visit: Visit, service: Service) -> None:
    async with visit("/settings?part=people") as page:
        await page.get_by_role("button", name="Invite", exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("Ivo")
        await dialog.get_by_label("E-mail").fill("ivo@granite.example.com")
        await dialog.get_by_role("button", name="Invite", exact=True).click()

        await expect(page.locator(".secret")).to_contain_text(
            f"{service.run.url}/accept-invitation?token="
        )


async def test_name_of_the_company_is_saved(visit: Visit, service: Service) -> None:
    async with visit("/settings") as page:
        await page.get_by_label("Name of the company").fill("Granite Foundations")
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("Saved.")).to_be_visible()

    assert service.api("GET", "/settings")["business_name"] == "Granite Foundations"


async def test_template_is_written_and_faulty_liquid_is_refused_at_its_field(
    visit: Visit,
) -> None:
    async with visit("/templates", refused=(422,)) as page:
        await page.get_by_role("button", name="New template").first.click()
        await page.get_by_label("Name", exact=True).fill("Autumn")
        await page.get_by_label("Message", exact=True).fill("Hi {{ first_name")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".field-error")).to_contain_text("The text has a fault at column")
        await expect(page.get_by_text("errors lists")).to_have_count(0)
        await page.get_by_label("Message", exact=True).fill("Hi {{ first_name } there }}")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".field-error")).to_have_text(
            "The text has a fault at column 18: unexpected '}'. A value is written as "
            "{{ first_name }}."
        )
        await page.get_by_label("Message", exact=True).fill("Hi {{ first_name }}")
        await page.get_by_role("button", name="Save").click()

        await expect(page.get_by_role("heading", level=1)).to_have_text("Autumn")


async def test_texts_are_spanish_after_the_language_is_chosen(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0187", first_name="Inés")
    quote = {"number": "Q-78", "contact_id": one["id"], "amount_cents": 90_000, "status": "sent"}
    service.api("POST", "/quotes", json=quote)
    async with visit("/settings?part=you") as page:
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.get_by_label("Language", exact=True).select_option("es")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Ajustes")
        await page.goto(f"{service.run.url}/contacts")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contactos")
        await assert_accessible(page)
        await page.goto(f"{service.run.url}/contacts/{one['id']}")
        await expect(page.get_by_text("Citas y presupuestos: 1.")).to_be_visible()
        await page.goto(f"{service.run.url}/settings?part=you")
        # The page changes before the response arrives. If the window closed before the response,
        # the request could be lost, and all later tests of this service would see Spanish texts.
        async with page.expect_response(lambda one: one.request.method == "PATCH"):
            await page.get_by_label("Idioma", exact=True).select_option("en")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Settings")


async def test_codes_of_the_api_are_shown_in_spanish(service: Service, browser: Browser) -> None:
    one = person(service, "617-555-0189", first_name="Abril")
    contact = f"/contacts/{one['id']}"
    service.api("POST", f"{contact}/flags", json={"flag": "office_number"})
    service.api("POST", f"{contact}/opt-out", json={"reason": "Enough"})
    start = datetime.now(UTC) + timedelta(minutes=1)
    times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=1)).isoformat()}
    service.api("POST", "/appointments", json={"contact_id": one["id"]} | times)
    email = add_user(service, "Ana", "owner")
    async with signed_in(service, browser, email, contact, locale="es-MX") as page:
        await expect(page.locator("header").get_by_text("Número de oficina")).to_be_visible()
        await expect(
            page.locator(".timeline").get_by_text("Baja · La consola u otro sistema")
        ).to_be_visible()
        await expect(page.locator(".timeline").get_by_text("Evaluación · ")).to_be_visible()
        await page.get_by_role("button", name="Su cuenta").click()
        await expect(page.locator(".menu-head")).to_contain_text("Propietario")
        await page.goto(f"{service.run.url}/operations?part=health")
        await expect(page.get_by_text("Base de datos")).to_be_visible()
        await page.goto(f"{service.run.url}/segments?id=new")
        await expect(page.get_by_role("option", name="Grado de interés").first).to_be_attached()
