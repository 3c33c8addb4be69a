"""Webhook health from three sides, with the time moved."""

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
from tests.workers.health_house import FROM, TO, House, open_house
from tests.workers.mailbox import OWNER, mail_server

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.signature import SignatureScheme
from crm_api.domain.operations.mail import Mailer, parse_server
from crm_api.domain.webhook_setup.keys import save_key
from crm_api.sandbox.config import SigningScheme
from crm_api.sandbox.faults import Fault, FaultKind
from crm_api.settings import Settings
from crm_api.workers.alerts import tell
from crm_api.workers.webhook_health import check

NewUow = Callable[[], UnitOfWork]


@pytest_asyncio.fixture
async def house(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> AsyncIterator[House]:
    async with open_house(settings, committed_uow, queue) as house:
        yield house


async def _round(house: House) -> None:
    """Ten seconds in which a test text can go its way, and is looked after."""
    await house.work()
    await house.pass_time(seconds=10)


async def test_all_is_well(house: House) -> None:
    await _round(house)

    check = await house.last("test_text")
    assert check["status"] == "passed", check
    assert check["latency_ms"] is not None
    assert (await house.last("silence"))["status"] == "passed"
    provider = await house.last("provider")
    assert provider["status"] == "passed", provider
    assert provider["evidence"]["webhooks"] == ["WHsandbox"]
    assert await house.alerts() == {}
    assert await house.readiness() == "ok"


async def test_legacy_webhooks_carry_the_test_text_too(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> None:
    async with open_house(settings, committed_uow, queue, scheme=SigningScheme.LEGACY) as house:
        await _round(house)

        assert (await house.last("test_text"))["status"] == "passed"


async def test_red_within_two_minutes_mailed_and_green_again(house: House) -> None:
    """The issue's own words: deliveries stop, a mail arrives; they come back, green."""
    await _round(house)
    async with mail_server() as box:
        house.deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        house.is_down = True
        await house.pass_time(minutes=60)
        began = house.now
        await house.pass_time(seconds=119)
        waiting = await house.last("test_text")
        await house.pass_time(seconds=2)
        red, red_after = await house.last("test_text"), house.now - began
        was_ready = await house.readiness()
        await tell(house.deps, now=house.clock)

        house.is_down = False
        await house.pass_time(minutes=10)
        await house.pass_time(seconds=10)
        green = await house.last("test_text")
        await tell(house.deps, now=house.clock)
        subjects, letter = box.subjects(), box.last()

    assert waiting["status"] == "waiting"
    assert (red["status"], red["leg"]) == ("failed", "no_webhook")
    assert "webhooks do not reach this service" in red["failure"]
    assert red_after <= timedelta(minutes=2, seconds=1)
    assert was_ready == "degraded"
    assert green["status"] == "passed"
    assert await house.readiness() == "ok"
    assert (await house.alerts())["test_text"] is False
    assert "webhook health" in subjects[0]
    assert len(subjects) == 2
    assert "Webhook health (test_text)" in letter


async def test_same_failure_again_is_one_alert(house: House) -> None:
    house.is_down = True
    for _ in range(4):
        await house.pass_time(minutes=10)
        await house.pass_time(minutes=3)

    (alert,) = await house.rows("SELECT count, subject FROM alert WHERE subject = 'test_text'")
    failed = await house.rows(
        "SELECT id FROM webhook_health_check WHERE side = 'test_text' AND status = 'failed'"
    )
    assert alert["count"] == 1
    assert len(failed) == 4


async def test_another_failure_is_told_again(house: House) -> None:
    house.is_down = True
    await house.work()
    await house.pass_time(minutes=3)
    house.is_worker_away = True
    await house.pass_time(minutes=10)
    await house.pass_time(minutes=3)

    (alert,) = await house.rows("SELECT count, detail FROM alert WHERE subject = 'test_text'")
    assert (await house.last("test_text"))["leg"] == "not_sent"
    assert alert["count"] == 2
    assert "did not leave" in alert["detail"]


async def test_hourly_and_no_oftener(house: House) -> None:
    for _ in range(180):
        await house.pass_time(minutes=1)

    found = await house.rows(
        "SELECT side, count(*) AS looks FROM webhook_health_check GROUP BY side ORDER BY side"
    )
    assert found == [
        {"side": "provider", "looks": 3},
        {"side": "silence", "looks": 3},
        {"side": "test_text", "looks": 3},
    ]
    texts = await house.rows("SELECT kind, phone FROM send_attempt")
    assert texts == [{"kind": "test", "phone": TO}] * 3


async def test_event_that_is_not_applied_is_told_from_one_that_did_not_come(house: House) -> None:
    house.applies = False
    await house.work()
    await house.pass_time(minutes=2, seconds=1)
    red = await house.last("test_text")
    house.applies = True
    await house.pass_time(minutes=5)
    await house.pass_time(seconds=10)

    assert (red["status"], red["leg"]) == ("failed", "not_applied")
    assert red["received_at"] is not None
    assert "GET /v1/webhook-events" in red["failure"]
    assert (await house.last("test_text"))["status"] == "passed"


async def test_event_that_is_applied_too_late_is_no_success(house: House) -> None:
    """The looking worker was away as well, so that nobody concluded it before."""
    house.applies = False
    await house.work()
    house.now += timedelta(minutes=3)
    await house._apply()
    await check(house.deps, now=house.clock)

    red = await house.last("test_text")
    assert (red["status"], red["leg"]) == ("failed", "late")
    assert "took 180 s" in red["failure"]


async def test_look_that_was_left_for_long_passes_when_all_came_in_time(house: House) -> None:
    await house.work()
    await house.pass_time(hours=5)

    found = await house.rows(
        "SELECT status FROM webhook_health_check WHERE side = 'test_text' ORDER BY created_at"
    )
    assert found[0]["status"] == "passed"


async def test_while_it_fails_it_is_looked_every_five_minutes(house: House) -> None:
    house.is_down = True
    for _ in range(60):
        await house.pass_time(minutes=1)

    found = await house.rows(
        "SELECT side, count(*) AS n FROM webhook_health_check GROUP BY side ORDER BY side"
    )
    assert {row["side"]: row["n"] for row in found}["test_text"] in range(7, 10)


async def test_text_that_cannot_leave_is_named_and_never_leaves_later(house: House) -> None:
    house.is_worker_away = True
    await house.work()
    await house.pass_time(minutes=2, seconds=1)
    check = await house.last("test_text")
    house.is_worker_away = False
    await house._send()

    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert house.sandbox.world.stats()["accepted"] == 0
    assert (await house.rows("SELECT status, error_code FROM activity")) == [
        {"status": "failed", "error_code": "health_check_over"}
    ]


async def test_blocked_line_fails_at_once_and_queues_nothing(house: House) -> None:
    await house.rows(
        "UPDATE line SET status = 'blocked', blocked_reason = 'no_credits' WHERE number = :n "
        "RETURNING id",
        n=FROM,
    )
    await house.work()

    check = await house.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert "no_credits" in check["failure"]
    assert await house.rows("SELECT id FROM activity") == []


async def test_text_that_the_provider_refuses_fails_at_once(house: House) -> None:
    house.sandbox.world.faults.orders.append(Fault(kind=FaultKind.INVALID, count=1))
    await _round(house)

    check = await house.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "not_sent")
    assert "0201400" in check["failure"]


async def test_unclear_send_that_comes_back_is_well(house: House) -> None:
    house.sandbox.world.faults.orders.append(Fault(kind=FaultKind.ERROR_AFTER, count=1))
    await _round(house)

    assert (await house.last("test_text"))["status"] == "passed"


async def test_wrong_key_is_told_from_no_delivery(house: House) -> None:
    (hook,) = house.sandbox.world.deliverer.hooks.values()
    hook.key = "whsec_c29tZWJvZHkgZWxzZSdzIHNpZ25pbmcga2V5"
    await house.work()
    await house.pass_time(minutes=2, seconds=1)

    check = await house.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "signature_refused")
    assert "crm-api webhooks rotate" in check["failure"]


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"health_check_from": "PNnobody"}, "CRM_HEALTH_CHECK_FROM names no line"),
        ({"health_check_to": "+16175550177"}, "CRM_HEALTH_CHECK_TO names no line"),
        ({"health_check_from": TO}, "one and the same line"),
    ],
)
async def test_lines_that_will_not_do_are_named(
    house: House, settings_: dict[str, str], words: str
) -> None:
    house.deps.settings = house.deps.settings.model_copy(update=settings_)
    await house.work()

    check = await house.last("test_text")
    assert (check["status"], check["leg"]) == ("failed", "misconfigured")
    assert words in check["failure"]


