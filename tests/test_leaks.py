"""The watch over the run's log lines finds what it is there for."""

import logging
from pathlib import Path

import pytest
import structlog
from tests.conftest import ADMIN_KEY, SECRET
from tests.leaks import WATCH, LeakWatch

from crm_api.domain.access.key_text import new_key
from crm_api.domain.accounts.tokens import ACCESS_PREFIX, new_token
from crm_api.domain.webhook_endpoints.secrets import make_secret


@pytest.mark.parametrize(
    "told",
    [
        lambda: f"sent to {'+1617'}5550123",
        lambda: f"GET /v1/contacts/by-phone/%2B1{'617'}5550123",
        lambda: f"accepted {new_key()}",
        lambda: f"session {new_token(ACCESS_PREFIX)}",
        lambda: f"signing with {make_secret()}",
        lambda: f"key {SECRET}",
        lambda: f"bootstrap {ADMIN_KEY}",
        lambda: "connecting to postgresql://crm:geheim@db/crm",
    ],
    ids=["number", "escaped", "key", "session", "signing", "secret-key", "admin-key", "url"],
)
def test_a_line_that_tells_is_found(told: object) -> None:
    watch = LeakWatch()

    watch.write(f'{{"event": "{told()}"}}\n')  # type: ignore[operator]

    assert len(watch.take()) == 1
    assert watch.take() == []


@pytest.mark.parametrize(
    "line",
    [
        "sent to +***23 in 1790000000123 ns",
        "postgresql://***@db/crm",
        "request_id=3c3d0145855a474e842911d74d947ced",
        "key crm_1234…",
    ],
)
def test_a_line_that_tells_nothing_is_let_pass(line: str) -> None:
    watch = LeakWatch()

    watch.write(line)

    assert watch.take() == []


def test_logs_of_children_are_read_but_for_the_key_that_is_shown(tmp_path: Path) -> None:
    watch, log = LeakWatch(), tmp_path / "up.log"
    log.write_text(f"  Admin key  {ADMIN_KEY}  (kept)\nworker: called +1617{5550123}\n")

    watch.look(log)
    watch.look(tmp_path / "none.log")

    assert len(watch.take()) == 1


def test_what_this_process_logs_is_watched_as_the_service_writes_it() -> None:
    before = WATCH.lines

    structlog.get_logger("crm_api").warning("text sent", phone="+16175550123", token=SECRET)
    logging.getLogger("elsewhere").warning("and %s", "+16175550123")

    assert WATCH.lines == before + 2
    assert WATCH.take() == []
