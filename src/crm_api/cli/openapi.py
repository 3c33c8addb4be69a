"""`crm-api openapi`: write the OpenAPI document to a file or to standard output."""

import json
from pathlib import Path
from typing import Annotated

import typer

from crm_api.app import build_app
from crm_api.platform.settings import Settings

cli = typer.Typer(add_completion=False)


@cli.command()
def openapi(
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; by default standard output."),
    ] = None,
) -> None:
    """Write the OpenAPI document as JSON. This command needs no settings, database or Redis."""
    document = json.dumps(build_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(document, nl=False)
        return
    output.write_text(document)
    typer.echo(f"The OpenAPI document was written to {output}.")
