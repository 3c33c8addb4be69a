"""`crm-api insight`: print figures (such as reply rates), and credit outcomes to messages.

An outcome is, for example, a payment. A credit is the share of an outcome that belongs to one
message.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
import typer.core

from crm_api.cli.options import DataDir, start_command
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.insight.attribution import runs
from crm_api.domain.insight.attribution.models import AttributionRun
from crm_api.domain.insight.attribution.rules import RulesNotFoundError, find_rules
from crm_api.domain.insight.attribution.verify import Verification, verify_run
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import Figure, Figures, compute_figures
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.kit.zones import is_time_zone
from crm_api.platform.database import open_uow
from crm_api.platform.settings import Settings


class _Measures(typer.core.TyperGroup):
    """Group of commands. Each measure, such as ``reply_rate``, is a command that prints values."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - the library's signature
        if cmd_name not in MEASURES:
            return super().get_command(ctx, cmd_name)
        ctx.obj = cmd_name
        command = super().get_command(ctx, "show")
        if command is not None:
            command.help = MEASURES[cmd_name].definition
        return command


LONGEST_SECONDS = 600.0
"""The time limit of each SQL statement of this command, in seconds."""
WIDEST_LABEL = 32
BAR = 24
_BLOCKS = " ▏▎▍▌▋▊▉█"
cli = typer.Typer(cls=_Measures, no_args_is_help=True, add_completion=False)
Version = Annotated[
    int | None,
    typer.Option(
        "--rules", help="Version of the attribution rules; by default the current version."
    ),
]


@cli.callback()
def insight() -> None:
    """Credit outcomes (such as payments) to messages, verify the stored credits, print figures."""


@cli.command(hidden=True)
def show(
    context: typer.Context,
    by: Annotated[
        Dimension | None,
        typer.Option(help="Compute one figure for each value, such as each campaign."),
    ] = None,
    bucket: Annotated[
        Bucket | None, typer.Option(help="Compute one figure for each day, week or month.")
    ] = None,
    zone: Annotated[
        str,
        typer.Option("--timezone", help="IANA time zone, in which days, weeks and months begin."),
    ] = "UTC",
    data_dir: DataDir = None,
) -> None:
    """Print the figures of a measure (such as the reply rate) as a table with intervals and bars.

    The intervals are 95 % confidence intervals.
    """
    if not isinstance(context.obj, str):
        raise typer.BadParameter("name a measure, such as `crm-api insight reply_rate`")
    if not is_time_zone(zone):
        raise typer.BadParameter("give an IANA time zone, such as America/New_York")
    request = FigureRequest(measure=MEASURES[context.obj], by=by, bucket=bucket, zone=zone)
    found = asyncio.run(_figures(start_command("insight", data_dir=data_dir), request))
    typer.echo(request.measure.definition)
    for line in draw_figures(found, zone=zone):
        typer.echo(line)


@cli.command()
def compute(version: Version = None, data_dir: DataDir = None) -> None:
    """Credit all outcomes (such as payments) to messages again; store the result for `verify`."""
    run = asyncio.run(_compute(start_command("insight", data_dir=data_dir), version))
    typer.echo(
        f"{run.outcomes} outcomes were credited by version {run.rules_version} of the rules.\n"
        f"inputs {run.inputs_hash.hex()}\nresult {run.result_hash.hex()}"
    )


@cli.command()
def verify(version: Version = None, data_dir: DataDir = None) -> None:
    """Verify the stored credits (which message led to which payment) by a second computation."""
    found = asyncio.run(_verify(start_command("insight", data_dir=data_dir), version))
    if found is None:
        typer.echo("No run is stored yet. Run `crm-api insight compute`.", err=True)
        raise typer.Exit(1)
    if found.is_proved:
        typer.echo(
            f"Proved: {found.run.outcomes} outcomes give the same credits as the stored ones.\n"
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
        typer.echo(
            "The same inputs now give other credits, so the code of the rules has changed.",
            err=True,
        )
    if not found.is_stored_same:
        typer.echo("The stored credits were changed after the run.", err=True)
    raise typer.Exit(1)


def draw_figures(figures: Figures, *, zone: str) -> Iterator[str]:
    """Yield the lines of a table: one line for each figure, then a line for the total.

    A figure is the value of a measure, such as the reply rate of one campaign. A ``*`` marks a
    figure that is not reliable, because it counts too few messages, people or outcomes.
    """
    shown = [*figures.rows, figures.total]
    labels = [_label(one, zone=zone) for one in figures.rows] + ["total"]
    numbers = [_number(one) for one in shown]
    spans = ["" if one.low is None else f"{one.low}-{one.high}" for one in shown]
    counts = ["" if one.denominator is None else str(one.denominator) for one in shown]
    widths = [max(map(len, column)) for column in (labels, numbers, spans, counts)]
    largest = max((_size(one) for one in figures.rows), default=0.0)
    for index, one in enumerate(shown):
        mark = " " if one.is_enough else "*"
        cells = (
            labels[index].ljust(widths[0]),
            numbers[index].rjust(widths[1]) + mark,
            spans[index].ljust(widths[2]),
            counts[index].rjust(widths[3]),
        )
        bar = _bar(_size(one), largest) if one is not figures.total else ""
        yield "  ".join((*cells, bar)).rstrip()


def _label(figure: Figure, *, zone: str) -> str:
    parts = []
    if figure.bucket_start is not None:
        parts.append(f"{figure.bucket_start.astimezone(ZoneInfo(zone)):%Y-%m-%d}")
    if figure.label is not None or figure.bucket_start is None:
        parts.append((figure.label or "(none)")[:WIDEST_LABEL])
    return " ".join(parts)


def _number(figure: Figure) -> str:
    return "-" if figure.value is None else str(figure.value)


def _size(figure: Figure) -> float:
    return max(0.0, float(figure.value or 0))


def _bar(size: float, largest: float) -> str:
    """Return a bar of at most ``BAR`` characters. Its length is exact to 1/8 of a character."""
    if largest <= 0:
        return ""
    eighths = round(size / largest * BAR * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")


def _show_progress(outcomes: int) -> None:
    typer.echo(f"{outcomes:,} outcomes", err=True)


async def _figures(settings: Settings, request: FigureRequest) -> Figures:
    async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
        try:
            now = await uow.database_now()
            rules = await find_rules(uow, version=None)
            request = replace(request, rules_version=rules.version)
            request.check()
            if request.needs_credits:
                await runs.fill_credits(uow, rules, now=now)
            return await compute_figures(uow.session, request, now=now, seconds=LONGEST_SECONDS)
        except CrmError as error:
            raise typer.BadParameter(error.detail) from error


async def _compute(settings: Settings, version: int | None) -> AttributionRun:
    async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
        try:
            now = await uow.database_now()
            return await runs.run_attribution(
                uow, version=version, now=now, progress=_show_progress
            )
        except RulesNotFoundError as error:
            raise typer.BadParameter(error.detail) from error


async def _verify(settings: Settings, version: int | None) -> Verification | None:
    async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
        try:
            return await verify_run(uow, version=version, progress=_show_progress)
        except RulesNotFoundError as error:
            raise typer.BadParameter(error.detail) from error
