"""The printed report of a campaign is one A4 page with its figures and without controls."""

import os
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.console.conftest import Service, Visit

A4 = (595, 842)
"""Width and height of the paper, in points."""
LONG = "Hi {{ first_name }}, Granite here. " + "We look at foundations, free of charge. " * 3


def ended_campaign(service: Service) -> Any:
    """Create and cancel a campaign that has two variants and a follow-up; return the campaign."""
    line = service.api("POST", "/lines/sync")["data"][0]["id"]
    ids = [
        service.api("POST", "/contacts", json={"phone": f"617-555-027{n}", "first_name": "Ida"})[
            "id"
        ]
        for n in range(6)
    ]
    body = {
        "name": "Foundations in autumn",
        "line_id": line,
        "audience": {"contact_ids": ids},
        "variants": [{"name": name, "body": f"{name}. {LONG}", "weight": 50} for name in "AB"],
        "follow_ups": [{"after_hours": 72, "body": "Shall we call?"}],
    }
    made = service.api("POST", "/campaigns", json=body)
    service.api("POST", f"/campaigns/{made['id']}/start")
    service.api("POST", f"/campaigns/{made['id']}/cancel")
    return made


def pages_of(document: bytes) -> list[tuple[int, int]]:
    """Return width and height of each page of a PDF that Chromium wrote, in points."""
    count = len(re.findall(rb"/Type\s*/Page\b", document))
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", document)
    sizes = [(round(float(width)), round(float(height))) for width, height in boxes]
    return (sizes * count)[:count] if len(sizes) < count else sizes


async def printed(page: Page) -> bytes:
    return await page.pdf(prefer_css_page_size=True, print_background=True)


@pytest.mark.timeout(300)
async def test_report_is_one_page_with_the_figures(visit: Visit, service: Service) -> None:
    made = ended_campaign(service)
    # Paper is white, so a page is printed in light colours even if the window has the dark theme.
    async with visit(f"/campaigns/{made['id']}", theme="dark") as page:
        await page.locator("[data-figure=recipients_total]").wait_for()
        await expect(page.locator(".loading-line")).to_have_count(0)
        sheets = pages_of(await printed(page))
        await page.emulate_media(media="print")
        await page.set_viewport_size({"width": 688, "height": 1017})
        if shown := os.environ.get("CRM_TESTS_SHOW"):
            await page.screenshot(path=shown, full_page=True)

        assert len(sheets) == 1, sheets
        assert abs(sheets[0][0] - A4[0]) <= 2
        assert abs(sheets[0][1] - A4[1]) <= 2
        await expect(page.locator("[data-figure=cancelled]")).to_be_visible()
        await expect(page.locator("[data-figure=replied]")).to_be_visible()
        await expect(page.locator(".report-head")).to_contain_text("Printed")
        await expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
        await expect(page.get_by_role("region", name="People")).to_be_hidden()
        ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
