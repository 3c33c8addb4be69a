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
    # Another media type than it expects, and a browser runs nothing.
    script = await client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "SwaggerUIBundle" in script.text


async def test_it_may_load_and_ask_nothing_else(client: httpx.AsyncClient) -> None:
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
