"""Tests of the demo: its sample file, the comparison of its three counts, and one real run."""

import csv
import io
import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from tests.dev.test_up import command
from tests.free_ports import free_port

from crm_api.dev.demo import figures
from crm_api.dev.demo.api import JSON, Api, Sandbox
from crm_api.dev.demo.campaign_run import Upload, run
from crm_api.dev.demo.figures import Check, FigureCheck, Snapshot, compare
from crm_api.dev.demo.sample_file import COLUMNS, make_csv
from crm_api.dev.demo.screen import Screen
from crm_api.dev.demo.service import DemoError, Service, service
from crm_api.domain.imports.contacts.formats import detect_format
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
HERE = Service("http://crm.test", "http://sandbox.test", "a key")


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def usable_numbers(rows: list[list[str]]) -> list[str]:
    numbers = []
    for row in rows[1:]:
        for name in ("Primary Mobile Phone1", "Secondary Mobile Phone1"):
            try:
                numbers.append(parse_phone(row[COLUMNS.index(name)]))
            except InvalidPhoneError:
                continue
    return numbers


def test_sample_file_is_always_the_same_and_large_enough() -> None:
    rows = rows_of(make_csv())

    assert make_csv() == make_csv()
    assert len(rows) > 400
    assert {len(row) for row in rows} == {39}
    assert len(set(usable_numbers(rows))) > 350


def test_sample_file_has_only_fictional_numbers_and_addresses() -> None:
    rows = rows_of(make_csv())

    assert {number[5:8] for number in usable_numbers(rows)} == {"555"}
    emails = [cell for row in rows[1:] for cell in row if "@" in cell]
    assert emails
    assert all(email.endswith("@example.com") for email in emails)


def test_sample_file_is_detected_as_a_property_list() -> None:
    rows = rows_of(make_csv())

    assert detect_format(rows[0], rows[1:50]).format_name == "propertyradar"


def recipient(phone: str, status: str, **values: Any) -> JSON:
    sent = status in {"sent", "delivered", "failed"}
    return {
        "phone": phone,
        "status": status,
        "skip_reason": None,
        "provider_message_id": f"AC{phone}" if sent else None,
        "replied_at": None,
    } | values


def snapshot(**changes: Any) -> Snapshot:
    """Return counts for three people.

    The first person's message was delivered and got a reply, the second one's message failed, and
    the third person was skipped.
    """
    by_status = dict.fromkeys(("pending", "sending", "unknown", "sent"), 0)
    values: dict[str, Any] = {
        "stats": {
            "recipients_total": 3,
            "by_status": by_status | {"delivered": 1, "failed": 1, "skipped": 1},
            "replied": 1,
            "opted_out": 0,
        },
        "recipients": [
            recipient("+16175550001", "delivered", replied_at="2026-11-25T15:00:00Z"),
            recipient("+16175550002", "failed"),
            recipient("+16175550003", "skipped", skip_reason="opted_out"),
        ],
        "texts": [
            {"to": ["+16175550001"], "status": "delivered"},
            {"to": ["+16175550002"], "status": "undelivered"},
        ],
        "answers": [{"from": "+16175550001"}],
        "stops": 0,
    }
    return Snapshot(**(values | changes))


def names_of_disagreements(values: Snapshot) -> list[str]:
    return [check.name for check in compare(values) if not check.agrees]


def test_three_equal_counts_agree() -> None:
    assert names_of_disagreements(snapshot()) == []


def test_duplicate_message_makes_the_counts_disagree() -> None:
    texts = [*snapshot().texts, {"to": ["+16175550001"], "status": "sent"}]

    assert names_of_disagreements(snapshot(texts=texts)) == ["got two messages"]


def test_message_after_an_opt_out_makes_the_counts_disagree() -> None:
    texts = [*snapshot().texts, {"to": ["+16175550003"], "status": "sent"}]

    assert names_of_disagreements(snapshot(texts=texts)) == [
        "got a message",
        "got a message after an opt-out",
    ]


def test_reply_that_was_not_stored_makes_the_counts_disagree() -> None:
    assert names_of_disagreements(snapshot(answers=[])) == ["replied"]


def test_skipped_people_are_counted_by_reason() -> None:
    assert figures.skip_reasons(snapshot().recipients) == {"opted_out": 1}


@pytest.mark.parametrize(
    ("rows", "recorded", "agrees"),
    [(22, 22, True), (22, None, True), (21, None, False), (22, 23, False)],
)
def test_figure_is_compared_with_its_rows_and_with_the_recorded_number(
    rows: int, recorded: int | None, *, agrees: bool
) -> None:
    check = FigureCheck("jobs", "22", Decimal(22), Decimal(rows), recorded)

    assert check.agrees is agrees


