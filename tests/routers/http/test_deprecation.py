"""A deprecated operation is marked in the OpenAPI document and in each of its responses."""

from collections.abc import AsyncIterator
from datetime import date

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from crm_api.routers.http import deprecation, problems
from crm_api.routers.http.deprecation import deprecated

DEPRECATED = deprecated(since=date(2027, 1, 1), sunset=date(2027, 7, 1), instead="/v1/people/{id}")


@pytest.fixture
def deprecated_app() -> FastAPI:
    router = APIRouter()

    @router.get("/v1/persons/{person_id}", **DEPRECATED)
    async def get_person(person_id: int) -> int:
        return person_id

    @router.delete("/v1/persons/{person_id}")
    async def delete_person(person_id: int) -> int:
        return person_id

    app = FastAPI()
    problems.install(app)
    deprecation.install(app, [one for one in router.routes if isinstance(one, APIRoute)])
    app.include_router(router)
    return app


@pytest_asyncio.fixture
async def deprecated_client(deprecated_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=deprecated_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://crm.test") as client:
        yield client


@pytest.mark.parametrize(("path", "status"), [("/v1/persons/7", 200), ("/v1/persons/x", 422)])
async def test_every_response_has_the_deprecation_headers(
    deprecated_client: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await deprecated_client.get(path)

    assert answer.status_code == status
    assert answer.headers["deprecation"] == "@1798761600"
    assert answer.headers["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
    assert answer.headers.get_list("link") == [
        '</v1/people/{id}>; rel="successor-version"',
        '</docs>; rel="deprecation"; type="text/html"',
    ]


async def test_another_method_of_the_path_has_no_deprecation_headers(
    deprecated_client: httpx.AsyncClient,
) -> None:
    answer = await deprecated_client.delete("/v1/persons/7")

    assert not {"deprecation", "sunset", "link"} & set(answer.headers)


def test_openapi_document_marks_the_deprecated_operation(deprecated_app: FastAPI) -> None:
    known = deprecated_app.openapi()["paths"]["/v1/persons/{person_id}"]

    assert known["get"]["deprecated"] is True
    assert known["get"]["x-sunset"] == "2027-07-01"
    assert "deprecated" not in known["delete"]


def test_sunset_within_180_days_is_refused() -> None:
    with pytest.raises(ValueError, match="180 days"):
        deprecated(since=date(2027, 1, 1), sunset=date(2027, 6, 1), instead="/v1/people")


async def test_operation_that_is_not_deprecated_has_no_deprecation_header(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/v1/contacts")

    assert "deprecation" not in answer.headers


def test_every_deprecated_operation_in_the_document_has_its_dates(app: FastAPI) -> None:
    """Prove that each deprecated operation has its dates.

    An operation that only sets `deprecated=True` would send no deprecation headers.
    """
    for known in app.openapi()["paths"].values():
        for operation in known.values():
            if operation.get("deprecated"):
                assert {"x-deprecated-since", "x-sunset", "x-use-instead"} <= set(operation)
