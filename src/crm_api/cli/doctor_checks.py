"""The checks of `crm-api doctor` that do not need the database, and the table of all results.

A check returns one line for each thing that it checked: what is wrong, and how to fix it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import asyncpg
import httpx
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from crm_api.cli.webhooks import open_registrar
from crm_api.domain.alerts.mail import MailNotSentError, open_mailer
from crm_api.domain.inbound.webhook_health.message_check import OwnLines
from crm_api.domain.inbound.webhook_health.service import MESSAGE_OFF_BECAUSE
from crm_api.domain.inbound.webhook_setup.comparing import Registration
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform import logs
from crm_api.platform.server_programs import advise_up
from crm_api.platform.settings import Settings, SettingsError
from crm_api.workers.queue import try_redis

TIMEOUT_SECONDS = 10.0
_OPEN_TO_OTHERS = 0o077
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError, TimeoutError)
_COLORS = {"ok": "green", "warning": "yellow", "broken": "red"}


class State(StrEnum):
    """Result of a check. `crm-api doctor` fails only if at least one result is ``broken``."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the report of `crm-api doctor`.

    Attributes:
        part: What was checked, such as ``database``.
        state: The result.
        advice: What was found and, if something is wrong, what to do.
    """

    part: str
    state: State
    advice: str


def show(checks: list[Check]) -> None:
    """Print the results of the checks as a table, in the given order."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("check", "state", "what was found, what to fix"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        color = _COLORS[check.state]
        table.add_row(check.part, f"[{color}]{check.state}[/{color}]", escape(check.advice))
    Console().print(table)


