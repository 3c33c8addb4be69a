"""Browser tests of Insight: funnel, cohorts, money, outcomes, holdouts and attribution rules."""

import csv
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.geometry import NEAR, chart_of
from tests.console.story import FIRST, PERIOD, ZONE

pytestmark = pytest.mark.usefixtures("story")
END = "2026-11-01T04"
QUESTION = {"from": FIRST, "to": "2026-11-01", "timezone": ZONE}


async def rows_of(page: Page, table: str) -> dict[str, list[str]]:
    """Return the texts of the cells of each table row, by the name of the row."""
    rows = page.get_by_role("table", name=table).locator("[data-row]")
    found: list[Any] = await rows.evaluate_all(
        "(all) => all.map((one) => [one.dataset.row,"
        " [...one.cells].map((cell) => cell.textContent.trim())])"
    )
    return dict(found)


async def test_funnel_matches_its_data_and_names_excluded_people(
    visit: Visit, service: Service
) -> None:
    found = service.api("GET", "/insight/funnel", params={**QUESTION, "window_days": 60})
    assert found["unripe"] > 0
    async with visit(f"/insight?part=funnel&days=60d&{PERIOD}") as page:
        await expect(page.locator("[data-unripe]")).to_have_attribute(
            "data-unripe", str(found["unripe"])
        )
        box = page.get_by_role("region", name="Funnel")
        people = await box.locator("[data-people]").evaluate_all(
            "(all) => all.map((one) => Number(one.dataset.people))"
        )
        assert people == [one["people"] for one in found["stages"]]
        chart = await chart_of(box)
        assert list(chart.marks) == [one["stage"] for one in found["stages"]]
        for one in found["stages"]:
            mark = chart.marks[one["stage"]]
            x, width, _, _ = mark["bar"]
            assert x + width == pytest.approx(chart.at(float(one["rate"]), "x"), abs=NEAR)
            ends = [chart.at(float(one[end]), "x") for end in ("low", "high")]
            assert mark["whisker"][:2] == pytest.approx(ends, abs=NEAR)


async def test_cohorts_mark_cells_whose_period_has_not_ended(
    visit: Visit, service: Service
) -> None:
    wanted = {**QUESTION, "stage": "replied", "bucket": "week", "step_days": 30, "steps": 8}
    found = service.api("GET", "/insight/cohorts", params=wanted)
    cells = [cell for one in found["cohorts"] for cell in one["cells"]]
    ripe = [cell["rate"] for cell in cells if cell["ripe"]]
    assert 0 < len(ripe) < len(cells)
    async with visit(f"/insight?part=cohorts&width=30d&{PERIOD}") as page:
        await expect(page.locator("[data-ripe]")).to_have_count(len(cells))
        rates = await page.locator("[data-ripe=true]").evaluate_all(
            "(all) => all.map((one) => one.dataset.rate)"
        )
        assert rates == ripe
        unripe = page.locator("[data-ripe=false]")
        await expect(unripe.first).to_have_text("not yet")
        assert "gradient" in await unripe.first.evaluate(
            "(one) => getComputedStyle(one).backgroundImage"
        )


