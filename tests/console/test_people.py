"""Browser tests of segments, changes of many contacts, merges, and the page of a contact."""

import pytest
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.people import person


async def choose(page: Page, label: str, value: str, *, nth: int = 0) -> None:
    await page.get_by_label(label, exact=True).nth(nth).select_option(value)


async def test_segment_is_built_explained_renamed_and_deleted(
    visit: Visit, service: Service
) -> None:
    person(service, "617-555-0130", first_name="Ida", address={"city": "Weston"})
    person(service, "617-555-0131", first_name="Max", address={"city": "Weston"})
    person(service, "617-555-0132", first_name="Una", address={"city": "Natick"}, tags=["vip"])
    async with visit("/segments") as page:
        await page.get_by_role("link", name="New segment").click()
        await page.get_by_label("Name of the segment").fill("Weston")
        await choose(page, "Field", "city")
        await page.get_by_label("Value", exact=True).fill("weston")
        count = page.locator("[data-part=segment-count]")
        await expect(count).to_have_attribute("data-value", "2")

        await page.get_by_role("button", name="Group").click()
        await choose(page, "How the rules combine", "any")
        await choose(page, "Field", "tags", nth=1)
        await choose(page, "Comparison", "contains_any", nth=1)
        await choose(page, "Add a value", "vip")
        await expect(count).to_have_attribute("data-value", "3")
        await assert_accessible(page)
        await page.reload()
        await expect(page.get_by_label("Name of the segment")).to_have_value("Weston")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Weston")

        await page.get_by_role("button", name="Why Una is in it").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("In the segment")
        await expect(dialog).to_contain_text("has Natick")
        await page.keyboard.press("Escape")
        await page.get_by_label("Name of the segment").fill("Weston and guests")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Weston and guests")
        made = service.api("GET", "/segments")["data"][0]
        assert made["name"] == "Weston and guests"

        await page.get_by_role("link", name="Show the contacts").click()
        await expect(page.locator("[data-part=contacts]")).to_have_text("3")
        await page.go_back()
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="No segments yet")).to_be_visible()

    assert service.api("GET", "/segments")["data"] == []


async def test_negated_groups_are_explained_by_their_meaning(
    visit: Visit, service: Service
) -> None:
    person(service, "351-555-0133", first_name="Eve", address={"city": "Hull"})
    rules = [{"field": "city", "op": "eq", "value": city} for city in ("Weston", "Salem")]
    for join, heading in (("all", "Not all of these"), ("any", "None of these")):
        wanted = {"all": [{"field": "city", "op": "eq", "value": "Hull"}, {"not": {join: rules}}]}
        made = service.api("POST", "/segments", json={"name": join, "filter": wanted})
        async with visit(f"/segments?id={made['id']}") as page:
            await page.get_by_role("button", name="Why Eve is in it").click()
            await expect(page.get_by_role("dialog")).to_contain_text(heading)
        service.api("DELETE", f"/segments/{made['id']}")


async def test_faulty_rule_is_marked_with_the_sentence_of_the_api(visit: Visit) -> None:
    async with visit("/segments?id=new", refused=(422,)) as page:
        await choose(page, "Field", "phone")
        await page.get_by_label("Value", exact=True).fill("12")

        await expect(page.locator(".rule .field-error")).to_be_visible()
        await page.get_by_role("button", name="Undo the changes").click()
        await expect(page.locator(".rule .field-error")).to_have_count(0)


async def test_segment_that_a_draft_uses_names_the_draft_and_is_not_deleted(
    visit: Visit, service: Service
) -> None:
    line = service.api("POST", "/lines/sync")["data"][0]["id"]
    rule = {"field": "city", "op": "eq", "value": "Weston"}
    made = service.api("POST", "/segments", json={"name": "Old roofs", "filter": {"all": [rule]}})
    body = {
        "name": "Roof check",
        "line_id": line,
        "audience": {"segment_id": made["id"]},
        "variants": [{"name": "A", "body": "Hi!", "weight": 100}],
    }
    campaign = service.api("POST", "/campaigns", json=body)
    async with visit(f"/segments?id={made['id']}", refused=(409,)) as page:
        await expect(page.get_by_role("link", name="Roof check")).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Delete").click()

        await expect(dialog.get_by_role("link", name="Roof check")).to_be_visible()
    service.api("DELETE", f"/campaigns/{campaign['id']}")
    service.api("DELETE", f"/segments/{made['id']}")


