"""The command line `crm-api`. Each command is a module that is imported only when it runs."""

import gc
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from crm_api.domain.kit.errors import CrmError
from crm_api.platform.processes import StartError
from crm_api.platform.settings import SettingsError

COMMANDS = (
    "up",
    "demo",
    "serve",
    "worker",
    "migrate",
    "database",
    "sandbox",
    "keys",
    "users",
    "webhooks",
    "backup",
    "restore",
    "move",
    "doctor",
    "openapi",
    "opt-out",
    "insight",
)
"""Names of the commands. Each command has a module in this package, with a Typer application
``cli``."""
_ENVIRONMENT_LIBRARIES = ("asyncpg", "httpx", "redis", "sqlalchemy")
"""Libraries whose errors are not bugs of this service: a server cannot be reached, or it refuses a
request."""
EXIT_FAILED = 1
EXIT_WRONG_SETTING = 2


class _Commands(typer.core.TyperGroup):
    """Group of commands. To save time, it imports only the module of the command that runs."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        # Imports create many objects that are never freed. The garbage collector would examine
        # these objects many times. So it is off during the import. Otherwise, the start of `serve`
        # would take 2.3 s of CPU time, 0.8 s of it for the garbage collector (measured).
        gc.disable()
        try:
            module = import_module(f"crm_api.cli.{cmd_name.replace('-', '_')}")
        finally:
            gc.freeze()
            gc.enable()
        command = typer.main.get_command(module.cli)
        command.name = cmd_name
        return command


application = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the library's signature
    if asked:
        typer.echo(version("crm-api"))
        raise typer.Exit


@application.callback()
def _about(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Send campaigns of text messages through OpenPhone (Quo), and handle replies and opt-outs."""


def main() -> None:
    """Run the command that the command line names."""
    run_reporting(application)


def run_reporting(program: Callable[[], object]) -> None:
    """Run ``program``, the main function of a command.

    If ``program`` raises an expected error, print the error as one line of text without a
    traceback, and exit.
    """
    try:
        program()
    except SettingsError as error:
        _fail(str(error), EXIT_WRONG_SETTING)
    except CrmError as error:
        _fail(error.detail, EXIT_FAILED)
    except StartError as error:
        _fail(str(error), EXIT_FAILED)
    except BrokenPipeError:
        # The program that reads the output, such as `head`, has closed the pipe.
        sys.stdout = None
        sys.exit(EXIT_FAILED)
    except Exception as error:
        line = _environment_line(error)
        if line is None:
            raise
        _fail(line, EXIT_FAILED)


def _environment_line(error: Exception) -> str | None:
    library = type(error).__module__.split(".")[0]
    if not isinstance(error, OSError) and library not in _ENVIRONMENT_LIBRARIES:
        return None
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0].removeprefix("<class 'OSError'>: ")


def _fail(line: str, code: int) -> None:
    sys.stderr.write(f"crm-api: {line}\n")
    sys.exit(code)
