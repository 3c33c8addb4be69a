"""The whole application in this process, with its own lifespan, for the Schemathesis client."""

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
    """An application whose API key for the test cannot be revoked by a generated request."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.kept = ""
        """The id of the key; empty until it is known."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.kept and self.kept in scope.get("path", ""):
            scope = {**scope, "path": scope["path"].replace(self.kept, UNKNOWN_ID)}
        await self._app(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class RunningApplication:
    """The application, its OpenAPI document, and the ids of its data."""

    app: Guarded
    document: dict[str, Any]
    pools: Pools


@contextmanager
def run_application(
    *, database_url: str, redis_url: str, folder: Path, pools: Pools
) -> Iterator[RunningApplication]:
    """Start the application and the provider's sandbox; stop both at the end.

    Args:
        database_url: A migrated database with the rows that ``pools`` names.
        redis_url: A real Redis.
        folder: The folder for uploads.
        pools: The ids of existing rows; the ids of rows made here are added.
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
                # The rate limit has its own tests; here it would refuse almost every request.
                "CRM_RATE_LIMIT_PER_SECOND": "0",
            }
        )
        whole = create_app(settings)
        app = Guarded(whole)
        try:
            # The client and Starlette have different types for the same interface.
            with asgi.get_client(cast("Any", app)) as client:
                client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"
                app.kept = client.get("/v1/auth/me").json()["id"]
                create_by_requests(client, pools)
                yield RunningApplication(app=app, document=whole.openapi(), pools=pools)
        finally:
            asgi.shutdown_lifespans()
