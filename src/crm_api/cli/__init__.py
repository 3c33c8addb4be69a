"""The command line: one file a command, loaded only when it is called."""

import sys
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from crm_api.domain.errors import CrmError
from crm_api.processes import StartError
from crm_api.settings import SettingsError

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
)
"""Each is a module of this package with a Typer application named ``cli``."""
_ENVIRONMENT_LIBRARIES = ("asyncpg", "httpx", "redis", "sqlalchemy")
"""Their errors tell of a server that is away or refuses, not of a bug in this program."""
EXIT_FAILED = 1
EXIT_WRONG_SETTING = 2


class _Commands(typer.core.TyperGroup):
    """Loads a command's module when it is asked for, so that none pays for the others."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"crm_api.cli.{cmd_name}").cli)
        command.name = cmd_name
        return command


application = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@application.callback()
def _about() -> None:
    """Text campaigns through OpenPhone (Quo), replies and opt-outs: never twice, never lost."""


def main() -> None:
    """Run the command that the arguments name; the expected failures are one line."""
    try:
        application()
    except SettingsError as error:
        _fail(str(error), EXIT_WRONG_SETTING)
    except CrmError as error:
        _fail(error.detail, EXIT_FAILED)
    except StartError as error:
        _fail(str(error), EXIT_FAILED)
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does.
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
