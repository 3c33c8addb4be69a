"""Prepare the database for `crm-api up`: migrate it, create its login, check the stored data.

`crm-api up` runs this module in a separate process. So the main process does not import SQLAlchemy,
and needs 42 MB of memory instead of 105 MB.

The module reads the URL of the database from standard input: ``{"CRM_DATABASE_URL":
"postgresql://…"}``.
"""

import asyncio
import json
import os
import sys

from crm_api.cli import run_reporting
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.inbound.webhook_setup.keyring import require_signing_key
from crm_api.domain.monitoring.key_rotation import with_secret
from crm_api.domain.monitoring.sandbox_control.clock_moves import refuse_moved_time
from crm_api.platform import logs, migration_runner
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings


def _prepare_database() -> None:
    login = sys.argv[1] if len(sys.argv) > 1 else None
    variables = {name: value for name, value in os.environ.items() if name.startswith("CRM_")}
    settings = Settings.from_env(variables | json.load(sys.stdin))
    logs.configure(settings.log_format, settings.log_level, process="up")
    load_rules(settings.rules_name)
    asyncio.run(_prepare(settings, login))


async def _prepare(settings: Settings, login: str | None) -> None:
    owner_url = await require_direct(settings)
    await migration_runner.upgrade(owner_url)
    if login is not None:
        await migration_runner.make_roles(owner_url, login=login)
    settings = await with_secret(settings)
    await require_signing_key(settings)
    await refuse_moved_time(settings)


if __name__ == "__main__":
    run_reporting(_prepare_database)
