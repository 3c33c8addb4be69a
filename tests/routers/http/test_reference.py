"""`/docs` works without any other host."""

import re

import httpx
import pytest


async def test_the_page_and_all_that_it_loads_come_from_here(client: httpx.AsyncClient) -> None:
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
    # A browser does not run a script with an unexpected media type.
    script = await client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "SwaggerUIBundle" in script.text


async def test_the_page_may_contact_no_other_host(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/docs")).headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "connect-src 'self'" in policy
    assert "http" not in policy


async def test_its_script_is_sent_once(client: httpx.AsyncClient) -> None:
    first = await client.get("/docs/swagger-ui-bundle.js")

    again = await client.get(
        "/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["etag"]}
    )

    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("path", ["/docs/other.js", "/docs/redoc.standalone.js", "/redoc"])
async def test_nothing_else_of_the_package_is_shown(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_browser_gets_the_console_at_the_root(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": BROWSER, "Authorization": ""})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_program_gets_addresses_at_the_root_and_each_answers(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.get("/", headers={"Accept": accept, "Authorization": ""})

    assert answer.status_code == 200, answer.text
    found = answer.json()
    for name in ("documentation", "openapi"):
        assert (await client.get(found[name])).status_code == 200, name
    assert (found["name"], found["api"], found["health"]) == ("crm-api", "/v1", "/readyz")
