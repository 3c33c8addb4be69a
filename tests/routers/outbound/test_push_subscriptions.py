"""Tests of the devices to which notices of a user are pushed."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conftest import UNKNOWN_ID
from tests.domain.outbound.web_push.push_service import CURVE, Browser, decode, encode
from tests.routers.identity.test_preferences import OTHER_EMAIL, create_user_headers

URL = "/v1/push-subscriptions"


def subscription(path: str = "1", **changes: Any) -> dict[str, Any]:
    endpoint = f"https://push.example.com/{path}"
    return {"endpoint": endpoint, "expirationTime": None, "keys": Browser().keys()} | changes


async def list_devices(client: httpx.AsyncClient, me: dict[str, str]) -> list[str]:
    found = (await client.get(URL, headers=me)).json()["data"]
    return [one["endpoint"].rpartition("/")[2] for one in found]


async def test_device_is_subscribed_listed_and_removed(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)

    made = await client.post(URL, json=subscription(), headers=me)
    again = await client.post(URL, json=subscription(), headers=me)
    path = f"{URL}/{made.json()['id']}"

    assert (made.status_code, again.status_code) == (201, 201)
    assert made.json() == again.json()
    assert set(made.json()) == {"id", "endpoint", "created_at", "last_success_at"}
    assert await list_devices(client, me) == ["1"]
    assert (await client.delete(path, headers=me)).status_code == 204
    gone = await client.delete(path, headers=me)
    assert (gone.status_code, gone.json()["code"]) == (404, "push_subscription_not_found")
    assert await list_devices(client, me) == []


async def test_devices_of_other_users_are_hidden_and_a_device_can_change_its_user(
    client: httpx.AsyncClient,
) -> None:
    me = await create_user_headers(client)
    colleague = await create_user_headers(client, email=OTHER_EMAIL)
    made = (await client.post(URL, json=subscription(), headers=me)).json()

    refused = await client.delete(f"{URL}/{made['id']}", headers=colleague)
    assert (refused.status_code, await list_devices(client, colleague)) == (404, [])

    await client.post(URL, json=subscription(), headers=colleague)
    assert (await list_devices(client, me), await list_devices(client, colleague)) == ([], ["1"])


async def test_newest_twenty_devices_are_kept(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)
    for place in range(22):
        await client.post(URL, json=subscription(str(place)), headers=me)

    assert await list_devices(client, me) == [str(place) for place in range(21, 1, -1)]


async def test_public_key_is_a_point_of_the_curve_and_needs_a_user(
    client: httpx.AsyncClient,
) -> None:
    me = await create_user_headers(client)

    found = (await client.get("/v1/push-key", headers=me)).json()["public_key"]

    ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(found))
    for path in ("/v1/push-key", URL):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "user_needed")


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("http://push.example.com/1", "insecure"),
        ("https://10.0.0.7/1", "forbidden_address"),
        ("https://169.254.169.254/latest", "forbidden_address"),
        ("https://me:pw@push.example.com/1", "bad_address"),
        ("ftp://push.example.com/1", "bad_address"),
    ],
)
async def test_forbidden_endpoint_address_is_refused(
    client: httpx.AsyncClient, endpoint: str, code: str
) -> None:
    me = await create_user_headers(client)

    refused = await client.post(URL, json=subscription(endpoint=endpoint), headers=me)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_push_endpoint")
    (fault,) = refused.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/endpoint", code)


@pytest.mark.parametrize(
    ("keys", "pointer"),
    [
        ({"p256dh": encode(b"\x04" + b"\x01" * 64)}, "/keys/p256dh"),
        ({"p256dh": "not base64!"}, "/keys/p256dh"),
        ({"auth": encode(b"short")}, "/keys/auth"),
        ({"auth": "x" * 121}, "/keys/auth"),
    ],
)
async def test_key_that_cannot_encrypt_is_refused(
    client: httpx.AsyncClient, keys: dict[str, str], pointer: str
) -> None:
    me = await create_user_headers(client)

    body = subscription(keys=Browser().keys() | keys)
    refused = await client.post(URL, json=body, headers=me)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_unknown_device_is_404(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)

    assert (await client.delete(f"{URL}/{UNKNOWN_ID}", headers=me)).status_code == 404
