"""Tests of requests with invalid tokens, or with an API key in the query string."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.conftest import ADMIN_KEY, SECRET

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(algorithm: str, *, secret: str = "") -> str:
    """Create a forged JWT; the service must refuse it, because it uses no JWTs."""
    claims = {"sub": "admin", "scope": "admin", "exp": 4_102_444_800}
    signed = f"{_part({'alg': algorithm, 'typ': 'JWT'})}.{_part(claims)}"
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    signature = "" if algorithm == "none" else base64.urlsafe_b64encode(digest).decode()
    return f"{signed}.{signature}"


INVALID_TOKENS = {
    "alg none": jwt("none"),
    "alg None": jwt("None"),
    "signed with the service's secret": jwt("HS256", secret=SECRET),
    "algorithm swapped": jwt("RS256", secret=SECRET),
    "of another service": "sk_live_51NothingOfOurs0000000000",
    "looks like an access token": "crms_" + "A" * 43,
    "looks like a key": "crm_" + "A" * 43,
    "a refresh token's looks": "crmr_" + "A" * 43,
    "cut off": ADMIN_KEY[:-1],
    "longer": ADMIN_KEY + "x",
    "other case": ADMIN_KEY.upper(),
    "two": f"{ADMIN_KEY}, {ADMIN_KEY}",
    "quoted": f'"{ADMIN_KEY}"',
    "very long": "crm_" + "A" * 6_000,
    "prefix alone": "crms_",
    "percent": "%00%0d%0a",
    "SQL": "' OR '1'='1",
}


@pytest.mark.parametrize("token", INVALID_TOKENS.values(), ids=INVALID_TOKENS.keys())
async def test_invalid_token_is_401(client: httpx.AsyncClient, token: str) -> None:
    answer = await client.get("/v1/contacts", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert token[:40] not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        ADMIN_KEY,
        f"Basic {base64.b64encode(ADMIN_KEY.encode()).decode()}",
        f"Token {ADMIN_KEY}",
        "Bearer",
        "Bearer ",
        f"Bearer\xa0{ADMIN_KEY}",
        "Bearer \xff\xfe",
    ],
)
async def test_unsupported_authorization_header_is_401(
    client: httpx.AsyncClient, header: str
) -> None:
    answer = await client.get("/v1/contacts", headers={b"Authorization": header.encode("latin-1")})

    assert answer.status_code == 401
    assert ADMIN_KEY not in answer.text


async def test_a_revoked_key_is_401(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    headers = await key_with(Scope.CONTACTS_READ)
    keys = (await client.get("/v1/api-keys")).json()["data"]
    key_id = next(key["id"] for key in keys if key["name"] == "scoped")
    before = await client.get("/v1/contacts", headers=headers)

    await client.delete(f"/v1/api-keys/{key_id}")

    assert before.status_code == 200
    assert (await client.get("/v1/contacts", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        f"api_key={ADMIN_KEY}",
        f"access_token={ADMIN_KEY}",
        "apikey=anything",
        "Authorization=Bearer%20anything",
        f"q={ADMIN_KEY}",
        "cursor=crms_0123456789abcdef",
        "x=crmr_0123456789abcdef",
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_key_in_the_query_is_refused_with_a_detail(
    client: httpx.AsyncClient, query: str, *, is_known: bool
) -> None:
    if not is_known:
        del client.headers["Authorization"]

    answer = await client.get(f"/v1/contacts?{query}")

    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_in_address")
    assert "Authorization: Bearer" in answer.json()["detail"]
    assert ADMIN_KEY not in answer.text


async def test_search_for_crm_is_not_refused_as_a_key(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/contacts?q=crm_tools")).status_code == 200
