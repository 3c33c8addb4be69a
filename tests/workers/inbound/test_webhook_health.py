"""Tests of the three webhook health checks, with a clock that the tests move."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.conftest import NOW
from tests.fakes import RecordingQueue
from tests.workers.inbound.health_bench import FROM, TO, HealthBench, open_bench
from tests.workers.mailbox import OWNER, mail_server

from crm_api.dev.sandbox.config import SigningScheme
from crm_api.dev.sandbox.faults import Fault
from crm_api.domain.alerts.mail import Mailer, parse_server
from crm_api.domain.inbound.webhook_setup.keys import save_key
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.workers.alerts import report_alerts
from crm_api.workers.inbound import run_health_checks

NewUow = Callable[[], UnitOfWork]


@pytest_asyncio.fixture
async def bench(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> AsyncIterator[HealthBench]:
    async with open_bench(settings, committed_uow, queue) as bench:
        yield bench


async def _run_check(bench: HealthBench) -> None:
    """Start a check, move the clock ten seconds for its test message, and conclude the check."""
    await bench.work()
    await bench.pass_time(seconds=10)


async def test_every_check_passes_if_all_works(bench: HealthBench) -> None:
    await _run_check(bench)

    check = await bench.last("test_text")
    assert check["status"] == "passed", check
    assert check["latency_ms"] is not None
    assert (await bench.last("silence"))["status"] == "passed"
    provider = await bench.last("provider")
    assert provider["status"] == "passed", provider
    assert provider["evidence"]["webhooks"] == ["WHsandbox"]
    assert await bench.alerts() == {}
    assert await bench.readiness() == "ok"


async def test_check_passes_with_legacy_webhooks(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> None:
    async with open_bench(settings, committed_uow, queue, scheme=SigningScheme.LEGACY) as bench:
        await _run_check(bench)

        assert (await bench.last("test_text"))["status"] == "passed"


async def test_lost_deliveries_fail_the_check_within_two_minutes_until_they_resume(
    bench: HealthBench,
) -> None:
    """Prove that the check fails with a mail when deliveries stop, and passes when they resume."""
    await _run_check(bench)
    async with mail_server() as box:
        bench.deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        bench.is_down = True
        await bench.pass_time(minutes=60)
        began = bench.now
        await bench.pass_time(seconds=119)
        waiting = await bench.last("test_text")
        await bench.pass_time(seconds=2)
        failed, failed_after = await bench.last("test_text"), bench.now - began
        was_ready = await bench.readiness()
        await report_alerts(bench.deps, now=bench.clock)

        bench.is_down = False
        await bench.pass_time(minutes=10)
        await bench.pass_time(seconds=10)
        passed = await bench.last("test_text")
        await report_alerts(bench.deps, now=bench.clock)
        subjects, mail_text = box.subjects(), box.last()

    assert waiting["status"] == "waiting"
    assert (failed["status"], failed["leg"]) == ("failed", "no_webhook")
    assert "webhooks do not reach this service" in failed["failure"]
    assert failed_after <= timedelta(minutes=2, seconds=1)
    assert was_ready == "degraded"
    assert passed["status"] == "passed"
    assert await bench.readiness() == "ok"
    assert (await bench.alerts())["test_text"] is False
    assert "webhook health" in subjects[0]
    assert len(subjects) == 2
    assert "Webhook health (test_text)" in mail_text


async def test_repeated_failure_raises_one_alert(bench: HealthBench) -> None:
    bench.is_down = True
    for _ in range(4):
        await bench.pass_time(minutes=10)
        await bench.pass_time(minutes=3)

    (alert,) = await bench.rows("SELECT count, subject FROM alert WHERE subject = 'test_text'")
    failed = await bench.rows(
        "SELECT id FROM webhook_health_check WHERE side = 'test_text' AND status = 'failed'"
    )
    assert alert["count"] == 1
    assert len(failed) == 4


async def test_another_failure_raises_the_alert_again(bench: HealthBench) -> None:
    bench.is_down = True
    await bench.work()
    await bench.pass_time(minutes=3)
    bench.is_worker_stopped = True
    await bench.pass_time(minutes=10)
    await bench.pass_time(minutes=3)

    (alert,) = await bench.rows("SELECT count, detail FROM alert WHERE subject = 'test_text'")
    assert (await bench.last("test_text"))["leg"] == "not_sent"
    assert alert["count"] == 2
    assert "was not sent" in alert["detail"]


async def test_each_check_runs_once_an_hour(bench: HealthBench) -> None:
    for _ in range(180):
        await bench.pass_time(minutes=1)

    found = await bench.rows(
        "SELECT side, count(*) AS looks FROM webhook_health_check GROUP BY side ORDER BY side"
    )
    assert found == [
        {"side": "provider", "looks": 3},
        {"side": "silence", "looks": 3},
        {"side": "test_text", "looks": 3},
    ]
    texts = await bench.rows("SELECT kind, phone FROM send_attempt")
    assert texts == [{"kind": "test", "phone": TO}] * 3


async def test_event_that_is_received_and_not_applied_is_reported_as_not_applied(
    bench: HealthBench,
) -> None:
    bench.applies = False
    await bench.work()
    await bench.pass_time(minutes=2, seconds=1)
    failed = await bench.last("test_text")
    bench.applies = True
    await bench.pass_time(minutes=5)
    await bench.pass_time(seconds=10)

    assert (failed["status"], failed["leg"]) == ("failed", "not_applied")
    assert failed["received_at"] is not None
    assert "GET /v1/webhook-events" in failed["failure"]
    assert (await bench.last("test_text"))["status"] == "passed"


async def test_event_that_is_applied_too_late_fails_the_check(bench: HealthBench) -> None:
    """Prove that a late event fails the check even if the worker was stopped.

    A stopped worker concludes no check, so the check did not fail earlier.
    """
    bench.applies = False
    await bench.work()
    bench.now += timedelta(minutes=3)
    await bench._apply()
    await run_health_checks(bench.deps, now=bench.clock)

    failed = await bench.last("test_text")
    assert (failed["status"], failed["leg"]) == ("failed", "late")
    assert "after 180 s" in failed["failure"]


async def test_check_that_ends_hours_later_passes_if_its_event_was_in_time(
    bench: HealthBench,
) -> None:
    await bench.work()
    await bench.pass_time(hours=5)

    found = await bench.rows(
        "SELECT status FROM webhook_health_check WHERE side = 'test_text' ORDER BY created_at"
    )
    assert found[0]["status"] == "passed"


async def test_failing_check_is_repeated_every_five_minutes(bench: HealthBench) -> None:
    bench.is_down = True
    for _ in range(60):
        await bench.pass_time(minutes=1)

    found = await bench.rows(
        "SELECT side, count(*) AS n FROM webhook_health_check GROUP BY side ORDER BY side"
    )
    assert {row["side"]: row["n"] for row in found}["test_text"] in range(7, 10)


async def test_message_that_could_not_be_sent_is_reported_and_never_sent_later(
    bench: HealthBench,
) -> None:
    bench.is_worker_stopped = True
    await bench.work()
    await bench.pass_time(minutes=2, seconds=1)
    check = await bench.last("test_text")
    bench.is_worker_stopped = False
    await bench._send()

    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert bench.sandbox.workspace.stats()["accepted"] == 0
    assert (await bench.rows("SELECT status, error_code FROM activity")) == [
        {"status": "failed", "error_code": "health_check_over"}
    ]


async def test_blocked_line_fails_the_check_at_once_and_queues_no_message(
    bench: HealthBench,
) -> None:
    await bench.rows(
        "UPDATE line SET status = 'blocked', blocked_reason = 'no_credits' WHERE number = :n "
        "RETURNING id",
        n=FROM,
    )
    await bench.work()

    check = await bench.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert "no_credits" in check["failure"]
    assert await bench.rows("SELECT id FROM activity") == []


async def test_message_that_the_provider_refuses_fails_the_check_at_once(
    bench: HealthBench,
) -> None:
    bench.sandbox.workspace.faults.active.append(Fault(kind=FaultKind.INVALID, count=1))
    await _run_check(bench)

    check = await bench.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert "0201400" in check["failure"]


async def test_unclear_send_whose_message_arrives_passes_the_check(bench: HealthBench) -> None:
    bench.sandbox.workspace.faults.active.append(Fault(kind=FaultKind.ERROR_AFTER, count=1))
    await _run_check(bench)

    assert (await bench.last("test_text"))["status"] == "passed"


async def test_wrong_signing_key_is_reported_as_a_refused_signature(bench: HealthBench) -> None:
    (hook,) = bench.sandbox.workspace.deliverer.hooks.values()
    hook.key = "whsec_c29tZWJvZHkgZWxzZSdzIHNpZ25pbmcga2V5"
    await bench.work()
    await bench.pass_time(minutes=2, seconds=1)

    check = await bench.last("test_text")
    assert (check["status"], check["leg"]) == (
        "failed",
        "signature_refused",
    )
    assert "crm-api webhooks rotate" in check["failure"]


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"health_check_from": "PNnobody"}, "CRM_HEALTH_CHECK_FROM names an unknown line"),
        ({"health_check_to": "+16175550177"}, "CRM_HEALTH_CHECK_TO names an unknown line"),
        ({"health_check_from": TO}, "name the same line"),
    ],
)
async def test_check_with_unsuitable_lines_fails_naming_the_setting(
    bench: HealthBench, settings_: dict[str, str], words: str
) -> None:
    bench.deps.settings = bench.deps.settings.model_copy(update=settings_)
    await bench.work()

    check = await bench.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "misconfigured")
    assert words in check["failure"]


@pytest.mark.parametrize("name", ["PNsandbox2", "(617) 555-0199", "+16175550199"])
async def test_lines_may_be_named_by_id_or_number(bench: HealthBench, name: str) -> None:
    bench.deps.settings = bench.deps.settings.model_copy(update={"health_check_from": name})
    await _run_check(bench)

    assert (await bench.last("test_text"))["status"] == "passed"


async def test_switching_a_failing_check_off_resolves_its_alert(bench: HealthBench) -> None:
    bench.is_down = True
    await bench.work()
    await bench.pass_time(minutes=3)
    bench.is_down = False
    bench.deps.settings = bench.deps.settings.model_copy(update={"health_check_from": None})
    await bench.pass_time(minutes=70)
    await bench.pass_time(minutes=10)

    assert await bench.readiness() == "ok"
    assert (await bench.alerts())["test_text"] is False


async def test_without_its_settings_the_check_is_off_and_the_other_checks_run(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> None:
    async with open_bench(settings, committed_uow, queue, own_lines=False) as bench:
        await bench.work()
        sides = await bench.rows("SELECT side FROM webhook_health_check ORDER BY side")

    assert [row["side"] for row in sides] == ["provider", "silence"]


async def test_check_creates_no_contact_and_counts_for_no_campaign(bench: HealthBench) -> None:
    await _run_check(bench)

    assert await bench.rows("SELECT phone FROM contact") == []
    assert await bench.rows("SELECT campaign_id FROM send_tally") == [{"campaign_id": None}]


async def test_second_worker_changes_nothing(bench: HealthBench) -> None:
    await bench.work()
    before = await bench.rows("SELECT count(*) AS n FROM webhook_health_check")
    await bench.work()
    await bench.work()

    assert await bench.rows("SELECT count(*) AS n FROM webhook_health_check") == before
    assert len(await bench.rows("SELECT id FROM send_attempt")) == 1


async def test_parallel_workers_order_and_conclude_each_check_once(bench: HealthBench) -> None:
    await asyncio.gather(*(run_health_checks(bench.deps, now=bench.clock) for _ in range(4)))
    await bench.pass_time(seconds=1)
    await bench.pass_time(seconds=1)
    await asyncio.gather(*(run_health_checks(bench.deps, now=bench.clock) for _ in range(4)))

    looks = await bench.rows(
        "SELECT side, status, count(*) AS n FROM webhook_health_check GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(row["side"], row["status"], row["n"]) for row in looks] == [
        ("provider", "passed", 1),
        ("silence", "passed", 1),
        ("test_text", "passed", 1),
    ]
    assert len(await bench.rows("SELECT id FROM send_attempt")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "<html>down for maintenance</html>"},
        {"json": []},
        {"json": {"data": [{"url": "https://x.example"}]}},
        {"json": {"data": [], "nextCursor": "again"}},
    ],
    ids=["html", "list", "no id", "endless"],
)
async def test_unreadable_response_of_the_provider_fails_the_check(
    bench: HealthBench, answer: dict[str, Any]
) -> None:
    client = OpenPhoneClient(
        base_url="http://provider.test",
        api_key="key",
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, **answer)),
        sleep=_no_sleep,
    )
    async with client:
        bench.deps.provider = client
        await run_health_checks(bench.deps, now=bench.clock)
        bench.now += timedelta(minutes=16)
        await run_health_checks(bench.deps, now=bench.clock)

    found = await bench.last("provider")
    assert (found["status"], found["leg"]) == ("failed", "provider_away")


async def _no_sleep(_seconds: float) -> None:
    return


async def test_old_checks_and_retired_keys_are_removed(bench: HealthBench) -> None:
    await _run_check(bench)
    async with bench.deps.new_uow() as uow:
        for name in ("first", "second"):
            await save_key(
                uow,
                webhook_id="7",
                scheme=SignatureScheme.STANDARD,
                key=f"whsec_{b64encode(name.encode() * 4).decode()}",
                secret=bench.deps.secret,
                now=bench.now,
            )
    await bench.pass_time(days=89)
    kept = await bench.rows("SELECT id FROM webhook_health_check")
    await bench.pass_time(days=2)
    left = await bench.rows("SELECT created_at FROM webhook_health_check")
    keys = await bench.rows("SELECT retire_at FROM webhook_key")

    assert len(kept) == 6
    assert all(row["created_at"] > NOW + timedelta(days=80) for row in left)
    assert keys == [{"retire_at": None}]
