"""Browser tests of Insight: figures with their records, charts, comparisons and filters."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from tests.console.conftest import Service, Visit, assert_accessible, assert_fits
from tests.console.geometry import NEAR, Chart, chart_of
from tests.console.story import FIRST, PERIOD, ZONE

from crm_api.domain.insight.measures.intervals import newcombe_interval

pytestmark = pytest.mark.usefixtures("story")
QUESTION = {"from": FIRST, "to": "2026-11-01", "timezone": ZONE}


def fetch_figures(service: Service, measure: str, **wanted: Any) -> Any:
    return service.api(
        "GET", "/insight", params={"measure": measure, **QUESTION, "rules": 1, **wanted}
    )


def name_of(figure: Any) -> str:
    return f"{figure['bucket_start'] or ''}|{figure['key'] or ''}"


async def total_of(page: Page) -> str | None:
    return await page.locator("[data-total]").first.get_attribute("data-total")


async def test_figure_says_what_it_counts_and_opens_its_records(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    found = fetch_figures(service, "reply_rate")
    async with visit(f"/insight?{PERIOD}&rules=1") as page:
        await expect(page.locator("[data-total]")).to_have_attribute(
            "data-total", found["total"]["value"]
        )
        total = page.get_by_role("region", name="Total")
        await expect(total).to_contain_text(found["definition"])
        await expect(total).to_contain_text("between")
        await page.locator("[data-total]").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("status").wait_for()
        assert "open=total" in page.url
        records = dialog.locator("[data-record]")
        for read in range(100, found["total"]["denominator"], 100):
            await expect(records).to_have_count(read)
            await dialog.get_by_role("button", name="Show more").click()
        await expect(dialog.get_by_role("button", name="Show more")).to_have_count(0)
        tally = dialog.locator("[data-records]")
        await expect(tally).to_have_attribute("data-records", str(found["total"]["denominator"]))
        await expect(tally).to_have_attribute("data-counted", str(found["total"]["numerator"]))
        await expect(records).to_have_count(found["total"]["denominator"])
        async with page.expect_download() as saved:
            await dialog.get_by_role("button", name="Save as CSV").click()
        file = tmp_path / "rows.csv"
        await (await saved.value).save_as(file)
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        assert len(rows) == found["total"]["denominator"]
        assert sum(row["counted"] == "true" for row in rows) == found["total"]["numerator"]
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(page.locator("[data-total]")).to_be_focused()


async def test_figure_without_enough_data_says_until_when(visit: Visit, service: Service) -> None:
    campaigns = service.api("GET", "/campaigns?q=Story")["data"]
    autumn = next(one for one in campaigns if one["name"] == "Story Autumn")
    found = fetch_figures(service, "reply_rate", campaign_id=autumn["id"])
    assert found["total"]["enough"] is False
    async with visit(f"/insight?{PERIOD}&campaign={autumn['id']}") as page:
        await expect(page.locator("[data-total]")).to_have_attribute(
            "data-total", found["total"]["value"]
        )
        await expect(page.get_by_text("Not enough data yet; probably from")).to_be_visible()
        await expect(page.get_by_role("button", name="More filters (2)")).to_be_visible()


def compare_groups(chart: Chart, rows: list[Any]) -> None:
    """Check that each dot with its whisker, or each bar, is drawn at its value on the x-axis."""
    assert set(chart.marks) == {name_of(one) for one in rows}
    for one in rows:
        mark = chart.marks[name_of(one)]
        value = chart.at(float(one["value"]), "x")
        if one["low"] is None:
            x, width, _, _ = mark["bar"]
            assert x == pytest.approx(chart.at(0, "x"), abs=NEAR)
            assert x + width == pytest.approx(value, abs=NEAR)
        else:
            assert mark["dot"][0] == pytest.approx(value, abs=NEAR)
            ends = [chart.at(float(one[end]), "x") for end in ("low", "high")]
            assert mark["whisker"][:2] == pytest.approx(ends, abs=NEAR)
        assert mark["colours"][0] != mark["colours"][1] != "none" or mark["bar"]


def compare_times(chart: Chart, rows: list[Any]) -> None:
    """Check a chart of values over time: the order of times, and each value on the y-axis."""
    assert list(chart.marks) == [name_of(one) for one in rows]
    across = []
    for one in rows:
        mark = chart.marks[name_of(one)]
        value = chart.at(float(one["value"]), "y")
        if one["low"] is None:
            x, _, y, height = mark["bar"]
            assert y == pytest.approx(value, abs=NEAR)
            assert y + height == pytest.approx(chart.at(0, "y"), abs=NEAR)
        else:
            x, y = mark["dot"]
            assert y == pytest.approx(value, abs=NEAR)
            ends = [chart.at(float(one[end]), "y") for end in ("low", "high")]
            assert mark["whisker"][2:] == pytest.approx(ends, abs=NEAR)
        across.append(x)
    assert across == sorted(across)
    assert len(set(across)) == len(across)


CHARTS = (
    ("reply_rate", "campaign", None),
    ("messages", None, "month"),
    ("messages", "city", None),
    ("delivered_rate", "year_built_band", None),
    ("revenue", "campaign", None),
    ("reply_rate", None, "week"),
)


@pytest.mark.parametrize(
    ("theme", "charts"), [("light", CHARTS), ("dark", CHARTS[:2])], ids=["light", "dark"]
)
async def test_charts_match_their_data(
    visit: Visit, service: Service, theme: str, charts: Any
) -> None:
    async with visit("/insight", theme=theme) as page:
        for measure, by, bucket in charts:
            split = f"by={by}" if by else f"bucket={bucket}"
            wanted = {"by": by} if by else {"bucket": bucket}
            found = fetch_figures(service, measure, **wanted)
            await page.goto(f"{service.run.url}/insight?measure={measure}&{split}&{PERIOD}&rules=1")
            box = page.get_by_role("region", name="Split")
            await expect(box.locator("[data-mark]")).to_have_count(len(found["rows"]))
            chart = await chart_of(box)
            (compare_groups if by else compare_times)(chart, found["rows"])
            table = box.get_by_role("table", name="Figures")
            names = await table.locator("[data-row]").evaluate_all(
                "(all) => all.map((one) => one.dataset.row)"
            )
            assert set(names) == {name_of(one) for one in found["rows"]}


async def test_hours_of_the_week_are_a_table_with_shades(visit: Visit, service: Service) -> None:
    found = fetch_figures(service, "messages", by="hour_of_week")
    most = max(one["value"] for one in found["rows"])
    async with visit(f"/insight?measure=messages&by=hour_of_week&{PERIOD}&rules=1") as page:
        await expect(page.locator("[data-cell]")).to_have_count(len(found["rows"]))
        levels = dict(
            await page.locator("[data-cell]").evaluate_all(
                "(all) => all.map((one) => [one.dataset.cell, Number(one.dataset.level)])"
            )
        )
        assert levels == {
            one["key"]: pytest.approx(one["value"] / most, abs=0.001) for one in found["rows"]
        }
        one = found["rows"][0]
        await page.locator(f"[data-cell='{one['key']}'] button").click()
        await expect(page.get_by_role("dialog").locator("[data-record]")).to_have_count(
            one["value"]
        )


async def test_two_groups_are_compared_with_newcombes_interval(
    visit: Visit, service: Service
) -> None:
    rows = fetch_figures(service, "reply_rate", by="campaign")["rows"]
    one, other = (next(r for r in rows if name in r["label"]) for name in ("Autumn", "Basement"))
    counts = one["numerator"], one["denominator"], other["numerator"], other["denominator"]
    interval = newcombe_interval(*counts)
    assert interval is not None
    async with visit(f"/insight?by=campaign&{PERIOD}&rules=1") as page:
        await page.get_by_label("Compare Story Autumn").check()
        await page.get_by_label("Compare Story Basement").check()
        shown = page.locator(".insight-compare [data-difference]")
        await expect(shown).to_have_attribute("data-low", f"{interval[0]:.4f}")
        await expect(shown).to_have_attribute("data-high", f"{interval[1]:.4f}")
        await expect(page.get_by_text("is lower than")).to_be_visible()
        await page.reload()
        await expect(shown).to_be_visible()
        await page.get_by_role("button", name="End the comparison").click()
        await expect(shown).to_have_count(0)


async def test_choice_is_in_the_address_and_a_wrong_period_is_reported(visit: Visit) -> None:
    async with visit("/insight", refused=(422,)) as page:
        await page.get_by_label("Measure", exact=True).select_option("messages")
        await page.get_by_label("Split by").select_option("list")
        await page.get_by_label("Period", exact=True).select_option("custom")
        await page.get_by_label("From", exact=True).fill("2026-10-31")
        await page.get_by_label("To and with").fill("2026-09-01")
        await expect(page.get_by_text("The period ends before it begins.")).to_be_visible()
        await page.get_by_label("From", exact=True).fill("2026-09-01")
        await page.get_by_label("To and with").fill("2026-10-31")
        autumn = page.get_by_role("cell", name="Story list Autumn", exact=True)
        await expect(autumn).to_be_visible()
        await page.reload()
        await expect(page.get_by_label("Measure", exact=True)).to_have_value("messages")
        await expect(autumn).to_be_visible()
        assert "by=list" in page.url


PARTS = [
    f"?by=campaign&{PERIOD}",
    f"?bucket=week&{PERIOD}",
    f"?by=city&bucket=month&{PERIOD}",
    f"?by=hour_of_week&{PERIOD}",
    f"?open=total&{PERIOD}",
]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
async def test_parts_of_insight_are_accessible_and_fit(
    visit: Visit, service: Service, theme: str, width: int
) -> None:
    async with visit("/insight", theme=theme, width=width) as page:
        for path in PARTS:
            await page.goto(f"{service.run.url}/insight{path}")
            await page.get_by_role("heading", level=1).wait_for()
            await expect(page.locator(".loading-line")).to_have_count(0)
            await assert_accessible(page)
            await assert_fits(page)


def answers(status: int, body: Any) -> Any:
    async def fulfil(route: Route) -> None:
        await route.fulfill(
            status=status, content_type="application/problem+json", body=json.dumps(body)
        )

    return fulfil


async def test_refusals_and_faults_show_a_sentence_and_a_next_step(
    visit: Visit, service: Service
) -> None:
    refusal = {"status": 403, "code": "missing_scope", "detail": "You need insight:read."}
    async with visit("/insight?period=all", refused=(403, 422)) as page:
        await page.locator("[data-total]").wait_for()
        await page.route("**/v1/insight?*", answers(403, refusal))
        await page.get_by_label("Measure", exact=True).select_option("messages")
        await expect(page.get_by_role("alert")).to_contain_text("You may not see this")
        await page.unroute("**/v1/insight?*")
        refusal |= {"status": 422, "detail": "Use a shorter period."}
        await page.route("**/v1/insight?*", answers(422, refusal))
        await page.get_by_label("Measure", exact=True).select_option("quotes")
        await expect(page.get_by_role("alert")).to_contain_text("Use a shorter period.")
        await page.unroute("**/v1/insight?*")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("[data-total]")).to_be_visible()
        await page.goto(f"{service.run.url}/insight?by=city&period=custom&last=2001-01-01")
        await expect(page.get_by_role("heading", name="Nothing in this period")).to_be_visible()
        await assert_accessible(page)


async def in_spanish(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, json={**await answer.json(), "language": "es"})


async def test_insight_is_shown_in_spanish(visit: Visit, service: Service) -> None:
    measures = service.api("GET", "/insight/measures")["data"]
    async with visit("/insight") as page:
        await page.route("**/v1/preferences", in_spanish)
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Análisis")
        for one in measures:
            await page.get_by_label("Medida", exact=True).select_option(one["name"])
            total = page.get_by_role("region", name="Total")
            await expect(total.locator("[data-total]")).to_be_visible()
            await expect(page.locator(".sections[aria-busy=false]")).to_be_visible()
            await expect(total).not_to_contain_text(one["definition"])


async def test_figure_is_opened_and_closed_by_keyboard(visit: Visit) -> None:
    async with visit(f"/insight?by=campaign&{PERIOD}") as page:
        row = page.locator("[data-row]").first
        await row.wait_for()
        await page.get_by_label("Measure", exact=True).focus()
        opener = row.get_by_role("button")
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await opener.evaluate("(one) => one === document.activeElement"):
                break
        await page.keyboard.press("Enter")
        await page.get_by_role("dialog").locator("[data-record]").first.wait_for()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(opener).to_be_focused()


async def test_figure_is_printed_without_controls(visit: Visit) -> None:
    async with visit(f"/insight?by=campaign&{PERIOD}") as page:
        await page.get_by_role("table", name="Figures").wait_for()
        await page.emulate_media(media="print")
        await expect(page.locator("[data-total]")).to_be_visible()
        await expect(page.get_by_role("table", name="Figures")).to_be_visible()
        for name in ("Measure", "Split by", "Compare Story Autumn"):
            await expect(page.get_by_label(name, exact=True)).to_be_hidden()
