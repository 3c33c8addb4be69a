"""`crm-api opt-out evaluate` measures the model with replies that users have classified."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.opt_out import comparison
from typer.testing import CliRunner, Result

from crm_api.cli import opt_out
from crm_api.cli.opt_out import cli
from crm_api.domain.consent.models import ReplyExample
from crm_api.platform.database import open_engine
from crm_api.platform.ids import new_id

MISSED = "What does a wall of 24 feet cost, call 617-555-0142?"
FOUND = "Please take me off your list"


class Command:
    """Runs the command `evaluate` with a database of stored example replies."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self._url = database_url
        self._environment = {"CRM_DATABASE_URL": database_url, "CRM_DATA_DIR": str(data_dir)}

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["evaluate", *arguments], env=self._environment)

    def add_examples(self, *examples: tuple[str, str, str]) -> None:
        """Store example replies. Each has a body, the result of the reader, and the true label."""
        asyncio.run(self._add(examples))

    async def _add(self, examples: tuple[tuple[str, str, str], ...]) -> None:
        async with (
            open_engine(self._url) as engine,
            AsyncSession(engine) as session,
            session.begin(),
        ):
            for body, read_as, label in examples:
                session.add(
                    ReplyExample(
                        activity_id=new_id(),
                        phone_hash=b"hash",
                        body=body,
                        previous="Shall we come?",
                        is_sale=True,
                        read_as=read_as,
                        reading={"model": "abc"},
                        label=label,
                        decision="opt_out" if label == "stop" else "release",
                        decided_at=NOW,
                        created_at=NOW,
                    )
                )


@pytest.fixture
def evaluate(committed_db: AsyncEngine, database_url: str, tmp_path: Path) -> Command:
    assert committed_db.url.database
    return Command(database_url, tmp_path)


def test_evaluation_without_examples_explains_how_to_collect_them(evaluate: Command) -> None:
    assert evaluate().strip() == opt_out.NONE_YET
    assert json.loads(evaluate("--json"))["examples"] == 0


def test_figures_have_intervals_and_misread_replies_are_listed(evaluate: Command) -> None:
    evaluate.add_examples((FOUND, "doubtful", "stop"), (MISSED, "none", "stop"))

    shown = evaluate()

    assert "People decided about 2 replies: 2 ask to stop, 0 do not." in shown
    assert "| all | 2 | 0.500 (0.095-0.905; 1/2) | 0.500 (0.095-0.905; 1/2) |" in shown
    assert "| en | 2 |" in shown
    assert "Replies that the model misreads: 1" in shown
    [line] = [line for line in shown.splitlines() if line.startswith("  stop")]
    assert "read as none (asks to stop 0." in line
    assert line.endswith(
        "read as none when it was received): What does a wall of ## feet cost, call ###-###-####?"
    )


def test_json_has_the_same_figures(evaluate: Command) -> None:
    evaluate.add_examples(
        (FOUND, "opt_out", "not_stop"), ("Not interested.", "doubtful", "not_stop")
    )

    found: dict[str, Any] = json.loads(evaluate("--json"))

    assert found["examples"] == 2
    assert found["figures"]["all"]["precision"]["hits"] == 0
    assert found["figures"]["all"]["harmless_held"]["total"] == 2
    assert found["figures"]["all"]["at_once"]["rate"] is None
    assert [(one["read_as"], one["label"]) for one in found["misread"]] == [
        ("opt_out", "not_stop"),
        ("doubtful", "not_stop"),
    ]


def test_export_is_private_and_is_compared_with_a_new_model(
    evaluate: Command, tmp_path: Path
) -> None:
    evaluate.add_examples((FOUND, "opt_out", "stop"), (MISSED, "none", "stop"))
    path = tmp_path / "examples.jsonl"

    evaluate("--export", str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    texts = comparison.read_examples(path)
    assert [one.text for one in texts] == [FOUND, MISSED]
    assert all(one.context.is_sale and one.context.is_question for one in texts)
    again = evaluate.run("--export", str(path))
    assert again.exit_code != 0
    assert "choose another file" in again.output


@pytest.mark.usefixtures("committed_db")
async def test_evaluation_cannot_write(database_url: str) -> None:
    async with opt_out.connect_read_only(database_url) as connection:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await connection.execute(text("DELETE FROM reply_example"))
