"""Tests of the routes of reconciliation runs: authorisation, input and responses."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.jobs import JobName

RUNS = "/v1/reconciliation-runs"
UNKNOWN_RUN = f"{RUNS}/00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
ROUTES = [("POST", RUNS), ("GET", RUNS), ("GET", UNKNOWN_RUN)]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_missing_key_is_refused(client: httpx.AsyncClient, method: str, path: str) -> None:
    del client.headers["Authorization"]

    assert (await client.request(method, path)).status_code == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str
) -> None:
    headers = await key_with(Scope.MESSAGES_READ)

    response = await client.request(method, path, headers=headers)

    assert response.status_code == 403
    assert response.json()["required_scope"] == "operations"


async def test_run_is_accepted_and_shown(client: httpx.AsyncClient, queue: RecordingQueue) -> None:
    body = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00-05:00"}

    made = await client.post(RUNS, json=body)
    shown = await client.get(f"{RUNS}/{made.json()['id']}")

    assert made.status_code == 202
    assert shown.json() == made.json()
    assert shown.json() | {"id": None, "created_at": None} == {
        "id": None,
        "trigger": "manual",
        "status": "pending",
        "since": "2026-11-20T00:00:00.000Z",
        "until": "2026-11-21T05:00:00.000Z",
        "pages_done": 0,
        "items_seen": 0,
        "created": 0,
        "updated": 0,
        "already_known": 0,
        "errors": 0,
        "drift": {},
        "last_error": None,
        "created_at": None,
        "started_at": None,
        "finished_at": None,
    }
    assert queue.names == [JobName.RECONCILE_OPENPHONE]


@pytest.mark.parametrize("body", [None, {}, {"since": None, "until": None}])
async def test_run_without_bounds_covers_everything_until_now(
    client: httpx.AsyncClient, body: object
) -> None:
    made = await client.post(RUNS, json=body)

    assert made.status_code == 202, made.text
    assert made.json()["since"] is None
    assert made.json()["until"] == made.json()["created_at"]


async def test_end_in_the_future_is_replaced_by_now(client: httpx.AsyncClient) -> None:
    made = await client.post(RUNS, json={"until": "2999-01-01T00:00:00Z"})

    assert made.json()["until"] == made.json()["created_at"]


@pytest.mark.parametrize(
    "body",
    [
        {"since": "2026-11-20T00:00:00Z", "until": "2026-11-20T00:00:00Z"},
        {"since": "2999-01-01T00:00:00Z"},
    ],
)
async def test_empty_period_is_refused(client: httpx.AsyncClient, body: dict[str, str]) -> None:
    response = await client.post(RUNS, json=body)

    assert response.status_code == 422
    assert response.json()["code"] == "empty_span"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-11-20T00:00:00"}, "/since"),
        ({"from": "2026-11-20T00:00:00Z"}, "/from"),
    ],
)
async def test_wrong_bounds_are_named(
    client: httpx.AsyncClient, body: dict[str, str], pointer: str
) -> None:
    response = await client.post(RUNS, json=body)

    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]


async def test_unknown_run_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get(UNKNOWN_RUN)

    assert response.status_code == 404
    assert response.json()["code"] == "reconciliation_run_not_found"


async def test_job_is_in_the_schedule(client: httpx.AsyncClient) -> None:
    jobs = (await client.get("/v1/scheduled-jobs")).json()["data"]

    [job] = [job for job in jobs if job["name"] == "reconcile_openphone"]
    assert job["schedule"].startswith("daily at 02:00 UTC")
