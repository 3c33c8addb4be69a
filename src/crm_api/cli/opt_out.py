"""`crm-api opt-out`: show whether a reply counts as an opt-out, and evaluate such decisions.

The reply reader decides by fixed rules and by a model (a trained text classifier). `crm-api opt-out
evaluate` compares the decisions of the reply reader with the decisions of users.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

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
from crm_api.domain.consent.reply_reader.analysis import Context, analyse
from crm_api.domain.consent.reply_reader.classifier import (
    current_model,
    score_replies,
    weighed_words,
)
from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind, read_reply
from crm_api.platform.database import open_engine

NONE_YET = (
    "There are no examples yet. An example is created when a person confirms or releases a hold, "
    "opts out a number whose reply changed nothing, or undoes an opt-out that a reply caused."
)
_COLUMNS = ("recall with holds", "at once", "precision", "harmless held")


async def collect_examples(data_dir: DataDir) -> list[ReadExample]:
    """Return all replies for which a user has decided whether the reply is an opt-out.

    Each item has the reply, the user's decision, and the current decision of the reply reader.

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
    """Write replies to a new file, one JSON object per line.

    Each object has the text of a reply, the decision of a user about it, and how the service
    classified it on arrival. Only the system user who runs this command can read the file.

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
    """Yield the report of `crm-api opt-out evaluate` as lines of text.

    The report has a table with the precision and other rates of the reply reader (rules and a
    trained model), one row per language. Then it lists the replies that the reply reader misreads.
    """
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
    """Return the report of `crm-api opt-out evaluate` as JSON values.

    The report has the precision and other rates of the reply reader (rules and a trained model) by
    language, and the replies that the reply reader misreads.
    """
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

    The value of the key ``rate`` is None if the denominator of the rate is 0.
    """
    low, high = rate.interval
    return {
        "rate": round(rate.value, 4) if rate.total else None,
        "low": round(low, 4),
        "high": round(high, 4),
        "hits": rate.hits,
        "total": rate.total,
    }


cli = typer.Typer(no_args_is_help=True, add_completion=False)

WORDS_LISTED = 8

_MEANING = {
    ReplyKind.OPT_OUT: "the person opts out; no message is sent to this number any more",
    ReplyKind.DOUBTFUL: "unclear; campaigns send nothing to this number until a person decides",
    ReplyKind.OPT_IN: "the person opts in again",
    ReplyKind.HELP: "the person asks for help; the company's name and contact are sent",
    ReplyKind.NONE: "the reply does not change consent",
}


@cli.callback()
def opt_out() -> None:
    """Show whether a reply counts as an opt-out, and how often such decisions are correct."""


@cli.command("read")
def read(
    text: str = typer.Argument(..., help="The text of the reply, in quotes."),
    *,
    sale: bool = typer.Option(
        default=False,
        help="Whether a user wrote the message before the reply. Otherwise, a campaign sent it.",
    ),
    question: bool = typer.Option(
        default=False, help="Whether the message before the reply ended with a question mark."
    ),
) -> None:
    """Print whether a reply counts as an opt-out, with scores and the most important words."""
    context = Context(is_sale=sale, is_question=question)
    reading = read_reply(text, context)
    model = current_model()
    typer.echo(f"{reading.kind}: {_MEANING[reading.kind]}")
    typer.echo(f"class: {reading.reply_class} (proposed); language: {reading.language}")
    if reading.decided_by is not DecidedBy.MODEL:
        typer.echo(f"decided by a {reading.decided_by} that matches: {reading.wording or text!r}")
        return
    typer.echo(
        f"asks to stop: {reading.asks_to_stop:.4f} (an opt-out from {model.opt_out_at:.4f} on)"
    )
    typer.echo(f"needs a person: {reading.needs_a_person:.4f} (a hold from {model.hold_at:.4f} on)")
    scores = score_replies(model, [analyse(text)], [context])
    for output, title in (("asks_to_stop", "asks to stop"), ("needs_a_person", "needs a person")):
        weighed = weighed_words(scores, 0, output=output)[:WORDS_LISTED]
        words = ", ".join(f"{word} {part:+.2f}" for word, part in weighed)
        typer.echo(f"words with the most weight for '{title}': {words}")


@cli.command("evaluate")
def evaluate(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,  # noqa: FBT002 - an option
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the replies and the decisions to this new file. `make opt-out-model "
            "EXAMPLES=FILE` reads it. Keep the file private and delete it after use, because it "
            "contains replies of people."
        ),
    ] = None,
) -> None:
    """Compare the service's decisions about replies with decisions of users; list its mistakes."""
    examples = asyncio.run(collect_examples(data_dir))
    if export is not None:
        export_examples(examples, export)
        typer.echo(f"{len(examples)} examples were written to {export}.", err=True)
    if as_json:
        typer.echo(json.dumps(shape_report(examples), ensure_ascii=False, indent=2))
        return
    for line in write_report(examples):
        typer.echo(line)