@pytest.mark.parametrize("name", ["PNsandbox2", "(617) 555-0199", "+16175550199"])
async def test_lines_may_be_named_by_id_or_number(house: House, name: str) -> None:
    house.deps.settings = house.deps.settings.model_copy(update={"health_check_from": name})
    await _round(house)

    assert (await house.last("test_text"))["status"] == "passed"


async def test_switched_off_while_failing_is_no_failure_for_ever(house: House) -> None:
    house.is_down = True
    await house.work()
    await house.pass_time(minutes=3)
    house.is_down = False
    house.deps.settings = house.deps.settings.model_copy(update={"health_check_from": None})
    await house.pass_time(minutes=70)
    await house.pass_time(minutes=10)

    assert await house.readiness() == "ok"
    assert (await house.alerts())["test_text"] is False


async def test_off_without_the_settings_and_the_other_sides_go_on(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> None:
    async with open_house(settings, committed_uow, queue, own_lines=False) as house:
        await house.work()
        sides = await house.rows("SELECT side FROM webhook_health_check ORDER BY side")

    assert [row["side"] for row in sides] == ["provider", "silence"]


async def test_nobody_becomes_a_contact_and_no_campaign_counts_it(house: House) -> None:
    await _round(house)

    assert await house.rows("SELECT phone FROM contact") == []
    assert await house.rows("SELECT campaign_id FROM send_tally") == [{"campaign_id": None}]


async def test_second_worker_changes_nothing(house: House) -> None:
    await house.work()
    before = await house.rows("SELECT count(*) AS n FROM webhook_health_check")
    await house.work()
    await house.work()

    assert await house.rows("SELECT count(*) AS n FROM webhook_health_check") == before
    assert len(await house.rows("SELECT id FROM send_attempt")) == 1


async def test_two_workers_at_once_order_and_conclude_once(house: House) -> None:
    await asyncio.gather(*(check(house.deps, now=house.clock) for _ in range(4)))
    await house.pass_time(seconds=1)
    await house.pass_time(seconds=1)
    await asyncio.gather(*(check(house.deps, now=house.clock) for _ in range(4)))

    looks = await house.rows(
        "SELECT side, status, count(*) AS n FROM webhook_health_check GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(row["side"], row["status"], row["n"]) for row in looks] == [
        ("provider", "passed", 1),
        ("silence", "passed", 1),
        ("test_text", "passed", 1),
    ]
    assert len(await house.rows("SELECT id FROM send_attempt")) == 1


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
async def test_answer_that_nobody_can_read_ends_in_a_sentence(
    house: House, answer: dict[str, Any]
) -> None:
    client = OpenPhoneClient(
        base_url="http://provider.test",
        api_key="key",
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, **answer)),
        sleep=_no_sleep,
    )
    async with client:
        house.deps.provider = client
        await check(house.deps, now=house.clock)
        house.now += timedelta(minutes=16)
        await check(house.deps, now=house.clock)

    found = await house.last("provider")
    assert (found["status"], found["leg"]) == ("failed", "provider_away")


async def _no_sleep(_seconds: float) -> None:
    return


async def test_checks_of_months_ago_and_retired_keys_are_removed(house: House) -> None:
    await _round(house)
    async with house.deps.new_uow() as uow:
        for name in ("first", "second"):
            await save_key(
                uow,
                webhook_id="7",
                scheme=SignatureScheme.STANDARD,
                key=f"whsec_{b64encode(name.encode() * 4).decode()}",
                secret=house.deps.secret,
                now=house.now,
            )
    await house.pass_time(days=89)
    kept = await house.rows("SELECT id FROM webhook_health_check")
    await house.pass_time(days=2)
    left = await house.rows("SELECT created_at FROM webhook_health_check")
    keys = await house.rows("SELECT retire_at FROM webhook_key")

    assert len(kept) == 6
    assert all(row["created_at"] > NOW + timedelta(days=80) for row in left)
    assert keys == [{"retire_at": None}]