async def test_amounts_add_up_and_a_cost_is_added_and_removed(
    visit: Visit, service: Service
) -> None:
    def total(measure: str) -> Any:
        params = {"measure": measure, **QUESTION, "rules": 1}
        return service.api("GET", "/insight", params=params)["total"]["value"]

    attributed, unattributed = total("revenue_attributed"), total("revenue_unattributed")
    assert attributed + unattributed == total("revenue")
    async with visit(f"/insight?part=money&{PERIOD}&rules=1") as page:
        totals = page.locator("[data-total]")
        await expect(totals).to_have_count(8)
        for one in await totals.all():
            name = await one.get_attribute("data-total") or ""
            assert await one.get_attribute("data-value") == str(total(name))
        chart = await chart_of(page.locator(".money-parts"))
        widths = {name: mark["bar"][1] for name, mark in chart.marks.items()}
        part = widths["revenue_attributed"] / sum(widths.values())
        assert part == pytest.approx(attributed / (attributed + unattributed), abs=0.002)

        before = total("cost")
        await page.get_by_role("button", name="Add a cost").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Amount in dollars").fill("some")
        await dialog.get_by_role("button", name="Add", exact=True).click()
        await expect(dialog.locator(".field-error")).to_contain_text("above zero")
        await dialog.get_by_label("Amount in dollars").fill("1,480.50")
        await dialog.get_by_label("Paid on").fill("2026-10-02")
        await dialog.get_by_label("For", exact=True).select_option(label="Story Autumn")
        await dialog.get_by_role("button", name="Add", exact=True).click()
        cost = page.locator("[data-total=cost]")
        await expect(cost).to_have_attribute("data-value", str(before + 148_050))
        await page.get_by_role("button", name="Remove the cost").click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(cost).to_have_attribute("data-value", str(before))
        await page.locator("[data-total=revenue_attributed]").click()
        sum_of = page.get_by_role("dialog").locator("[data-sum]")
        await expect(sum_of).to_have_attribute("data-sum", str(attributed))


async def test_role_that_does_not_see_amounts_gets_a_notice(visit: Visit) -> None:
    async with visit("/contacts") as page:
        hidden = {"value": None, "numerator": None, "denominator": None}

        async def hide(route: Any) -> None:
            answer = await route.fetch()
            body = await answer.json()
            body["total"] |= hidden
            body["rows"] = [one | hidden for one in body["rows"]]
            await route.fulfill(response=answer, json=body)

        await page.route("**/v1/insight?*", hide)
        await page.goto(f"{page.url.split('/contacts')[0]}/insight?part=money&{PERIOD}")
        await expect(page.get_by_text("Your role does not show amounts.")).to_be_visible()
        await assert_accessible(page)


