"""Tests of the routes of webhook endpoints: creation, change, secrets and deliveries."""

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.outbound.webhook_deliveries.models import WebhookDelivery
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.platform import clock
from crm_api.platform.jobs import Job, JobName

PATH = "/v1/webhook-endpoints"
URL = "https://hooks.example.com/crm"
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def create_endpoint(client: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"url": URL, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def add_delivery(
    session: AsyncSession, endpoint: dict[str, Any], **values: Any
) -> WebhookDelivery:
    delivery = WebhookDelivery(
        endpoint_id=endpoint["id"],
        type=values.pop("type", "opt_out"),
        happened_at=NOW,
        data={"contact_id": UNKNOWN_ID},
        next_attempt_at=NOW + timedelta(hours=2),
        created_at=values.pop("created_at", NOW),
        **values,
    )
    session.add(delivery)
    await session.commit()
    return delivery


FAILED: dict[str, Any] = {
    "status": "failed",
    "attempts": 10,
    "error_code": "http_500",
    "response_status": 500,
}
DELIVERED: dict[str, Any] = {"status": "delivered", "attempts": 1, "delivered_at": NOW}


async def test_new_endpoint_shows_its_secret_once(
    client: httpx.AsyncClient, queue: RecordingQueue
) -> None:
    made = await create_endpoint(
        client, description="Our ERP", event_types=["opt_out", "opt_out", "alert"]
    )

    read = await client.get(f"{PATH}/{made['id']}")
    assert made.pop("secret").startswith("whsec_")
    assert read.json() == made
    assert made["event_types"] == ["opt_out", "alert"]
    assert (made["status"], made["scopes"]) == ("active", ["admin"])
    assert made["created_by"] == "bootstrap"
    assert queue.jobs == [Job(name=JobName.DELIVER_WEBHOOKS)]


async def test_secret_is_strong_and_stored_encrypted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    secrets = [(await create_endpoint(client))["secret"] for _ in range(2)]

    sealed = (await session.scalars(text("SELECT sealed FROM webhook_secret"))).all()
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    assert len(set(keys)) == 2
    assert all(24 <= len(key) <= 64 for key in keys)
    for known in (*keys, *(secret.encode() for secret in secrets)):
        assert not any(known in one for one in sealed)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://hooks.example.com/", "bad_address"),
        ("hooks.example.com", "bad_address"),
        ("https://", "bad_address"),
        ("https://user:secret@hooks.example.com/", "bad_address"),
        ("http://hooks.example.com/", "insecure"),
        ("https://10.0.0.1/", "forbidden_address"),
        ("https://169.254.169.254/", "forbidden_address"),
        ("https://[fd00:ec2::254]/", "forbidden_address"),
        ("https://[::ffff:192.168.0.1]/", "forbidden_address"),
        ("https://hooks.example.com:0/", "forbidden_port"),
    ],
)
async def test_forbidden_address_is_refused(client: httpx.AsyncClient, url: str, code: str) -> None:
    made = await create_endpoint(client)

    answers = [
        await client.post(PATH, json={"url": url}),
        await client.patch(f"{PATH}/{made['id']}", json={"url": url}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_endpoint_url")
        (fault,) = answer.json()["errors"]
        assert (fault["pointer"], fault["code"]) == ("/url", code)


async def test_loopback_is_accepted_with_the_sandbox(client: httpx.AsyncClient) -> None:
    made = await create_endpoint(client, url="http://127.0.0.1:9000/hook")

    assert made["url"] == "http://127.0.0.1:9000/hook"


@pytest.mark.parametrize("types", [["campaign.counters"], ["nothing"], "opt_out"])
async def test_event_type_that_is_never_delivered_is_refused(
    client: httpx.AsyncClient, types: object
) -> None:
    answer = await client.post(PATH, json={"url": URL, "event_types": types})

    assert answer.status_code == 422


async def test_endpoint_stores_the_scopes_of_its_creator(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    scopes = (Scope.WEBHOOKS_WRITE, Scope.CONTACTS_READ)
    headers = await key_with(*scopes)

    made = await client.post(PATH, json={"url": URL}, headers=headers)
    named = await client.post(
        PATH, json={"url": URL, "event_types": ["opt_out", "message.received"]}, headers=headers
    )

    assert made.json()["scopes"] == sorted(scopes)
    assert (named.status_code, named.json()["code"]) == (403, "missing_scope")
    assert named.json()["required_scope"] == "messages:read"


async def test_caller_without_any_event_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    answer = await client.post(
        PATH, json={"url": URL}, headers=await key_with(Scope.WEBHOOKS_WRITE)
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_changed_address_gives_the_endpoint_the_scopes_of_the_caller(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    """Prove that a new address of an endpoint reduces its scopes to the scopes of the caller.

    Otherwise a key that can only change endpoints could send all events to its own address.
    """
    made = await create_endpoint(client)
    few = await key_with(Scope.WEBHOOKS_WRITE, Scope.CONTACTS_READ)
    path = f"{PATH}/{made['id']}"

    renamed = await client.patch(path, json={"description": "ERP"}, headers=few)
    moved = await client.patch(path, json={"url": URL + "/2"}, headers=few)
    widened = await client.patch(path, json={"event_types": ["alert"]}, headers=few)

    assert renamed.json()["scopes"] == ["admin"]
    assert moved.json()["scopes"] == ["contacts:read", "webhooks:write"]
    assert widened.status_code == 403


async def test_change_keeps_the_fields_that_it_does_not_name(client: httpx.AsyncClient) -> None:
    made = await create_endpoint(client, description="ERP", event_types=["opt_out"])
    path = f"{PATH}/{made['id']}"

    untouched = await client.patch(path, json={})
    changed = await client.patch(path, json={"event_types": []})

    assert untouched.json()["updated_at"] == made["updated_at"]
    body = changed.json()
    assert (body["url"], body["description"], body["event_types"]) == (URL, "ERP", [])


async def test_failures_of_the_old_address_do_not_count_for_the_new_address(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"{PATH}/{(await create_endpoint(client))['id']}"
    await session.execute(
        text("UPDATE webhook_endpoint SET failing_since = :now, held_until = :now"), {"now": NOW}
    )
    await session.commit()

    renamed = (await client.patch(path, json={"description": "ERP"})).json()
    moved = (await client.patch(path, json={"url": URL + "/2"})).json()

    assert renamed["failing_since"] == renamed["held_until"] == "2026-11-25T15:00:00.000Z"
    assert (moved["failing_since"], moved["held_until"]) == (None, None)


async def test_change_of_an_outdated_version_is_refused(client: httpx.AsyncClient) -> None:
    made = await create_endpoint(client)
    path = f"{PATH}/{made['id']}"
    tag = (await client.get(path)).headers["etag"]
    await client.patch(path, json={"description": "ERP"})

    late = await client.patch(path, json={"description": "CRM"}, headers={"If-Match": tag})

    assert late.status_code == 412


async def test_endpoints_are_listed_newest_first(client: httpx.AsyncClient) -> None:
    made = [
        (await create_endpoint(client, description=str(position)))["id"] for position in range(3)
    ]

    first = (await client.get(PATH, params={"limit": 2})).json()
    rest = (await client.get(PATH, params={"cursor": first["next_cursor"]})).json()

    found = [one["id"] for one in (*first["data"], *rest["data"])]
    assert set(found) == set(made)
    assert "secret" not in first["data"][0]
    assert rest["next_cursor"] is None


async def test_number_of_endpoints_is_limited(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await session.execute(
        text(
            "INSERT INTO webhook_endpoint (id, url, description, event_types, scopes, created_by,"
            " created_at, updated_at) SELECT uuidv7(), 'https://a.example', '', '{}', '{}', 'key',"
            " now(), now() FROM generate_series(1, :count)"
        ),
        {"count": endpoints.MOST_ENDPOINTS},
    )
    await session.commit()

    answer = await client.post(PATH, json={"url": URL})

    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhook_endpoints")


async def test_deletion_of_an_endpoint_deletes_its_secrets(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_endpoint(client)
    path = f"{PATH}/{made['id']}"

    deleted = await client.delete(path)

    assert deleted.status_code == 204
    assert (await client.get(PATH)).json()["data"] == []
    assert await session.scalar(text("SELECT count(*) FROM webhook_secret")) == 0
    again = [
        await client.request(method, path + more, json={} if method in {"PATCH", "POST"} else None)
        for method, more in (
            *(("GET", ""), ("PATCH", ""), ("DELETE", "")),
            *(("POST", "/enable"), ("POST", "/disable"), ("POST", "/rotate-secret")),
            *(("POST", "/test"), ("GET", "/deliveries"), ("POST", "/deliveries/retry")),
            *(
                ("GET", f"/deliveries/{UNKNOWN_ID}"),
                ("POST", f"/deliveries/{UNKNOWN_ID}/retry"),
            ),
        )
    ]
    outcomes = {(answer.status_code, answer.json()["code"]) for answer in again}
    assert outcomes == {(404, "webhook_endpoint_not_found")}


async def test_disabled_endpoint_can_be_enabled_again(client: httpx.AsyncClient) -> None:
    made = await create_endpoint(client)
    path = f"{PATH}/{made['id']}"

    disabled = [(await client.post(f"{path}/disable")).json() for _ in range(2)]
    refused = [
        await client.post(f"{path}/test"),
        await client.post(f"{path}/deliveries/retry"),
        await client.post(f"{path}/deliveries/{UNKNOWN_ID}/retry"),
    ]
    enabled = [(await client.post(f"{path}/enable")).json() for _ in range(2)]

    assert disabled[0] == disabled[1]
    assert (disabled[0]["status"], disabled[0]["disabled_reason"]) == ("disabled", "requested")
    codes = {(answer.status_code, answer.json()["code"]) for answer in refused}
    assert codes == {(409, "webhook_endpoint_disabled")}
    assert enabled[0] == enabled[1]
    assert (enabled[0]["status"], enabled[0]["disabled_at"]) == ("active", None)


async def test_rotated_secret_is_shown_once_with_the_end_of_the_old_one(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_endpoint(client)
    path = f"{PATH}/{made['id']}/rotate-secret"
    begun = clock.now()

    day = (await client.post(path)).json()
    hour = (await client.post(path, json={"grace_hours": 1})).json()

    assert len({made["secret"], day["secret"], hour["secret"]}) == 3
    ends = (
        await session.scalars(text("SELECT expires_at FROM webhook_secret ORDER BY created_at"))
    ).all()
    assert [None if end is None else round((end - begun) / timedelta(hours=1)) for end in ends] == [
        24,
        1,
        None,
    ]
    assert day["previous_signs_until"].endswith("Z")


@pytest.mark.parametrize("hours", [-1, 169, "soon"])
async def test_invalid_grace_is_refused(client: httpx.AsyncClient, hours: object) -> None:
    made = await create_endpoint(client)

    answer = await client.post(f"{PATH}/{made['id']}/rotate-secret", json={"grace_hours": hours})

    assert answer.status_code == 422


async def test_test_message_is_a_pending_delivery(
    client: httpx.AsyncClient, queue: RecordingQueue
) -> None:
    made = await create_endpoint(client, event_types=["opt_out"])
    queue.jobs.clear()

    answer = await client.post(f"{PATH}/{made['id']}/test")

    delivery = answer.json()
    assert answer.status_code == 202
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == (
        "webhook.test",
        "pending",
        0,
    )
    assert delivery["data"] == {"endpoint_id": made["id"]}
    assert queue.jobs == [Job(name=JobName.DELIVER_WEBHOOKS)]
    read = await client.get(f"{PATH}/{made['id']}/deliveries/{delivery['id']}")
    assert read.json() == delivery


async def test_deliveries_are_listed_by_status_and_type(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made, other = await create_endpoint(client), await create_endpoint(client)
    failed = await add_delivery(session, made, created_at=NOW, **FAILED)
    delivered = await add_delivery(session, made, created_at=NOW - timedelta(hours=1), **DELIVERED)
    alert = await add_delivery(session, made, type="alert", created_at=NOW - timedelta(days=1))
    await add_delivery(session, other)

    async def listed(**params: str) -> list[str]:
        answer = await client.get(f"{PATH}/{made['id']}/deliveries", params=params)
        return [one["id"] for one in answer.json()["data"]]

    assert await listed() == [str(failed.id), str(delivered.id), str(alert.id)]
    assert await listed(status="failed") == [str(failed.id)]
    assert await listed(type="alert") == [str(alert.id)]
    assert await listed(status="delivered", type="alert") == []


async def test_only_deliveries_with_a_planned_retry_have_a_next_attempt(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_endpoint(client)
    tried: dict[str, Any] = {"attempts": 1}
    for position, values in enumerate((FAILED, DELIVERED, tried)):
        await add_delivery(session, made, created_at=NOW - timedelta(days=position), **values)

    answer = await client.get(f"{PATH}/{made['id']}/deliveries")

    nexts = [one["next_attempt_at"] for one in answer.json()["data"]]
    assert nexts == [None, None, "2026-11-25T17:00:00.000Z"]


async def test_delivery_in_any_status_can_be_sent_again(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    made, other = await create_endpoint(client), await create_endpoint(client)
    path = f"{PATH}/{made['id']}/deliveries"
    for values in (FAILED, DELIVERED):
        delivery = await add_delivery(session, made, **values)
        queue.jobs.clear()

        answer = await client.post(f"{path}/{delivery.id}/retry")

        body = answer.json()
        assert answer.status_code == 202
        assert (body["id"], body["status"], body["attempts"]) == (str(delivery.id), "pending", 0)
        assert (body["delivered_at"], queue.names) == (None, [JobName.DELIVER_WEBHOOKS])
    foreign = await add_delivery(session, other)
    unknown = [await client.post(f"{path}/{one}/retry") for one in (UNKNOWN_ID, foreign.id)]
    codes = {(answer.status_code, answer.json()["code"]) for answer in unknown}
    assert codes == {(404, "webhook_delivery_not_found")}


async def test_many_deliveries_are_sent_again_by_filter(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made, other = await create_endpoint(client), await create_endpoint(client)
    await add_delivery(session, made, **FAILED)
    await add_delivery(session, made, type="alert", **FAILED)
    await add_delivery(session, made, created_at=NOW - timedelta(days=3), **FAILED)
    await add_delivery(session, made, **DELIVERED)
    await add_delivery(session, other, **FAILED)
    path = f"{PATH}/{made['id']}/deliveries/retry"

    async def retry(**body: Any) -> tuple[int, int]:
        answer = await client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["matched"], answer.json()["retried"]

    dry = [
        await retry(dry_run=True),
        await retry(dry_run=True, status=None),
        await retry(dry_run=True, type="alert"),
        await retry(dry_run=True, created_after=(NOW - timedelta(days=1)).isoformat()),
    ]
    still = await session.scalar(
        text("SELECT count(*) FROM webhook_delivery WHERE status = 'failed'")
    )
    done = await retry(type="opt_out")
    rest = (await client.post(path)).json()

    assert dry == [(3, 0), (4, 0), (1, 0), (2, 0)]
    assert still == 4
    assert (done, rest) == ((2, 2), {"matched": 1, "retried": 1, "dry_run": False})
    left = await session.execute(
        text("SELECT status, count(*) FROM webhook_delivery GROUP BY status ORDER BY status")
    )
    assert [tuple(row) for row in left] == [("delivered", 1), ("failed", 1), ("pending", 3)]


async def test_every_change_is_in_the_audit_log(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_endpoint(client)
    path = f"{PATH}/{made['id']}"
    await client.patch(path, json={"description": "ERP"})
    for act in ("disable", "enable", "rotate-secret", "deliveries/retry"):
        await client.post(f"{path}/{act}")
    await client.delete(path)

    rows = await session.execute(
        text("SELECT action FROM audit_log WHERE subject = :id ORDER BY id"), {"id": made["id"]}
    )
    assert list(rows.scalars()) == [
        "create_webhook_endpoint",
        "change_webhook_endpoint",
        "disable_webhook_endpoint",
        "enable_webhook_endpoint",
        "rotate_webhook_secret",
        "retry_webhook_deliveries",
        "delete_webhook_endpoint",
    ]


async def test_repeated_creation_returns_the_same_secret(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    key = {"Idempotency-Key": "endpoint-1"}

    answers = [await client.post(PATH, json={"url": URL}, headers=key) for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert await session.scalar(text("SELECT count(*) FROM webhook_endpoint")) == 1
    kept = await session.scalar(text("SELECT body FROM idempotency_key"))
    assert answers[0].json()["secret"].encode() not in kept
