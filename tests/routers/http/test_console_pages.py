"""Tests of the pages of the console: security policy, caches, and unknown addresses."""

import re

import httpx
import pytest
from tests.routers.http.test_reference import BROWSER

from crm_api.routers.http.console_pages import PAGES


@pytest.fixture(autouse=True)
def _send_browser_headers(client: httpx.AsyncClient) -> None:
    client.headers["Accept"] = BROWSER
    client.headers.pop("Authorization", None)


@pytest.mark.parametrize("path", [path.replace("{id}", "1") for path in PAGES])
async def test_every_console_address_returns_the_page(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, params={"status": "any"})

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self';" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


async def test_page_of_a_sandbox_is_marked_as_sandbox(client: httpx.AsyncClient) -> None:
    assert 'data-sandbox="true"' in (await client.get("/contacts")).text


async def test_assets_are_immutable_and_compressed(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/contacts")
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)

    assert len(assets) >= 3
    for path in assets:
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
    script = next(path for path in assets if path.endswith(".js"))
    answer = await client.get(script, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")


async def test_page_in_the_browser_cache_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/contacts")

    again = await client.get("/campaigns", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


async def test_unknown_address_returns_the_console_page_with_404(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/no/such/page")

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/v1/nothing", "/docs/other.js", "/assets/none.js", "/webhooks/other"],
)
async def test_unknown_addresses_of_the_api_and_of_files_return_no_page(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path)

    assert answer.status_code == 404
    assert not answer.headers.get("content-type", "").startswith("text/html")


@pytest.mark.parametrize(("method", "accept"), [("GET", "*/*"), ("POST", BROWSER)])
async def test_unknown_address_returns_a_problem_to_a_program(
    client: httpx.AsyncClient, method: str, accept: str
) -> None:
    answer = await client.request(method, "/no/such/page", headers={"Accept": accept})

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