async def test_result_shows_its_credits_and_is_reversed(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    contact = service.api("GET", "/contacts?phone=%2B13055550007")["data"][0]
    made = service.api(
        "POST",
        "/outcomes",
        json={
            "kind": "invoice_paid",
            "contact_id": contact["id"],
            "amount_cents": 100_001,
            "occurred_at": "2026-10-30T15:00:00Z",
        },
    )
    earned = service.api("GET", f"/outcomes/{made['id']}/credits?rules=1")
    async with visit(f"/insight?part=outcomes&kind=invoice_paid&{PERIOD}&rules=1") as page:
        row = page.locator(f"[data-row='{made['id']}']")
        assert made["first_name"]
        await expect(row).to_contain_text(made["first_name"])
        await row.get_by_role("button", name="Credits of Invoice paid").click()
        shares = page.get_by_role("dialog").locator("[data-credit]")
        await shares.first.wait_for()
        shown = await shares.evaluate_all("(all) => all.map((one) => one.dataset.credit)")
        assert shown == [*(one["weight"] for one in earned["credits"]), earned["unattributed"]]
        assert sum(map(Fraction, shown)) == 1
        await page.keyboard.press("Escape")

        await row.get_by_role("button", name="Reverse").click()
        await page.get_by_role("dialog").get_by_role("button", name="Reverse").click()
        await expect(row).to_contain_text("Reversed")
        listed = service.api("GET", "/outcomes?kind=invoice_paid&limit=200")["data"]
        async with page.expect_download() as saved:
            await page.get_by_role("button", name="Save as CSV").click()
        file = tmp_path / "outcomes.csv"
        await (await saved.value).save_as(file)
        rows = {one["id"]: one for one in csv.DictReader(io.StringIO(file.read_text()))}
        assert set(rows) == {one["id"] for one in listed if FIRST < one["occurred_at"] < END}
        assert rows[made["id"]]["reversed_by_id"]


async def test_holdout_is_planned_with_its_cost_and_the_date_of_its_result(
    visit: Visit, service: Service
) -> None:
    async with visit("/insight?part=holdouts", refused=(409, 422)) as page:
        await page.get_by_role("button", name="Plan a holdout").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name of the holdout").fill("A year without")
        await dialog.get_by_label("People of 100").fill("80")
        await dialog.get_by_role("button", name="Plan", exact=True).click()
        await expect(dialog.locator(".field-error")).to_contain_text("from 1 to 50")
        await dialog.get_by_label("People of 100").fill("20")
        await dialog.get_by_label("First day").fill("2026-09-10")
        await dialog.get_by_label("Ends before").fill("2026-09-09")
        await dialog.get_by_role("button", name="Plan", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await dialog.get_by_label("First day").fill("2031-01-01")
        await dialog.get_by_label("Ends before").fill("2032-01-01")
        await dialog.get_by_role("button", name="Plan", exact=True).click()
        await expect(dialog).to_contain_text("not sent until")
        await dialog.get_by_role("button", name="Close").last.click()
        made = service.api("GET", "/holdouts")["data"][0]
        assert (made["name"], made["percent"]) == ("A year without", 20)
        box = page.locator(f"[data-holdout='{made['id']}']")
        await expect(box.locator("[data-figure=cost_messages]")).to_have_attribute(
            "data-value", str(made["cost_messages"])
        )
        await expect(box.get_by_text("Planned", exact=True)).to_be_visible()


async def test_lift_of_a_holdout_matches_its_data(visit: Visit, service: Service) -> None:
    found = service.api("GET", "/holdouts")["data"]
    one = next(each for each in found if each["name"].startswith("Story"))
    async with visit("/insight?part=holdouts", theme="dark") as page:
        for measure in ("appointments", "jobs"):
            lift = one[measure]
            box = page.locator(f"[data-holdout='{one['id']}'] [data-lift={measure}]")
            shown = box.locator("[data-difference]")
            await expect(shown).to_have_attribute("data-difference", lift["difference"])
            await expect(shown).to_have_attribute("data-low", lift["low"])
            await expect(shown).to_have_attribute("data-high", lift["high"])
            chart = await chart_of(box)
            for group in ("messaged", "held"):
                mark = chart.marks[group]
                ends = [chart.at(float(lift[group][end]), "x") for end in ("low", "high")]
                value = chart.at(float(lift[group]["rate"]), "x")
                assert mark["dot"][0] == pytest.approx(value, abs=NEAR)
                assert mark["whisker"][:2] == pytest.approx(ends, abs=NEAR)


async def test_effect_of_new_rules_is_shown_before_they_are_added(
    visit: Visit, service: Service
) -> None:
    body = {"model": "first", "windows": {"replied": 24, "called": 2160, "delivered": 8760}}
    found = service.api("POST", "/attribution-rules/preview", json=body)
    assert found["people"] > 0
    async with visit("/insight?part=rules") as page:
        await page.get_by_role("button", name="New version").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("How a result is shared").select_option("first")
        await dialog.get_by_label("Hours after a delivery alone").fill("many")
        await dialog.get_by_role("button", name="Show what would change").click()
        await expect(dialog.locator(".field-error")).to_contain_text("from 0 to 8,760")
        await dialog.get_by_label("Hours after a delivery alone").fill("8760")
        await dialog.get_by_label("Hours after a reply").fill("24")
        await dialog.get_by_role("button", name="Show what would change").click()
        change = dialog.locator("[data-people]")
        await expect(change).to_have_attribute("data-people", str(found["people"]))
        await expect(change).to_have_attribute("data-cents", str(found["cents"]))
        rows = await rows_of(page, "What would change")
        assert set(rows) == {
            "attributed",
            "unattributed",
            *(one["campaign_id"] for one in found["campaigns"]),
        }
        await assert_accessible(page)
        await dialog.get_by_role("button", name="Add the version").click()
        await expect(dialog).to_have_count(0)
        added = service.api("GET", "/attribution-rules")["data"][0]
        assert added["windows"] == body["windows"]


PARTS = ["funnel", "cohorts", "money", "outcomes", "holdouts", "rules"]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
async def test_parts_of_insight_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    async with visit("/insight", theme=theme, width=width) as page:
        for part in PARTS:
            await page.goto(f"{service.run.url}/insight?part={part}&{PERIOD}")
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await page.locator(".sections").wait_for()
            await assert_accessible(page)
            await assert_fits(page)
