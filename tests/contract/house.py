"""The whole application in this process, under its own life, for a client that is no test's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from schemathesis.python import asgi
from starlette.types import Receive, Scope, Send
from tests.conftest import ADMIN_KEY, SECRET, UNKNOWN_ID
from tests.contract.world import Pools, make_the_rest

from crm_api.app import create_app
from crm_api.sandbox.running import run_sandbox
from crm_api.settings import Settings


class Guarded:
    """An application in which nobody can end the key that all calls are made with."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.kept = ""
        """The id of the key; nothing is kept while it is not known."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.kept and self.kept in scope.get("path", ""):
            scope = {**scope, "path": scope["path"].replace(self.kept, UNKNOWN_ID)}
        await self._app(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class House:
    """The application, its document, and what is in it."""

    app: Guarded
    document: dict[str, Any]
    pools: Pools


@contextmanager
def open_house(*, database_url: str, redis_url: str, folder: Path, pools: Pools) -> Iterator[House]:
    """Start the application and the provider's sandbox; end both.

    Args:
        database_url: Migrated, with the rows that ``pools`` names.
        redis_url: A real one.
        folder: For uploads.
        pools: Gets the ids of what is made besides.
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
                # Its own tests show that it refuses; here it would refuse nearly everything.
                "CRM_RATE_LIMIT_PER_SECOND": "0",
            }
        )
        whole = create_app(settings)
        app = Guarded(whole)
        try:
            # The client's types and Starlette's name the same interface differently.
            with asgi.get_client(cast("Any", app)) as client:
                client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"
                app.kept = client.get("/v1/auth/me").json()["id"]
                make_the_rest(client, pools)
                yield House(app=app, document=whole.openapi(), pools=pools)
        finally:
            asgi.shutdown_lifespans()
