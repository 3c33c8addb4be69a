"""`crm-api opt-out`: show how replies are read and why, and measure how well."""

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
    ReplyKind.OPT_OUT: "opts out: no message leaves to this number any more",
    ReplyKind.DOUBTFUL: "holds: campaigns wait until a person decides",
    ReplyKind.OPT_IN: "opts in again",
    ReplyKind.HELP: "asks for help: the business's name and contact are sent",
    ReplyKind.NONE: "changes no consent",
}


@cli.callback()
def opt_out() -> None:
    """Show how replies are read."""


@cli.command("read")
def read(
    text: str = typer.Argument(..., help="The reply, in quotes."),
    *,
    sale: bool = typer.Option(
        default=False, help="A person of the office wrote the previous message."
    ),
    question: bool = typer.Option(
        default=False, help="The previous message ended in a question mark."
    ),
) -> None:
    """Read a reply; show the result, scores, thresholds and the words with the largest weight."""
    context = Context(is_sale=sale, is_question=question)
    reading = read_reply(text, context)
    model = current_model()
    typer.echo(f"{reading.kind}: {_MEANING[reading.kind]}")
    typer.echo(f"class: {reading.reply_class} (proposed); language: {reading.language}")
    if reading.decided_by is not DecidedBy.MODEL:
        typer.echo(f"decided by a {reading.decided_by}: {reading.wording or text!r}")
        return
    typer.echo(f"asks to stop: {reading.asks_to_stop:.4f}, opts out from {model.opt_out_at:.4f}")
    typer.echo(f"needs a person: {reading.needs_a_person:.4f}, holds from {model.hold_at:.4f}")
    scores = score_replies(model, [analyse(text)], [context])
    for output, title in (("asks_to_stop", "asks to stop"), ("needs_a_person", "needs a person")):
        weighed = weighed_words(scores, 0, output=output)[:WORDS_LISTED]
        words = ", ".join(f"{word} {part:+.2f}" for word, part in weighed)
        typer.echo(f"words that weigh for '{title}': {words}")


@cli.command("evaluate")
def evaluate(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - an option
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the examples to this new file, for `make opt-out-model EXAMPLES=`. It "
            "contains people's replies: keep it private, and delete it after use."
        ),
    ] = None,
) -> None:
    """Measure the model on the replies that people decided about; list the misread ones."""
    examples = asyncio.run(collect_examples(data_dir))
    if export is not None:
        export_examples(examples, export)
        typer.echo(f"{len(examples)} examples are in {export}.", err=True)
    if as_json:
        typer.echo(json.dumps(shape_report(examples), ensure_ascii=False, indent=2))
        return
    for line in write_report(examples):
        typer.echo(line)