async def bulk(page: Page, action: str, *fields: tuple[str, str]) -> None:
    """Open the dialog for the selected contacts, choose an action, and make a dry run of it."""
    await page.get_by_role("button", name="Change them").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("What to do").select_option(action)
    for label, value in fields:
        await dialog.get_by_label(label, exact=True).fill(value)
    await dialog.get_by_role("button", name="Try it").click()


async def test_tag_is_added_to_all_matches_and_removed_by_undo(
    visit: Visit, service: Service
) -> None:
    made = [
        person(service, f"617-555-011{n}", first_name=f"Pia{n}", last_name="Bulkson")
        for n in range(3)
    ]
    async with visit("/contacts?q=Bulkson") as page:
        await page.get_by_role("button", name="Select all that match").click()
        assert page.url.endswith("pick=all")
        await bulk(page, "tag", ("Tag", "spring"))
        dialog = page.get_by_role("dialog")
        await expect(dialog.locator("[data-figure=matched]")).to_have_attribute("data-value", "3")
        assert service.api("GET", f"/contacts/{made[0]['id']}")["tags"] == []
        await assert_accessible(page)

        await dialog.get_by_role("button", name="Change 3 contacts").click()
        await expect(dialog).to_contain_text("3 contacts changed.")
        assert service.api("GET", f"/contacts/{made[0]['id']}")["tags"] == ["spring"]
        await dialog.get_by_role("button", name="Undo").click()
        await expect(dialog).to_contain_text("3 contacts put back.")

    assert service.api("GET", f"/contacts/{made[2]['id']}")["tags"] == []


async def test_picked_contacts_join_a_list_and_all_are_opted_out_after_a_dry_run(
    visit: Visit, service: Service
) -> None:
    made = [
        person(service, f"617-555-012{n}", first_name=f"Rex{n}", last_name="Pickford")
        for n in range(3)
    ]
    async with visit("/contacts?q=Pickford", refused=(409,)) as page:
        for n in range(2):
            await page.get_by_role("checkbox", name=f"Select Rex{n} Pickford").check()
        await page.get_by_role("button", name="Change them").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("What to do").select_option("list")
        await dialog.get_by_label("List", exact=True).select_option("new")
        await dialog.get_by_label("Name of the new list").fill("Rexes")
        await dialog.get_by_role("button", name="Try it").click()
        await dialog.get_by_role("button", name="Change 2 contacts").click()
        await expect(dialog).to_contain_text("2 contacts changed.")
        await dialog.get_by_role("button", name="Close").last.click()
        lists = {one["name"]: one for one in service.api("GET", "/lists")["data"]}
        assert lists["Rexes"]["contact_count"] == 2

        await page.get_by_role("button", name="Select all that match").click()
        await bulk(page, "opt_out", ("Reason", "Asked on the phone"))
        figure = dialog.locator("[data-figure=newly_opted_out]")
        await expect(figure).to_have_attribute("data-value", "3")
        service.api("POST", f"/contacts/{made[0]['id']}/opt-out", json={"reason": "by hand"})
        await dialog.get_by_role("button", name="Change 3 contacts").click()
        await expect(dialog.get_by_role("alert")).to_be_visible()
        assert service.api("GET", f"/contacts/{made[1]['id']}")["opted_out"] is False

        await dialog.get_by_label("Reason", exact=True).fill("Asked on the phone")
        await dialog.get_by_role("button", name="Try it").click()
        await dialog.get_by_role("button", name="Change 2 contacts").click()
        await expect(dialog).to_contain_text("2 contacts changed.")

    assert service.api("GET", f"/contacts/{made[1]['id']}")["opted_out"] is True


