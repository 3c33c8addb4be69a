"""`crm-api opt-out`: show whether a reply counts as an opt-out, and count the mistakes."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from crm_api.cli.opt_out_evaluation import (
    collect_examples,
    export_examples,
    shape_report,
    write_report,
)
from crm_api.cli.options import DataDir
from crm_api.domain.consent.reply_reader.analysis import Context, analyse
from crm_api.domain.consent.reply_reader.classifier import (
    current_model,
    score_replies,
    weighed_words,
)
from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind, read_reply

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
    """Show whether the service takes a reply as an opt-out, and measure how often it is right."""


@cli.command("read")
def read(
    text: str = typer.Argument(..., help="The text of the reply, in quotes."),
    *,
    sale: bool = typer.Option(
        default=False, help="The previous message was written by a person, not by a campaign."
    ),
    question: bool = typer.Option(
        default=False, help="The previous message ended in a question mark."
    ),
) -> None:
    """Print whether a reply counts as an opt-out: result, scores, and the most important words."""
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
            help="Write the replies and decisions to this new file, for `make opt-out-model "
            "EXAMPLES=`. Keep the file private and delete it after use, because it contains "
            "replies of people."
        ),
    ] = None,
) -> None:
    """Compare the model with people's decisions on replies, and list the misread replies."""
    examples = asyncio.run(collect_examples(data_dir))
    if export is not None:
        export_examples(examples, export)
        typer.echo(f"{len(examples)} examples were written to {export}.", err=True)
    if as_json:
        typer.echo(json.dumps(shape_report(examples), ensure_ascii=False, indent=2))
        return
    for line in write_report(examples):
        typer.echo(line)
