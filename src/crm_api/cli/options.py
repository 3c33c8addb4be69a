"""Define the options that commands share, and read the settings of a command.

The settings come from the options, the environment and the file ``.env``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from crm_api.platform import logs
from crm_api.platform.data_dir import running_settings
from crm_api.platform.settings import Settings, read_env_file

Port = Annotated[int | None, typer.Option(help="Port of the API; overrides CRM_PORT.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; overrides CRM_HOST.")]
DataDir = Annotated[Path | None, typer.Option(help="Data directory; overrides CRM_DATA_DIR.")]


def variables(
    *, port: int | None = None, host: str | None = None, data_dir: Path | None = None
) -> dict[str, str]:
    """Return the ``CRM_*`` variables from the options, the environment and ``.env``.

    If a variable is set in several places, an option overrides the environment, and the environment
    overrides ``.env``.
    """
    given = {"CRM_PORT": port, "CRM_HOST": host, "CRM_DATA_DIR": data_dir}
    named = _ours({**read_env_file(Path(".env")), **_ours(os.environ)})
    return named | {name: str(value) for name, value in given.items() if value is not None}


def load_settings(*, data_dir: Path | None = None) -> Settings:
    """Read the settings of a command from the options, the environment and ``.env``.

    If the URL of the database or of Redis is missing, this function looks for a running `crm-api
    up` with the same data directory. If there is one, the function reads from it all variables that
    are not set.

    Raises:
        SettingsError: A setting is wrong. The message is one sentence with the name of the setting.
    """
    found = variables(data_dir=data_dir)
    settings = Settings.from_env(found)
    if settings.database_url is None or settings.redis_url is None:
        settings = Settings.from_env(running_settings(settings.data_dir) | found)
    return settings


def start_command(
    process: str, *, log_level: str | None = "WARNING", data_dir: Path | None = None
) -> Settings:
    """Read the settings of a command, and configure its log.

    Args:
        process: The name of the process in the log lines.
        log_level: None for the level in the settings.
        data_dir: None for the directory in the settings.

    Raises:
        SettingsError: A setting is wrong. The message is one sentence with the name of the setting.
    """
    settings = load_settings(data_dir=data_dir)
    logs.configure(settings.log_format, log_level or settings.log_level, process=process)
    return settings


def _ours(values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that begin with ``CRM_`` and are not empty."""
    return {name: value for name, value in values.items() if name.startswith("CRM_") and value}
