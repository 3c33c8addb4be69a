"""`crm-api doctor`: check settings and servers, and print what is wrong and how to fix it."""

import asyncio
import sys

import typer

from crm_api.cli.doctor_checks import (
    Check,
    State,
    check_files,
    check_mail,
    check_provider,
    check_redis,
    run_check,
    show,
)
from crm_api.cli.doctor_database_checks import (
    check_consent,
    check_database,
    check_pooler,
    check_secrets,
    check_workers,
)
from crm_api.cli.options import DataDir, load_settings
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.platform import logs
from crm_api.platform.settings import Settings, SettingsError

cli = typer.Typer(add_completion=False)


@cli.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check settings, database, Redis, worker, provider and secrets; print what to fix."""
    logs.configure("console", "CRITICAL")
    try:
        settings = load_settings(data_dir=data_dir)
        load_rules(settings.rules_name)
    except SettingsError as error:
        checks = [Check("settings", State.BROKEN, str(error))]
    else:
        checks = [Check("settings", State.OK, "all settings are valid")]
        checks += check_files(settings)
        checks += asyncio.run(_check_services(settings))
    show(checks)
    if any(check.state is State.BROKEN for check in checks):
        sys.exit(1)


async def _check_services(settings: Settings) -> list[Check]:
    found = await run_check("database", settings, check_database)
    found += await run_check("pooler", settings, check_pooler)
    if all(check.state is not State.BROKEN for check in found):
        found += await run_check("secrets", settings, check_secrets)
        found += await run_check("consent", settings, check_consent)
    found += await run_check("redis", settings, check_redis)
    found += await run_check("worker", settings, check_workers)
    return found + await check_provider(settings) + await check_mail(settings)