async def test_segment_is_marked_do_not_contact_and_released(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0126", first_name="Sal", company="Nomore Inc")
    rule = {"field": "company", "op": "eq", "value": "Nomore Inc"}
    body = {"name": "Nomore", "filter": {"all": [rule]}}
    segment = service.api("POST", "/segments", json=body)["id"]
    async with visit(f"/contacts?segment={segment}&pick=all") as page:
        await bulk(page, "do_not_contact", ("Reason", "Wrote a letter"))
        dialog = page.get_by_role("dialog")
        figure = dialog.locator("[data-figure=newly_suppressed]")
        await expect(figure).to_have_attribute("data-value", "1", timeout=30_000)
        await dialog.get_by_role("button", name="Change 1 contact").click()
        await expect(dialog).to_contain_text("1 contact changed.", timeout=30_000)
        assert service.api("GET", f"/contacts/{one['id']}")["flags"] == ["do_not_contact"]
        await dialog.get_by_role("button", name="Undo").click()
        await expect(dialog).to_contain_text("1 contact put back.")

    assert service.api("GET", f"/contacts/{one['id']}")["flags"] == []
    service.api("DELETE", f"/segments/{segment}")


async def test_two_contacts_are_merged_side_by_side_and_separated(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0133", first_name="Ann", last_name="Twin", tags=["a"])
    two = person(
        service, "617-555-0134", first_name="Anna", last_name="Twin", email="anna@example.com"
    )
    async with visit("/contacts?q=Twin") as page:
        await page.get_by_role("checkbox", name="Select Ann Twin").check()
        await page.get_by_role("checkbox", name="Select Anna Twin").check()
        await page.get_by_role("link", name="Merge them").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.locator("[data-part=merged]")).to_have_attribute("data-value", "1")
        await dialog.get_by_label("Ann Twin").check()
        await dialog.get_by_role("row", name="First name").get_by_label("Anna").check()
        await expect(dialog.locator("[data-part=merged]")).to_have_attribute("data-value", "1")
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Merge").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Anna Twin")
        merged = service.api("GET", f"/contacts/{one['id']}")
        assert merged["email"] == "anna@example.com"
        assert service.api("GET", f"/contacts/{two['id']}")["id"] == one["id"]

        await page.get_by_role("button", name="Undo", exact=True).click()
        await expect(page.get_by_text("They are two contacts again.")).to_be_visible()

    again = service.api("GET", f"/contacts/{one['id']}")
    assert (again["first_name"], again["email"]) == ("Ann", None)
    assert service.api("GET", f"/contacts/{two['id']}")["first_name"] == "Anna"


async def test_contact_shows_consent_with_proof_engagement_and_sales(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0135", first_name="Vic")
    service.api(
        "POST",
        f"/contacts/{one['id']}/opt-out",
        json={"reason": "Enough", "evidence": {"form": "paper"}},
    )
    quote = {"number": "Q-77", "contact_id": one["id"], "amount_cents": 125_000, "status": "sent"}
    service.api("POST", "/quotes", json=quote)
    async with visit(f"/contacts/{one['id']}", refused=(422,)) as page:
        await expect(page.get_by_role("heading", name="Engagement")).to_be_visible()
        await expect(page.get_by_text("Q-77").first).to_be_visible()
        await page.get_by_text("Evidence").click()
        await expect(page.get_by_text("paper")).to_be_visible()
        await page.get_by_role("button", name="Proof").click()
        proof = page.locator("[data-part=proof]")
        await expect(proof).to_have_attribute("data-value", "ok")
        await page.keyboard.press("Escape")

        await page.get_by_role("button", name="Record").click()
        await page.get_by_label("Amount in dollars").fill("99999999999")
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".field-error")).to_be_visible()
        await page.get_by_label("Amount in dollars").fill("1850")
        await page.get_by_role("button", name="Record").click()
        await expect(page.get_by_text("The outcome is recorded.")).to_be_visible()
        await page.get_by_role("button", name="Reverse Job done").click()
        await expect(page.get_by_text("Reversed", exact=True)).to_be_visible()
        await assert_accessible(page)

    kept = service.api("GET", f"/outcomes?contact_id={one['id']}")["data"]
    of_the_job = [row["amount_cents"] for row in kept if row["kind"] == "job_done"]
    assert sorted(of_the_job) == [-185_000, 185_000]


