"""Browser tests of campaigns: write, check, approve, repeat, rename, copy, find."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits

HERE = "Hi {{ first_name }}, Granite here. A free look? Reply STOP to opt out."


@pytest_asyncio.fixture(scope="session")
async def people(service: Service) -> Any:
    """Create a list of three people: Ines, Ravi and Tom. Tom has opted out."""
    service.api("POST", "/lines/sync")
    ids = [
        service.api("POST", "/contacts", json={"phone": f"617-555-026{n}", "first_name": name})[
            "id"
        ]
        for n, name in enumerate(("Ines", "Ravi", "Tom"))
    ]
    service.api("POST", f"/contacts/{ids[2]}/opt-out", json={"reason": "asked by phone"})
    made = service.api("POST", "/lists", json={"name": "Porches"})
    service.api("POST", f"/lists/{made['id']}/contacts", json={"contact_ids": ids})
    return made


@pytest_asyncio.fixture
async def approval_needed(service: Service) -> AsyncIterator[None]:
    service.api("PATCH", "/settings", json={"require_approval": True})
    yield
    service.api("PATCH", "/settings", json={"require_approval": False})


async def write(page: Page, people: Any, name: str) -> None:
    """Fill in the required fields of the form for a new campaign."""
    await page.get_by_label("Name of the campaign").fill(name)
    await page.get_by_label("To", exact=True).select_option(f"list:{people['id']}")
    # Another test may have sent messages to these people before.
    await page.get_by_label("People who got a message from you before").select_option("send")
    await page.get_by_role("textbox", name="Message", exact=True).fill(HERE)


def draft(service: Service, people: Any, name: str, **more: Any) -> Any:
    """Create a draft of a campaign through the API, with the admin key."""
    body = {
        "name": name,
        "line_id": service.api("GET", "/lines")["data"][0]["id"],
        "audience": {"list_id": people["id"]},
        "variants": [{"name": "A", "body": HERE, "weight": 100}],
        "schedule": {"window": {"start": "00:00", "end": "24:00"}},
        "rules": {"previously_contacted": "send"},
    }
    return service.api("POST", "/campaigns", json=body | more)


@pytest.mark.timeout(180)
async def test_campaign_with_all_its_parts_is_checked_before_it_starts(
    visit: Visit, service: Service, people: Any
) -> None:
    async with visit("/campaigns/new", refused=(422,)) as page:
        await write(page, people, "Porches in spring")
        await page.get_by_label("Kind").select_option("mixed")
        await page.get_by_label("Message for people who know you").fill("Hello again! " + HERE)
        await page.get_by_role("button", name="Follow up who does not answer").click()
        await page.get_by_label("Follow-up", exact=True).fill("Shall we call you?")
        await page.get_by_label("Repeats").select_option("own")
        await page.get_by_label("Rule (RFC 5545)").fill("FREQ=SOMETIMES")
        await expect(page.locator(".field-error")).to_be_visible()
        await page.get_by_label("Repeats").select_option("FREQ=WEEKLY")
        await page.get_by_label("How many times").fill("3")
        preview = page.get_by_role("complementary", name="Preview")
        await preview.get_by_role("searchbox").fill("Ravi")
        await preview.get_by_role("button", name="Ravi").click()
        await expect(preview).to_contain_text("Hi Ravi, Granite here.")
        await assert_accessible(page)
        await page.get_by_role("button", name="Review and start").click()

        check = page.get_by_role("region", name="Before it starts")
        await expect(check.locator("[data-part=would_be_texted]")).to_have_attribute(
            "data-value", "2"
        )
        await expect(check.get_by_role("link", name="Tom")).to_be_visible()
        await expect(
            page.get_by_role("region", name="Repeats").get_by_role("listitem")
        ).to_have_count(2)
        await check.get_by_text("that it obeys while it sends").click()
        await expect(check).to_contain_text("Daily limit of the line")
        await assert_accessible(page)
        await page.set_viewport_size({"width": 360, "height": 800})
        await assert_fits(page)
        # Find the campaign by its id: the job drafts later occurrences with the same name.
        made = service.api("GET", f"/campaigns/{page.url.rsplit('/', 1)[1]}")

    assert made["kind"] == "mixed"
    assert [one["for_known"] for one in made["variants"]] == [False, True]
    assert made["recurrence"]["rrule"] == "FREQ=WEEKLY;COUNT=3"
    assert len(made["follow_ups"]) == 1


@pytest.mark.timeout(180)
async def test_draft_is_changed_then_started(visit: Visit, service: Service, people: Any) -> None:
    made = draft(service, people, "Gutters")
    async with visit(f"/campaigns/{made['id']}") as page:
        await page.get_by_role("link", name="Change it").click()
        await page.get_by_role("textbox", name="Message", exact=True).fill(
            "Hello {{ first_name }}. " + HERE
        )
        await page.get_by_role("button", name="Review and start").click()
        check = page.get_by_role("region", name="Before it starts")
        await expect(check.locator(".phone-text")).to_contain_text("Hello")
        await check.get_by_role("button", name="Start sending").click()
        await expect(page.locator("[data-figure=recipients_total]")).to_have_attribute(
            "data-value", "3"
        )

        await page.get_by_role("link", name="Skipped").click()
        people_of = page.get_by_role("region", name="People")
        await expect(people_of.get_by_role("link", name="Tom")).to_be_visible()
        await expect(people_of).not_to_contain_text("Ines")
        await expect(page.get_by_role("meter", name="Opt-outs")).to_be_visible()

    assert service.api("GET", f"/campaigns/{made['id']}")["status"] != "draft"


@pytest.mark.usefixtures("approval_needed")
async def test_campaign_is_approved_by_another_person_than_its_author(
    visit: Visit, service: Service, people: Any
) -> None:
    async with visit("/campaigns/new", refused=(403,)) as page:
        await write(page, people, "Chimneys")
        await page.get_by_role("button", name="Review and start").click()
        await expect(page.get_by_role("button", name="Start sending")).to_be_disabled()
        await page.get_by_role("button", name="Ask for approval").click()
        await expect(page.get_by_text("A task for everybody")).to_be_visible()

        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_text("You wrote it")).to_be_visible()
        made = service.api("GET", "/campaigns?q=chimneys")["data"][0]
        service.api("POST", f"/campaigns/{made['id']}/approve")
        await page.reload()

        await expect(page.get_by_text("Approved by")).to_be_visible()
        await expect(page.get_by_role("button", name="Start sending")).to_be_enabled()

    theirs = draft(service, people, "Their chimneys")
    async with visit(f"/campaigns/{theirs['id']}") as page:
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_text("Approved by Olga")).to_be_visible()

    assert any("Chimneys" in one["title"] for one in service.api("GET", "/tasks")["data"])


async def test_campaign_that_has_ended_is_renamed_archived_and_copied(
    visit: Visit, service: Service, people: Any
) -> None:
    made = draft(service, people, "Wrong name")
    service.api("POST", f"/campaigns/{made['id']}/start")
    service.api("POST", f"/campaigns/{made['id']}/cancel")
    async with visit(f"/campaigns/{made['id']}") as page:
        more = page.get_by_role("button", name="More for this campaign")
        await more.click()
        await page.get_by_role("button", name="Rename").click()
        await page.get_by_role("dialog").get_by_label("Name of the campaign").fill("Right name")
        await page.get_by_role("dialog").get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Right name")
        await more.click()
        await page.get_by_role("button", name="Archive", exact=True).click()
        await expect(page.locator("header").get_by_text("Archived")).to_be_visible()
        await more.click()
        await page.get_by_role("button", name="Copy as a draft").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Right name (copy)")

        await page.get_by_role("link", name="Back to the campaigns").click()
        await page.get_by_role("searchbox").fill("right name")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(1)
        await page.get_by_label("Archived").check()
        await expect(rows).to_have_count(1)
        await expect(rows.first).to_contain_text("Cancelled")
        assert "archived=yes" in page.url

    assert service.api("GET", f"/campaigns/{made['id']}")["archived"] is True


async def test_list_is_sorted_and_filtered_by_its_address(
    visit: Visit, service: Service, people: Any
) -> None:
    for name in ("Zinc roofs", "Alder fences"):
        draft(service, people, name)
    async with visit("/campaigns?status=draft&sort=name") as page:
        names = page.locator("tbody tr td:first-child")
        await expect(names.first).to_have_text("Alder fences")
        await page.get_by_label("Sort").select_option("-name")
        await expect(names.first).to_have_text("Zinc roofs")
        await page.get_by_label("Made since").fill("2090-01-01")

        await expect(page.get_by_role("heading", name="No campaign matches")).to_be_visible()
        await assert_accessible(page)


def text_of(name: str, body: str) -> dict[str, Any]:
    return {"name": name, "variants": [{"name": "A", "body": body, "weight": 100}]}


@pytest.mark.timeout(180)
async def test_draft_that_a_colleague_changes_is_checked_again_before_it_starts(
    visit: Visit, service: Service, people: Any
) -> None:
    made = draft(service, people, "Cellars")
    path = f"/campaigns/{made['id']}"
    async with visit(path, refused=(412,)) as page:
        check = page.get_by_role("region", name="Before it starts")
        await expect(check.locator(".phone-text")).to_contain_text("A free look?")
        start = check.get_by_role("button", name="Start sending")
        await expect(start).to_be_enabled()

        # The page reads a draft every five seconds. So the start comes before the next read.
        service.api("PATCH", path, json=text_of("Cellars", "Second text. " + HERE))
        await start.click()
        await expect(page.get_by_text("so it was not started")).to_be_visible()
        await expect(check.locator(".phone-text")).to_contain_text("Second text.")
        assert service.api("GET", path)["status"] == "draft"
        await expect(start).to_be_disabled()
        await assert_accessible(page)
        await check.get_by_role("button", name="I have checked it").click()
        await expect(start).to_be_enabled()

        service.api("PATCH", path, json=text_of("Cellars", "Third text. " + HERE))
        await expect(check.get_by_text("Somebody has changed this draft")).to_be_visible()
        await expect(check.locator(".phone-text")).to_contain_text("Third text.")
        await check.get_by_role("button", name="I have checked it").click()
        await start.click()
        await expect(page.get_by_text("Started.", exact=True)).to_be_visible()

    assert service.api("GET", path)["status"] != "draft"


async def test_form_of_a_draft_does_not_overwrite_the_changes_of_a_colleague(
    visit: Visit, service: Service, people: Any
) -> None:
    made = draft(service, people, "Dormers")
    path = f"/campaigns/{made['id']}"
    message = "Theirs. " + HERE
    async with visit(f"/campaigns/new?draft={made['id']}", refused=(412,)) as page:
        await page.get_by_label("Name of the campaign").fill("Dormers in May")
        service.api("PATCH", path, json=text_of("Dormers", message))
        await page.get_by_role("button", name="Review and start").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Dormers in May")
    both = service.api("GET", path)
    assert (both["name"], both["variants"][0]["body"]) == ("Dormers in May", message)

    async with visit(f"/campaigns/new?draft={made['id']}", refused=(412,)) as page:
        text = page.get_by_role("textbox", name="Message", exact=True)
        await text.fill("Mine. " + HERE)
        service.api("PATCH", path, json=text_of("Dormers in May", "Newer. " + HERE))
        save = page.get_by_role("button", name="Review and start")
        await save.click()
        await expect(page.get_by_text("Somebody else has changed this meanwhile.")).to_be_visible()
        await expect(text).to_have_value("Mine. " + HERE)
        assert service.api("GET", path)["variants"][0]["body"] == "Newer. " + HERE
        await page.get_by_role("button", name="Load the current values").click()
        await expect(text).to_have_value("Newer. " + HERE)

        await text.fill("Mine again. " + HERE)
        service.api("PATCH", path, json=text_of("Dormers in May", "Newest. " + HERE))
        await save.click()
        await expect(page.get_by_text("Somebody else has changed this meanwhile.")).to_be_visible()
        await save.click()
        await expect(page.get_by_text("The draft is saved.")).to_be_visible()

    assert service.api("GET", path)["variants"][0]["body"] == "Mine again. " + HERE


async def test_each_tab_keeps_its_own_new_campaign(visit: Visit, service: Service) -> None:
    async with visit("/campaigns/new") as page:
        name = page.get_by_label("Name of the campaign")
        await name.fill("First tab")
        other = await page.context.new_page()
        await other.goto(service.run.url + "/campaigns/new")
        others = other.get_by_label("Name of the campaign")
        await expect(others).to_have_value("")
        await others.fill("Second tab")
        await page.reload()
        await expect(name).to_have_value("First tab")
        await other.reload()
        await expect(others).to_have_value("Second tab")
        # Nobody has closed a tab, so no text is offered.
        await expect(page.get_by_text("A closed window left text")).to_have_count(0)

        await other.close()
        await page.reload()
        await expect(page.get_by_text("A closed window left text")).to_contain_text("Second tab")
        await page.get_by_role("button", name="Continue with it").click()
        await expect(name).to_have_value("Second tab")
        await expect(page.get_by_text("A closed window left text")).to_contain_text("First tab")
        await page.get_by_role("button", name="Delete it").click()
        await expect(page.get_by_text("A closed window left text")).to_have_count(0)
        await page.get_by_role("button", name="Empty the form").click()
        await expect(name).to_have_value("")
        await page.reload()
        await expect(name).to_have_value("")
        stored = await page.evaluate("Object.keys(localStorage)")
        assert [one for one in stored if one.startswith("crm-new-campaign")] == []


async def test_paused_campaign_is_archived_only_after_a_question(
    visit: Visit, service: Service, people: Any
) -> None:
    made = draft(service, people, "Sheds", schedule={"start_at": "2099-01-01T10:00:00Z"})
    path = f"/campaigns/{made['id']}"
    service.api("POST", f"{path}/start")
    async with visit(path) as page:
        await expect(page.locator("[data-figure=recipients_total]")).to_have_attribute(
            "data-value", "3"
        )
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        counts = service.api("GET", f"{path}/stats")["by_status"]
        await page.get_by_role("button", name="More for this campaign").click()
        await page.get_by_role("button", name="Archive", exact=True).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(f"{counts['pending']} people still wait")
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Go back").click()
        assert service.api("GET", path)["archived"] is False

        await page.get_by_role("button", name="More for this campaign").click()
        await page.get_by_role("button", name="Archive", exact=True).click()
        await dialog.get_by_role("button", name="Archive").click()
        await expect(page.locator("header").get_by_text("Archived")).to_be_visible()

    assert counts["pending"] > 1
    assert service.api("GET", path)["archived"] is True
