"""A registrar of webhooks over a sandbox. As at the provider, each webhook has its own key."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from unittest.mock import AsyncMock

import httpx
from tests.conftest import NOW, SECRET

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.domain.inbound.webhook_setup.registering import Registrar
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.hooks import HookApi
from crm_api.platform.database import UnitOfWork

URL = "https://crm.example.com/webhooks/openphone"
NewUow = Callable[[], UnitOfWork]


async def _fail_to_connect(url: str, body: bytes, headers: dict[str, str]) -> int:
    raise ConnectionError(url, len(body), len(headers))


@dataclass(frozen=True, kw_only=True)
class RegistrarHarness:
    """A registrar (it registers our webhooks), with its sandbox and its database."""

    registrar: Registrar
    sandbox: Sandbox
    new_uow: NewUow

    @property
    def hooks(self) -> HookApi:
        return self.registrar.hooks

    async def saved_keys(self, *, now: datetime = NOW) -> list[SavedKey]:
        async with self.new_uow() as uow:
            return await keys.accepted_keys(uow, secret=SECRET.encode(), now=now)

    def with_settings_keys(self, *secrets: str) -> Registrar:
        """Return the registrar of a service whose settings contain these webhook keys."""
        return replace(self.registrar, given=secrets)


@contextlib.asynccontextmanager
async def registrar_harness(
    new_uow: NewUow,
    *,
    config: SandboxConfig | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], datetime] = lambda: NOW,
    url: str = URL,
) -> AsyncIterator[RegistrarHarness]:
    """Create a sandbox without webhooks, and a registrar for it."""
    config = config or SandboxConfig(people="silent", post=_fail_to_connect)
    config = replace(config, own_keys=True, rate_per_second=None)
    sandbox = create_sandbox(config)
    transport = transport or httpx.ASGITransport(sandbox)
    async with OpenPhoneClient(
        base_url="http://sandbox.test",
        api_key="key",
        transport=transport,
        sleep=AsyncMock(),
    ) as client:
        registrar = Registrar(
            new_uow=new_uow,
            hooks=client.hooks,
            url=url,
            secret=SECRET.encode(),
            given=(),
            is_real=True,
            now=now,
        )
        yield RegistrarHarness(registrar=registrar, sandbox=sandbox, new_uow=new_uow)
    await sandbox.workspace.stop()
