"""The settings of a command: its options over the environment, `.env`, and a running `up`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from crm_api.data_dir import running_settings
from crm_api.settings import Settings, read_env_file

Port = Annotated[int | None, typer.Option(help="Where the API listens; over CRM_PORT.")]
Host = Annotated[str | None, typer.Option(help="On which address; over CRM_HOST.")]
DataDir = Annotated[Path | None, typer.Option(help="Data directory; over CRM_DATA_DIR.")]


def variables(
    *, port: int | None = None, host: str | None = None, data_dir: Path | None = None
) -> dict[str, str]:
    """Collect the ``CRM_*`` variables: options, then the environment, then ``.env``."""
    given = {"CRM_PORT": port, "CRM_HOST": host, "CRM_DATA_DIR": data_dir}
    named = _ours({**read_env_file(Path(".env")), **_ours(os.environ)})
    return named | {name: str(value) for name, value in given.items() if value is not None}


def load_settings(*, data_dir: Path | None = None) -> Settings:
    """Read the settings; what they leave open is taken from an `up` in the data directory.

    Raises:
        SettingsError: One line that names the setting.
    """
    found = variables(data_dir=data_dir)
    settings = Settings.from_env(found)
    if settings.database_url is None or settings.redis_url is None:
        settings = Settings.from_env(running_settings(settings.data_dir) | found)
    return settings


def _ours(values: Mapping[str, str]) -> dict[str, str]:
    """Keep our variables; an empty one counts as unset."""
    return {name: value for name, value in values.items() if name.startswith("CRM_") and value}
