"""The command `crm-api backup`, run in the same way as users run it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from crm_api.cli.backup import cli
from crm_api.platform.processes import StartError

RECIPIENT = "age129ztnhxcgdxsxxvuzuwravymtr4jfzm9c0c7h9u8swfnnjl63gys5u2jcq"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "FILE or --recipient is missing"),
        (["file"], "FILE or --recipient is missing"),
        (["file", "--recipient", RECIPIENT, "--as-of", "yesterday"], "--as-of must be a time"),
        (["file", "--recipient", RECIPIENT, "--as-of", "2999-01-01T00:00Z"], "--as-of must be"),
        (["file", "--recipient", RECIPIENT, "--as-of", "2026-01-01T00:00"], "--as-of must be"),
    ],
)
def test_missing_or_wrong_argument_is_reported(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(cli, arguments, env={"CRM_DATA_DIR": str(tmp_path)})

    assert isinstance(done.exception, StartError)
    assert sentence in str(done.exception)


def test_new_key_prints_its_public_part(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["--new-key", str(tmp_path / "key")], input="\n\n")

    assert done.exit_code == 0, done.output
    public = done.stdout.split()[-1]
    assert public.startswith("age1")
    assert public in (tmp_path / "key").read_text()
