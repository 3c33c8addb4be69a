"""The whole application, which runs in the test's process for the client of Schemathesis."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from schemathesis.python import asgi
from starlette.types import Receive, Scope, Send
from tests.conftest import ADMIN_KEY, SECRET, UNKNOWN_ID
from tests.contract.world import Pools, create_by_requests

from crm_api.app import create_app
from crm_api.dev.sandbox.app import run_sandbox
from crm_api.platform.settings import Settings


class Guarded:
    """The application, with the API key of the test protected from generated requests.

    In the path of a request, the id of this key is replaced with an unknown id. So no generated
    request can revoke the key.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.kept = ""
        """The id of the API key of the test; empty until it is known."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.kept and self.kept in scope.get("path", ""):
            scope = {**scope, "path": scope["path"].replace(self.kept, UNKNOWN_ID)}
        await self._app(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class RunningApplication:
    """The application, its OpenAPI document, and the ids of existing data."""

    app: Guarded
    document: dict[str, Any]
    pools: Pools


@contextmanager
def run_application(
    *, database_url: str, redis_url: str, folder: Path, pools: Pools
) -> Iterator[RunningApplication]:
    """Start the application and the provider's sandbox; stop both when the block ends.

    Args:
        database_url: A migrated database with the rows whose ids are in ``pools``.
        redis_url: A real Redis.
        folder: The folder for uploads.
        pools: The ids of existing rows. The ids of the rows that are created here are added.
    """
    with run_sandbox() as sandbox:
        settings = Settings.from_env(
            {
                "CRM_DATABASE_URL": database_url,
                "CRM_REDIS_URL": redis_url,
                "CRM_DATA_DIR": str(folder),
                "CRM_SECRET_KEY": SECRET,
                "CRM_BOOTSTRAP_API_KEY": ADMIN_KEY,
                "CRM_OPENPHONE_BASE_URL": sandbox.url,
                # The rate limit is off, because it would refuse almost every request. It has its
                # own tests.
                "CRM_RATE_LIMIT_PER_SECOND": "0",
            }
        )
        whole = create_app(settings)
        app = Guarded(whole)
        try:
            # Schemathesis and Starlette have different types for the same ASGI interface.
            with asgi.get_client(cast("Any", app)) as client:
                client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"
                app.kept = client.get("/v1/auth/me").json()["id"]
                create_by_requests(client, pools)
                yield RunningApplication(app=app, document=whole.openapi(), pools=pools)
        finally:
            asgi.shutdown_lifespans()
