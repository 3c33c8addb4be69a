"""`crm-api webhooks`: manage the webhooks by which the provider sends events to this service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crm_api.cli.options import DataDir, start_command
from crm_api.dev.embedded_servers import EmbeddedServers
from crm_api.domain.inbound.webhook_setup.comparing import NEEDED, Fault, OurWebhook, Registration
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.inbound.webhook_setup.registering import Registrar
from crm_api.domain.inbound.webhook_setup.sampling import receive_sample
from crm_api.domain.monitoring.key_rotation import with_secret
from crm_api.domain.provider.openphone.client import open_provider
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform import clock
from crm_api.platform.data_dir import claim, new_secret, secret_file
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings

SAMPLE_SECONDS = 20.0

cli = typer.Typer(no_args_is_help=True, add_completion=False)

Legacy = Annotated[
    bool,
    typer.Option(
        "--legacy",
        help="Create four webhooks with the provider's older API, instead of one with the new API.",
    ),
]


@cli.callback()
def webhooks() -> None:
    """Register, list, rotate and test the provider's webhooks. Signing keys are never printed."""


@cli.command()
def register(data_dir: DataDir = None, legacy: Legacy = False) -> None:  # noqa: FBT002 - an option
    """Create the webhook at the provider, or repair an existing one. You can repeat the command."""

    async def act(registrar: Registrar) -> list[str]:
        return await (registrar.register_legacy() if legacy else registrar.register())

    _run(act, data_dir)


@cli.command("list")
def list_webhooks(data_dir: DataDir = None) -> None:
    """List all webhooks at the provider, and the problems of the webhooks of this service."""

    async def act(registrar: Registrar) -> list[str]:
        found = await registrar.look()
        _show(found)
        lines = [f"{one.sentence} To repair it, run `{one.repair}`." for one in found.findings]
        return lines or ["The provider sends all needed events to this service."]

    _run(act, data_dir)


@cli.command()
def rotate(data_dir: DataDir = None) -> None:
    """Replace the signing keys of this service's webhooks. Old keys are accepted for 28 hours."""
    _run(lambda registrar: registrar.rotate(), data_dir)


@cli.command("test")
def try_webhook(
    data_dir: DataDir = None,
    seconds: Annotated[
        float, typer.Option(help="How many seconds to wait for the sample event.")
    ] = SAMPLE_SECONDS,
) -> None:
    """Request a signed sample event from the provider; wait until this service has stored it."""

    async def act(registrar: Registrar) -> list[str]:
        return [await receive_sample(registrar, seconds=seconds)]

    _run(act, data_dir)


def _run(act: Callable[[Registrar], Awaitable[list[str]]], data_dir: DataDir) -> None:
    settings = start_command("webhooks", data_dir=data_dir)
    with _with_database(settings) as ready:
        for sentence in asyncio.run(_act(act, ready)):
            typer.echo(sentence)


async def _act(act: Callable[[Registrar], Awaitable[list[str]]], settings: Settings) -> list[str]:
    async with open_registrar(settings) as registrar:
        return await act(registrar)


@contextmanager
def _with_database(settings: Settings) -> Iterator[Settings]:
    """Yield settings with a database URL. If no URL is set, start the embedded database.

    Usually `crm-api up` starts the embedded database. But `crm-api up` does not start without a
    signing key, and this command creates the signing key.

    Raises:
        StartError: The embedded database cannot be started.
    """
    if settings.database_url is not None:
        yield settings
        return
    with claim(settings.data_dir) as held:
        if settings.secret_key is None:
            secret_file(held.path / "secret-key", new_secret)
        embedded = EmbeddedServers(held, postgres=True, redis=False)
        try:
            url = embedded.start().database_url
            ready = settings.model_copy(update={"database_url": url})
            asyncio.run(upgrade(ready.require_database_url()))
            yield ready
        finally:
            embedded.stop()


@asynccontextmanager
async def open_registrar(settings: Settings) -> AsyncIterator[Registrar]:
    """Yield the object that registers webhooks at the provider and stores their signing keys.

    Raises:
        SettingsError: ``CRM_DATABASE_URL`` is not set, or this service has no secret key
            (``CRM_SECRET_KEY``).
    """
    known = await with_secret(settings, patience=0, adopts=False)
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        open_provider(settings) as provider,
    ):
        sessions = session_factory(engine)
        yield Registrar(
            new_uow=lambda: UnitOfWork(sessions, NO_QUEUE),
            hooks=provider.hooks,
            url=settings.provider_webhooks,
            secret=known.require_secret_key(),
            given=settings.webhook_secrets(),
            is_real=not (settings.uses_sandbox or settings.provider_on_loopback),
            now=clock.now,
        )


def _show(found: Registration) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("webhook", "scheme", "status", "events", "signing key", "URL"):
        table.add_column(heading, overflow="fold")
    for one in found.ours:
        webhook = one.webhook
        table.add_row(
            escape(webhook.webhook_id),
            one.scheme.value,
            webhook.status or "?",
            _events(one),
            "missing" if Fault.KEY_UNKNOWN in one.faults else "present",
            escape(webhook.url),
        )
    for foreign in found.foreign:
        table.add_row(
            escape(foreign.webhook_id),
            "",
            foreign.status or "?",
            str(len(foreign.events)),
            "not ours",
            escape(foreign.url),
        )
    if found.ours or found.foreign:
        Console().print(table)


def _events(one: OurWebhook) -> str:
    if one.scheme is SignatureScheme.LEGACY:
        return ", ".join(one.webhook.events)
    needed = NEEDED[one.scheme]
    return f"{len(needed) - len(one.missing_events)} of {len(needed)} needed"
