"""The OpenAPI document is public, can be cached, and is equal in all processes."""

import json
import os
import subprocess
import sys

import httpx
from fastapi import FastAPI

from crm_api.app import build_app
from crm_api.platform.settings import Settings

URL = "/openapi.json"


async def test_the_document_is_served(app: FastAPI, client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, headers={"Accept-Encoding": "identity"})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == app.openapi()


async def test_client_with_the_current_document_gets_304(client: httpx.AsyncClient) -> None:
    etag = (await client.get(URL)).headers["etag"]

    again = await client.get(URL, headers={"If-None-Match": etag})
    another = await client.get(URL, headers={"If-None-Match": 'W/"another"'})

    assert again.status_code == 304
    assert again.content == b""
    assert another.status_code == 200


async def test_the_document_is_gzipped_for_clients_that_accept_it(
    client: httpx.AsyncClient,
) -> None:
    packed = await client.get(URL, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(URL, headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < 200_000
    assert packed.content == plain.content
    assert "content-encoding" not in plain.headers


async def test_document_is_served_without_a_key(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://crm.test") as anybody:
        assert (await anybody.get(URL)).status_code == 200


def test_document_does_not_depend_on_settings_or_process(app: FastAPI) -> None:
    environment = os.environ | {
        "PYTHONHASHSEED": "4",
        "CRM_PUBLIC_URL": "https://crm.example.com",
        "CRM_CORS_ORIGINS": "https://app.example.com",
        "CRM_RATE_LIMIT_PER_SECOND": "7",
    }

    written = subprocess.run(
        [sys.executable, "-m", "crm_api.cli", "openapi"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    document = build_app(Settings()).openapi()
    assert document == app.openapi()
    assert written == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert document["servers"] == [
        {"url": "/", "description": "The server that sent this document."}
    ]
