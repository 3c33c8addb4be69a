"""`crm-api insight`: compute credits, and prove the stored ones."""

import asyncio
from typing import Annotated

import typer

from crm_api.cli.options import DataDir, load_settings
from crm_api.domain.inbound.webhook_setup.signing import NO_QUEUE
from crm_api.domain.insight.attribution import runs
from crm_api.domain.insight.attribution.errors import RulesNotFoundError
from crm_api.domain.insight.attribution.models import AttributionRun
from crm_api.domain.insight.attribution.runs import Verification
from crm_api.platform import logs
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.settings import Settings

cli = typer.Typer(no_args_is_help=True, add_completion=False)
Version = Annotated[
    int | None, typer.Option("--rules", help="The version of the attribution rules.")
]


@cli.callback()
def insight() -> None:
    """Compute which messages earned what, and prove the stored result."""


@cli.command()
def compute(version: Version = None, data_dir: DataDir = None) -> None:
    """Compute all credits again and store them with digests of what was read and of the result."""
    run = asyncio.run(_compute(_settings(data_dir), version))
    typer.echo(
        f"{run.outcomes} outcomes were credited by version {run.rules_version} of the rules.\n"
        f"inputs {run.inputs_hash.hex()}\nresult {run.result_hash.hex()}"
    )


@cli.command()
def verify(version: Version = None, data_dir: DataDir = None) -> None:
    """Prove the stored credits: compute the last run again and compare all digests."""
    found = asyncio.run(_verify(_settings(data_dir), version))
    if found is None:
        typer.echo("No run is stored yet. Run `crm-api insight compute`.", err=True)
        raise typer.Exit(1)
    if found.is_proved:
        typer.echo(
            f"Proved: {found.run.outcomes} outcomes give the stored credits again.\n"
            f"result {found.run.result_hash.hex()}"
        )
        return
    if not found.is_input_same:
        typer.echo(
            "Messages, replies or people have changed since the run, for example by a merge. Run "
            "`crm-api insight compute`, then verify again.",
            err=True,
        )
    if found.is_input_same and not found.is_result_same:
        typer.echo("The same inputs give other credits. The rules in the code changed.", err=True)
    if not found.is_stored_same:
        typer.echo("The stored credits are not those of the run. Somebody changed them.", err=True)
    raise typer.Exit(1)


def _settings(data_dir: DataDir) -> Settings:
    settings = load_settings(data_dir=data_dir)
    logs.configure(settings.log_format, "WARNING", process="insight")
    return settings


async def _compute(settings: Settings, version: int | None) -> AttributionRun:
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            try:
                now = await uow.database_now()
                return await runs.run_attribution(uow, version=version, now=now)
            except RulesNotFoundError as error:
                raise typer.BadParameter(error.detail) from error


async def _verify(settings: Settings, version: int | None) -> Verification | None:
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            try:
                return await runs.verify_run(uow, version=version)
            except RulesNotFoundError as error:
                raise typer.BadParameter(error.detail) from error