async def run_check(
    part: str, settings: Settings, check: Callable[[Settings], Awaitable[list[Check]]]
) -> list[Check]:
    """Run a check; an error of a server or a setting becomes a result of the check."""
    try:
        return await check(settings)
    except SettingsError as error:
        return [Check(part, State.BROKEN, str(error))]
    except (*_AWAY, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        return [Check(part, State.BROKEN, f"the check failed: {logs.mask_text(reason)}")]


def check_files(settings: Settings) -> list[Check]:
    """Check that other users cannot read the files with secrets in the data directory.

    A missing file is reported, unless a setting contains the secret that belongs in the file.
    """
    checks = []
    wanted = {"secret-key": settings.secret_key, "admin-key": settings.bootstrap_api_key}
    for name, given in wanted.items():
        path = settings.data_dir / name
        if path.exists() and path.stat().st_mode & _OPEN_TO_OTHERS:
            advice = f"other users can read the file; run `chmod 600 {path}`"
            checks.append(Check(name, State.BROKEN, advice))
        elif path.exists() or given is not None:
            checks.append(Check(name, State.OK, "present"))
        elif name == "secret-key":
            advice = "there is no secret key; set CRM_SECRET_KEY"
            advice += advise_up(", or run `crm-api up`, which creates one")
            checks.append(Check(name, State.BROKEN, advice))
        else:
            advice = "there is no file with an admin key; `crm-api keys create` creates an API key"
            checks.append(Check(name, State.WARNING, advice))
    return checks


async def check_redis(settings: Settings) -> list[Check]:
    """Check that Redis answers, allows all necessary commands, and never evicts keys.

    Raises:
        SettingsError: CRM_REDIS_URL is not set.
    """
    async with asyncio.timeout(TIMEOUT_SECONDS):
        about = await try_redis(settings.require_redis_url())
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        advice = f"Redis may evict keys ({policy}); set maxmemory-policy to noeviction"
        return [Check("redis", State.WARNING, advice)]
    name = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version") or about.get("redis_version")
    return [Check("redis", State.OK, f"{name} {version}")]


async def check_provider(settings: Settings) -> list[Check]:
    """Check that the provider accepts the API key, and that our webhooks are registered there."""
    key = settings.openphone_api_key
    headers = {"Authorization": key.get_secret_value() if key is not None else "sandbox"}
    async with httpx.AsyncClient(
        base_url=settings.provider_url, headers=headers, timeout=TIMEOUT_SECONDS
    ) as client:
        try:
            numbers = await client.get("/v1/phone-numbers")
        except httpx.HTTPError as error:
            advice = f"{settings.provider_url} cannot be reached ({type(error).__name__})"
            if settings.uses_sandbox:
                advice += f"; run {advise_up('`crm-api up` or ')}`crm-api sandbox` to start it"
            return [Check("provider", State.BROKEN, advice)]
    checks = [read_numbers(settings, numbers)]
    if checks[0].state is not State.BROKEN:
        checks += await run_check("webhooks", settings, check_webhooks)
    return checks


def read_numbers(settings: Settings, answer: httpx.Response) -> Check:
    """Check the provider's response to a request for the phone numbers of the account.

    The result is one line of the report of `crm-api doctor`. This line says whether the provider
    accepts the API key, and how many phone numbers the account has.

    Args:
        settings: The settings.
        answer: The provider's response.
    """
    where = "the sandbox, which sends nothing" if settings.uses_sandbox else "the real provider"
    if answer.status_code in (401, 403):
        advice = (
            f"the provider refuses the API key ({answer.status_code}); check CRM_OPENPHONE_API_KEY"
        )
        return Check("provider", State.BROKEN, advice)
    if answer.is_error:
        advice = f"the provider responded with status {answer.status_code}; try again later"
        return Check("provider", State.BROKEN, advice)
    numbers = answer.json().get("data", [])
    if not numbers:
        advice = "the provider's account has no phone number to send from"
        return Check("provider", State.WARNING, advice)
    return Check("provider", State.OK, f"{len(numbers)} phone numbers at {where}")


async def check_webhooks(settings: Settings) -> list[Check]:
    """Check that the provider sends all necessary events, and signs them with a key that we have.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set, or there is no secret key.
    """
    async with open_registrar(settings) as registrar:
        try:
            found = await registrar.look()
        except CrmError as error:
            advice = f"the provider's webhooks cannot be listed: {error.detail}"
            return [Check("webhooks", State.BROKEN, advice)]
    return judge_webhooks(settings, found)


def judge_webhooks(settings: Settings, found: Registration) -> list[Check]:
    """Return the text lines about webhooks for the report of `crm-api doctor`.

    A text line about a fault says how to repair it.
    """
    checks = [
        Check("webhooks", State.BROKEN, f"{one.sentence} Run `{one.repair}`.")
        for one in found.findings
    ]
    if not checks:
        is_dated = bool(found.of(SignatureScheme.STANDARD))
        only = "" if is_dated else " (only legacy webhooks, which do not report failed messages)"
        checks.append(Check("webhooks", State.OK, f"events are sent to {found.url}{only}"))
    if settings.public_url is None and not settings.uses_sandbox:
        advice = "set CRM_PUBLIC_URL to a URL at which the provider can reach this service"
        checks.append(Check("webhooks", State.BROKEN, advice))
    is_off = OwnLines.from_settings(settings) is None
    is_half_set = bool(settings.health_check_from) != bool(settings.health_check_to)
    if is_off and (is_half_set or not settings.uses_sandbox):
        advice = f"the hourly test message is not sent: {MESSAGE_OFF_BECAUSE}"
        checks.append(Check("webhook health", State.WARNING, advice))
    return checks


async def check_mail(settings: Settings) -> list[Check]:
    """Check that the mail server accepts the login of the settings. No mail is sent."""
    mailer = open_mailer(settings)
    if mailer is None:
        state = State.OK if settings.uses_sandbox else State.WARNING
        advice = "alerts are not mailed; to mail them, set CRM_SMTP_URL and CRM_ALERT_EMAILS"
        return [Check("mail", state, advice)]
    try:
        await mailer.check()
    except MailNotSentError as error:
        advice = f"alerts cannot be mailed ({logs.mask_text(error.detail)}); check CRM_SMTP_URL"
        return [Check("mail", State.BROKEN, advice)]
    count = len(settings.alert_emails)
    return [Check("mail", State.OK, f"alerts are mailed to {count} address(es)")]