async def test_long_reason_of_a_flag_is_folded(visit: Visit, service: Service) -> None:
    one = person(service, "617-555-0186", first_name="Lou")
    reason = "Wrote that the neighbours, too, want no messages from us. " * 3
    flag = {"flag": "do_not_contact", "reason": reason.strip()}
    service.api("POST", f"/contacts/{one['id']}/flags", json=flag)
    async with visit(f"/contacts/{one['id']}") as page:
        text = page.get_by_text("Wrote that the neighbours")
        folded = await text.bounding_box()
        await page.get_by_role("button", name="Show all").click()
        await expect(page.get_by_role("button", name="Show less")).to_be_visible()
        opened = await text.bounding_box()
        await assert_accessible(page)

    assert folded
    assert opened
    assert folded["height"] < 70 < opened["height"]


async def test_form_of_a_new_contact_shows_faults_at_their_fields(
    visit: Visit, service: Service
) -> None:
    async with visit("/contacts", refused=(422,)) as page:
        await page.get_by_role("button", name="New contact").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Phone").fill("617-555-0136")
        await dialog.get_by_label("E-mail").fill("not an address")
        await dialog.get_by_role("button", name="Add", exact=True).click()
        await expect(dialog.locator(".field-error")).to_be_visible()
        await expect(dialog.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
        await dialog.get_by_label("E-mail").fill("kit@example.com")
        await dialog.get_by_label("City").fill("Quincy")
        await dialog.get_by_label("State").fill("MA")
        await dialog.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("(617) 555-0136")

    made = service.api("GET", "/contacts/by-phone/+16175550136")
    assert (made["email"], made["address"]["city"]) == ("kit@example.com", "Quincy")


SCREENS = [
    "/segments",
    "/segments?id=new",
    "/contacts?q=a&pick=all",
    "/imports",
    "/imports?kind=do_not_contact",
    "/imports/new",
    "/calendar",
    "/calendar?show=week",
    "/calendar?show=list",
    "/calendar?part=sharing",
]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
async def test_screens_of_people_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    failed: list[str] = []
    async with visit("/contacts", theme=theme, width=width) as page:
        page.on("response", lambda one: failed.append(one.url) if one.status >= 400 else None)
        for path in SCREENS:
            await page.goto(service.run.url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)

    assert failed == []


async def test_form_of_a_contact_does_not_overwrite_the_changes_of_a_colleague(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0185", first_name="Ada", company="Granite")
    path = f"/contacts/{one['id']}"
    async with visit(path, refused=(412,)) as page:
        dialog = page.get_by_role("dialog")
        await page.get_by_role("button", name="Edit", exact=True).click()
        await dialog.get_by_label("First name").fill("Adele")
        service.api("PATCH", path, json={"company": "Basalt"})
        await dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Adele")
        both = service.api("GET", path)
        assert (both["first_name"], both["company"]) == ("Adele", "Basalt")

        await page.get_by_role("button", name="Edit", exact=True).click()
        company = dialog.get_by_label("Company")
        await company.fill("Mine")
        service.api("PATCH", path, json={"company": "Theirs"})
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_text("Somebody else has changed this")).to_be_visible()
        await expect(company).to_have_value("Mine")
        await assert_accessible(page)
        assert service.api("GET", path)["company"] == "Theirs"
        await dialog.get_by_role("button", name="Load the current values").click()
        await expect(company).to_have_value("Theirs")
        await company.fill("Agreed")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog).to_have_count(0)

    assert service.api("GET", path)["company"] == "Agreed"


async def test_outcome_in_the_future_is_recorded_only_after_a_question(
    visit: Visit, service: Service
) -> None:
    one = person(service, "617-555-0188", first_name="Fay")
    async with visit(f"/contacts/{one['id']}") as page:
        outcomes = page.get_by_role("region", name="Outcomes")
        await outcomes.get_by_role("button", name="Record").click()
        await outcomes.get_by_label("When (").fill("2096-05-01T10:00")
        await outcomes.get_by_role("button", name="Record", exact=True).click()
        await expect(outcomes.get_by_text("This is in the future.")).to_be_visible()
        assert service.api("GET", f"/outcomes?contact_id={one['id']}")["data"] == []
        await outcomes.get_by_role("button", name="Record anyway").click()
        await expect(page.get_by_text("The outcome is recorded.")).to_be_visible()

    assert len(service.api("GET", f"/outcomes?contact_id={one['id']}")["data"]) == 1
