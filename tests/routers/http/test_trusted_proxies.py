"""Only trusted proxies may set the client address of a request."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.audit_log import AuditEntry
from crm_api.platform.settings import Settings, SettingsError

PROXIES = "10.0.0.5, 10.1.0.0/16"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return the settings of a service with trusted proxies."""
    proxies = Settings.from_env({"CRM_TRUSTED_PROXIES": PROXIES}).trusted_proxies
    return settings.model_copy(update={"trusted_proxies": proxies})


async def address_seen(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession, *, peer: str, forwarded: str
) -> str:
    """Make a request from the address `peer`; return the client address in the audit log."""
    transport = httpx.ASGITransport(app=app, client=(peer, 4711))
    headers = dict(client.headers) | ({"X-Forwarded-For": forwarded} if forwarded else {})
    async with httpx.AsyncClient(
        transport=transport, base_url="http://crm.test", headers=headers
    ) as caller:
        made = await caller.post("/v1/lists", json={"name": f"{peer} {forwarded}"})
    assert made.status_code == 201, made.text
    found = await session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()))
    entry = found.first()
    assert entry is not None
    return entry.address or ""


@pytest.mark.parametrize(
    ("peer_and_forwarded", "seen"),
    [
        (("10.0.0.5", "192.0.2.7"), "192.0.2.7"),
        (("10.1.2.3", "192.0.2.7"), "192.0.2.7"),
        (("10.0.0.5", "203.0.113.66, 192.0.2.7"), "192.0.2.7"),
        (("10.0.0.5", "203.0.113.66, 192.0.2.7, 10.1.9.9"), "192.0.2.7"),
        (("10.0.0.5", "192.0.2.7:50123"), "192.0.2.7"),
        (("10.0.0.5", "[2001:db8::7]:50123"), "2001:db8::7"),
        (("10.0.0.5", ""), "10.0.0.5"),
        (("10.0.0.6", "192.0.2.7"), "10.0.0.6"),
        (("192.0.2.99", "203.0.113.66"), "192.0.2.99"),
    ],
)
async def test_only_a_trusted_proxy_sets_the_address_of_a_request(
    app: FastAPI,
    client: httpx.AsyncClient,
    session: AsyncSession,
    peer_and_forwarded: tuple[str, str],
    seen: str,
) -> None:
    peer, forwarded = peer_and_forwarded

    found = await address_seen(app, client, session, peer=peer, forwarded=forwarded)

    assert found == seen


@pytest.mark.parametrize("value", ["proxy.example.com", "10.0.0.0/40", "0.0.0.0/0", "::/0", "*"])
def test_invalid_proxy_setting_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^CRM_TRUSTED_PROXIES: .*addresses and networks"):
        Settings.from_env({"CRM_TRUSTED_PROXIES": value})
