"""`crm-api opt-out evaluate`: compare the model with people's decisions about replies."""

import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_api.cli.options import DataDir, load_settings
from crm_api.domain.consent.example_evaluation import (
    ExampleFigures,
    Rate,
    ReadExample,
    by_language,
    misread,
    read_examples,
)
from crm_api.domain.consent.reply_reader.classifier import current_model
from crm_api.platform.database import open_engine

NONE_YET = (
    "There are no examples yet. A decision of a person about a reply creates one: to confirm or "
    "release a hold, to opt out a number whose reply changed nothing, or to undo an opt-out that a "
    "reply caused."
)
_COLUMNS = ("recall with holds", "at once", "precision", "harmless held")


async def collect_examples(data_dir: DataDir) -> list[ReadExample]:
    """Return all replies about which a person decided, with the result of the current model.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set.
    """
    url = load_settings(data_dir=data_dir).require_database_url()
    async with connect_read_only(url) as connection:
        return await read_examples(connection)


@asynccontextmanager
async def connect_read_only(url: str) -> AsyncIterator[AsyncConnection]:
    """Open a database connection on which PostgreSQL refuses every write."""
    async with open_engine(url, pool_size=1) as engine, engine.connect() as connection:
        await connection.execution_options(postgresql_readonly=True)
        yield connection


def export_examples(examples: Iterable[ReadExample], path: Path) -> None:
    """Write the examples as JSON lines to a new file that only the present user can read.

    Raises:
        BadParameter: The file exists already.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sentence = f"{path} exists already; choose another file."
        raise typer.BadParameter(sentence, param_hint="--export") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one.exported(), ensure_ascii=False) + "\n" for one in examples)


def write_report(examples: Sequence[ReadExample]) -> Iterable[str]:
    """Yield the lines of a report as text: rates by language, then the misread replies."""
    if not examples:
        yield NONE_YET
        return
    model = current_model()
    stops = sum(one.is_stop for one in examples)
    yield (
        f"People decided about {len(examples)} replies: {stops} ask to stop, "
        f"{len(examples) - stops} do not. Model: {model.facts['data_sha256'][:12]}"
    )
    yield (
        f"Thresholds of the model: opt-out from {model.opt_out_at:.4f} on, hold from "
        f"{model.hold_at:.4f} on"
    )
    yield f"| language | replies | {' | '.join(_COLUMNS)} |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, chosen in by_language(examples).items():
        found = ExampleFigures.of(chosen)
        cells = (found.recall, found.at_once, found.precision, found.harmless_held)
        yield f"| {name} | {len(chosen)} | {' | '.join(map(str, cells))} |"
    wrong = misread(examples)
    yield f"Replies that the model misreads: {len(wrong)}"
    for one in wrong:
        reading = one.reading
        yield (
            f"  {one.label}, read as {reading.kind} (asks to stop {reading.asks_to_stop:.4f}, "
            f"needs a person {reading.needs_a_person:.4f}; read as {one.read_as} when it was "
            f"received): {one.masked}"
        )


def shape_report(examples: Sequence[ReadExample]) -> dict[str, Any]:
    """Return the report as JSON values: rates by language, and the misread replies."""
    model = current_model()
    return {
        "model": model.facts["data_sha256"][:12],
        "opt_out_at": model.opt_out_at,
        "hold_at": model.hold_at,
        "examples": len(examples),
        "figures": {
            name: {"examples": len(chosen), **_shape_figures(ExampleFigures.of(chosen))}
            for name, chosen in by_language(examples).items()
        },
        "misread": [
            {
                "text": one.masked,
                "label": one.label.value,
                "decision": one.decision,
                "decided_at": one.decided_at.isoformat(),
                "read_as": one.reading.kind.value,
                "read_as_then": one.read_as,
                "decided_by": one.reading.decided_by.value,
                "asks_to_stop": one.reading.asks_to_stop,
                "needs_a_person": one.reading.needs_a_person,
                "language": one.reading.language,
            }
            for one in misread(examples)
        ],
    }


def _shape_figures(found: ExampleFigures) -> dict[str, Any]:
    return {
        "recall_with_holds": _shape_rate(found.recall),
        "at_once": _shape_rate(found.at_once),
        "precision": _shape_rate(found.precision),
        "harmless_held": _shape_rate(found.harmless_held),
    }


def _shape_rate(rate: Rate) -> dict[str, Any]:
    """Return a rate with its confidence interval as JSON values.

    The value of the key ``rate`` is None if there are no replies to count.
    """
    low, high = rate.interval
    return {
        "rate": round(rate.value, 4) if rate.total else None,
        "low": round(low, 4),
        "high": round(high, 4),
        "hits": rate.hits,
        "total": rate.total,
    }
