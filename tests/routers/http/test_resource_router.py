"""A router compares only requests for its own resources, and each route is still found."""

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from httpx import ASGITransport, AsyncClient
from starlette.routing import Match
from starlette.types import Scope

from crm_api.app import ROUTERS
from crm_api.routers.http.resource_router import ResourceRouter, resource_of


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/v1/contacts", "contacts"),
        ("/v1/contacts/", "contacts"),
        ("/v1/contacts/{contact_id}/notes", "contacts"),
        ("/readyz", "readyz"),
        ("/calendar/{token}.ics", "calendar"),
        ("/v1", ""),
        ("/v1/", ""),
        ("/", ""),
        ("", ""),
        ("*", ""),
        ("//v1/contacts", ""),
    ],
)
def test_resource_is_the_segment_after_the_version(path: str, resource: str) -> None:
    assert resource_of(path) == resource


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://test", follow_redirects=True)


async def test_router_finds_the_routes_of_all_its_resources() -> None:
    router = ResourceRouter(prefix="/v1")

    @router.get("/pets/{pet_id}")
    async def get_pet(pet_id: int) -> int:
        return pet_id

    @router.get("/owners")
    async def list_owners() -> list[int]:
        return []

    app = FastAPI()
    app.include_router(router)
    async with client_of(app) as client:
        assert (await client.get("/v1/pets/7")).json() == 7
        assert (await client.get("/v1/owners/")).json() == []
        assert (await client.post("/v1/owners")).status_code == 405
        assert (await client.get("/v1/farms")).status_code == 404


async def test_routers_without_the_resource_compare_no_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []

    def note_path(route: APIRoute, _scope: Scope) -> tuple[Match, Scope]:
        compared.append(route.path)
        return Match.NONE, {}

    app = FastAPI()
    for module in ROUTERS:
        app.include_router(module.router)
    monkeypatch.setattr(APIRoute, "matches", note_path)
    async with client_of(app) as client:
        assert (await client.get("/v1/users/me/nothing")).status_code == 404
    assert {resource_of(path) for path in compared} == {"users"}
