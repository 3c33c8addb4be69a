"""`crm-api demo`: run one complete campaign on the sandbox."""

from pathlib import Path
from typing import Annotated

import typer

from crm_api.cli.options import DataDir, Host, Port, variables
from crm_api.dev.demo.api import Api, Sandbox
from crm_api.dev.demo.campaign_run import Upload, run
from crm_api.dev.demo.sample_file import make_csv
from crm_api.dev.demo.screen import Screen
from crm_api.dev.demo.service import DemoError, service
from crm_api.platform import clock

EXIT_DISAGREE = 1

cli = typer.Typer(add_completion=False)


@cli.command()
def demo(
    csv: Annotated[
        Path | None,
        typer.Option(help="CSV file of contacts; by default a file with invented people."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="URL of a running service; by default the demo finds or starts a service."
        ),
    ] = None,
    port: Port = None,
    host: Host = None,
    data_dir: DataDir = None,
) -> None:
    """Import a CSV file, send a campaign to its contacts on the sandbox, and wait for replies."""
    screen = Screen()
    upload = _upload(csv)
    found = variables(port=port, host=host, data_dir=data_dir)
    with service(found, screen.step, url=url) as here, Api(here) as api:
        agree = run(api, Sandbox(here.sandbox_url), upload, screen, now=clock.now())
    if not agree:
        raise typer.Exit(EXIT_DISAGREE)


def _upload(csv: Path | None) -> Upload:
    if csv is None:
        return Upload("propertyradar-sample.csv", make_csv())
    try:
        return Upload(csv.name, csv.read_bytes())
    except OSError as error:
        raise DemoError(
            f"{csv} cannot be read ({error.strerror}); set --csv to a CSV file that this user may "
            "read"
        ) from error