def plain_screen(width: int = 100) -> tuple[Screen, io.StringIO]:
    output = io.StringIO()
    return Screen(Console(file=output, width=width)), output


def test_terminal_of_80_columns_shows_all_figures() -> None:
    screen, output = plain_screen(width=80)
    name, figure = "cost_per_appointment", "16.1% (12.8% to 20.2%)"

    screen.figures([FigureCheck(name, figure, Decimal(2165000), Decimal(2165000), 2165000)])

    row = next(line for line in output.getvalue().splitlines() if name in line)
    assert row.split("│")[1:-1] == [name, figure, "2165000", " 2165000", " 2165000", "yes  "]


def test_table_marks_counts_that_disagree() -> None:
    screen, output = plain_screen()

    screen.result([("sent", "2")], [Check("sent", 2, 2, 2), Check("replied", 1, 1, 2)])

    shown = output.getvalue()
    assert "yes" in shown
    assert "NO" in shown


def test_service_with_other_lines_is_refused_before_the_import() -> None:
    called = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url.path)
        if request.url.host == "sandbox.test":
            return httpx.Response(200, json={"lines": [{"id": "PNsandbox1"}]})
        return httpx.Response(200, json={"data": [{"phone_number_id": "PNreal"}]})

    transport = httpx.MockTransport(answer)
    screen, _ = plain_screen()

    with (
        Api(HERE, transport=transport) as api,
        pytest.raises(DemoError, match="runs only on the sandbox"),
    ):
        run(api, Sandbox(HERE.sandbox_url, transport=transport), Upload("x", b""), screen, now=NOW)

    assert called == ["/sandbox", "/v1/lines/sync"]


def test_demo_without_a_sandbox_is_refused() -> None:
    sandbox = Sandbox(
        HERE.sandbox_url, transport=httpx.MockTransport(lambda _: httpx.Response(404))
    )

    with pytest.raises(DemoError, match="no sandbox answers"):
        sandbox.lines()


def test_refusal_by_the_api_is_reported_in_one_line() -> None:
    problem = {"code": "invalid", "detail": "Wrong.", "errors": [{"pointer": "/a", "detail": "No"}]}
    transport = httpx.MockTransport(lambda _: httpx.Response(422, json=problem))

    with (
        Api(HERE, transport=transport) as api,
        pytest.raises(
            DemoError, match=r"^the API refused POST /v1/x with status 422 \(invalid: /a: No\)$"
        ),
    ):
        api.post("/v1/x")


def test_demo_with_a_provider_api_key_is_refused_in_one_line(tmp_path: Path) -> None:
    result = command(
        "demo",
        "--data-dir",
        str(tmp_path / "data"),
        CRM_OPENPHONE_API_KEY="not-a-real-key",
        CRM_OPENPHONE_WEBHOOK_SECRETS="c2lnbmluZy1rZXk=",
    )

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "CRM_OPENPHONE_API_KEY is set" in result.stderr
    assert not (tmp_path / "data").exists()


def test_demo_finds_the_service_of_another_container(tmp_path: Path) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{elsewhere.server_port}"
        variables = {
            "CRM_DATA_DIR": str(tmp_path),
            "CRM_PORT": str(free_port()),
            "CRM_PUBLIC_URL": url,
            "CRM_OPENPHONE_BASE_URL": "http://sandbox:8001",
            "CRM_BOOTSTRAP_API_KEY": "k" * 32,
        }
        steps: list[str] = []

        with service(variables, steps.append) as found:
            pass
        with service(variables | {"CRM_PUBLIC_URL": ""}, steps.append, url=f"{url}/") as named:
            pass
        elsewhere.shutdown()

    assert found == named == Service(url, "http://sandbox:8001", "k" * 32)
    assert steps == [f"using the running service at {url}"] * 2


def test_demo_without_a_running_service_starts_and_stops_its_own(tmp_path: Path) -> None:
    port = free_port()
    people = tmp_path / "people.csv"
    people.write_bytes(make_csv(rows=40, seed=3))

    result = command(
        "demo",
        *("--port", str(port), "--data-dir", str(tmp_path / "data"), "--csv", str(people)),
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "in the format propertyradar" in result.stdout
    assert "skipped: opted_out" in result.stdout
    assert "people were interested; recorded" in result.stdout
    assert "cost_per_appointment" in result.stdout
    assert "NO" not in result.stdout
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
