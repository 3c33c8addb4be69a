"""The page `/docs` loads only files of this service, and `/` serves browsers and programs."""

import re

import httpx
import pytest


async def test_page_loads_files_of_this_server_only(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")

    loaded = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert set(loaded) == {
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
        "/docs/start.js",
        "/openapi.json",
    }
    assert not re.search(r"https?://", page.text)
    for path in loaded:
        assert (await client.get(path)).status_code == 200
    # Browsers run a script only if its media type is right.
    script = await client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "SwaggerUIBundle" in script.text


async def test_security_policy_of_the_page_allows_no_other_host(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/docs")).headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "connect-src 'self'" in policy
    assert "http" not in policy


async def test_script_in_the_browser_cache_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/docs/swagger-ui-bundle.js")

    again = await client.get(
        "/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["etag"]}
    )

    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("path", ["/docs/other.js", "/docs/redoc.standalone.js", "/redoc"])
async def test_other_files_of_the_package_are_not_served(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(path)).status_code == 404


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_root_returns_the_console_to_a_browser(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": BROWSER, "Authorization": ""})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_root_returns_working_addresses_to_a_program(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.get("/", headers={"Accept": accept, "Authorization": ""})

    assert answer.status_code == 200, answer.text
    found = answer.json()
    for name in ("documentation", "openapi"):
        assert (await client.get(found[name])).status_code == 200, name
    assert (found["name"], found["api"], found["health"]) == ("crm-api", "/v1", "/readyz")
