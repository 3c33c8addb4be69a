"""The API shows why the service paused a campaign or stopped a variant."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, make_line, number

from crm_api.domain.campaigns.audience.storage import list_unstored_audiences, store_next_chunk
from crm_api.domain.campaigns.figures.automatic_pause import check_figures
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
PEOPLE = 240
TWO_VARIANTS = [
    {"name": "Short", "body": "Hi, this is Granite.", "weight": 50},
    {"name": "Long", "body": "Good morning, this is Granite Foundations.", "weight": 50},
]


class Owner:
    """Helper that starts a campaign, stores results of its messages, and reads it by the API."""

    def __init__(self, client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow) -> None:
        self.client = client
        self.session = session
        self.new_uow = new_uow
        self.path = ""

    async def start(self, **changes: Any) -> None:
        line = await make_line(self.session)
        contacts = [
            await make_contact(self.session, phone=number(position)) for position in range(PEOPLE)
        ]
        await self.session.commit()
        body = {
            "name": "Autumn check",
            "line_id": str(line.id),
            "audience": {"contact_ids": [str(contact.id) for contact in contacts]},
            "variants": TWO_VARIANTS,
            **changes,
        }
        created = await self.client.post("/v1/campaigns", json=body)
        assert created.status_code == 201, created.text
        self.path = f"/v1/campaigns/{created.json()['id']}"
        started = await self.client.post(f"{self.path}/start")
        assert started.status_code == 200, started.text
        async with self.new_uow() as uow:
            (campaign_id,) = await list_unstored_audiences(uow)
            await store_next_chunk(uow, campaign_id=campaign_id, now=clock.now())
            await begin_due_campaigns(uow, now=clock.now())

    async def add_messages(self, count: int, *, variant: int = 0, status: str = "sent") -> None:
        """Change the status of `count` pending recipients to ``sent`` or another status."""
        await self._change(
            "status = :status, variant = :variant, sent_at = now()",
            "status = 'pending'",
            count=count,
            status=status,
            variant=variant,
        )

    async def add_replies(self, count: int, *, variant: int = 0, is_opt_out: bool = False) -> None:
        """Store that `count` more recipients of the variant have replied."""
        await self._change(
            "replied_at = now(), opted_out_at = CASE WHEN :is_opt_out THEN now() END",
            "status = 'sent' AND variant = :variant AND replied_at IS NULL",
            count=count,
            variant=variant,
            is_opt_out=is_opt_out,
        )

    async def _change(self, changes: str, condition: str, *, count: int, **values: Any) -> None:
        statement = text(
            f"UPDATE campaign_membership SET {changes} WHERE id IN "
            f"(SELECT id FROM campaign_membership WHERE {condition} ORDER BY phone LIMIT :count)"
        )
        await self.session.execute(statement, {"count": count, **values})
        await self.session.commit()

    async def run_check(self) -> None:
        """Check the figures of all campaigns, as the worker does before it sends."""
        async with self.new_uow() as uow:
            await check_figures(uow, now=clock.now())

    async def get(self, path: str = "") -> Any:
        response = await self.client.get(f"{self.path}{path}")
        assert response.status_code == 200, response.text
        return response.json()

    async def pending_contact_id(self) -> UUID:
        found = await self.session.execute(
            text("SELECT contact_id FROM campaign_membership WHERE status = 'pending' LIMIT 1")
        )
        return UUID(str(found.scalar_one()))

    async def alerts(self) -> Any:
        return (await self.client.get("/v1/alerts")).json()["data"]

    async def audit_log(self) -> Sequence[Row[Any]]:
        return (
            await self.session.execute(text("SELECT * FROM audit_log WHERE request_id IS NULL"))
        ).all()


@pytest.fixture
def owner(client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow) -> Owner:
    return Owner(client, session, new_uow)


async def test_campaign_shows_why_it_paused_and_can_be_resumed(owner: Owner) -> None:
    await owner.start()
    await owner.add_messages(120)
    await owner.add_replies(20, is_opt_out=True)
    await owner.run_check()

    paused = await owner.get()
    explained = await owner.get(f"/recipients/{await owner.pending_contact_id()}/explain")
    (alert,) = await owner.alerts()
    (entry,) = await owner.audit_log()

    evidence = paused["paused_evidence"]
    assert (paused["status"], paused["paused_reason"]) == ("paused", "opt_out_rate")
    assert {name: evidence[name] for name in ("texts", "opted_out", "rate", "limit")} == {
        "texts": 120,
        "opted_out": 20,
        "rate": "0.1667",
        "limit": "0.0500",
    }
    assert (explained["would_send_now"], explained["rule"]) == (False, "opt_out_rate")
    assert explained["detail"] == f"The campaign paused itself. {evidence['sentence']}"
    assert explained["next_allowed_at"] is None
    assert (alert["kind"], alert["resolved_at"]) == ("campaign_paused", None)
    assert "'Autumn check'" in alert["detail"]
    assert (entry.actor, entry.action, entry.detail["rate"]) == (
        "worker",
        "pause_campaign",
        "0.1667",
    )

    resumed = (await owner.client.post(f"{owner.path}/resume")).json()
    await owner.run_check()

    assert (resumed["status"], resumed["paused_reason"]) == ("running", None)
    assert resumed["paused_evidence"] is None
    assert (await owner.get())["status"] == "running"
    (alert,) = await owner.alerts()
    assert alert["resolved_at"] is not None


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ({}, "paused"),
        ({"max_failure_rate": "0.25"}, "paused"),
        ({"max_failure_rate": "0.9"}, "running"),
        ({"max_failure_rate": None}, "running"),
    ],
)
async def test_failure_limit_can_be_set_or_removed(
    owner: Owner, rules: dict[str, Any], status: str
) -> None:
    await owner.start(rules=rules)
    await owner.add_messages(60)
    await owner.add_messages(60, status="failed")

    await owner.run_check()

    assert (await owner.get())["status"] == status


@pytest.mark.parametrize("limit", ["0", "-0.1", "1.5", "0.00001", "many"])
@pytest.mark.parametrize("name", ["max_opt_out_rate", "max_failure_rate"])
async def test_limit_that_is_not_a_fraction_is_refused(owner: Owner, name: str, limit: str) -> None:
    body = {
        "name": "A",
        "line_id": str(UUID(int=0)),
        "audience": {"list_id": str(UUID(int=0))},
        "variants": TWO_VARIANTS,
        "rules": {name: limit},
    }

    response = await owner.client.post("/v1/campaigns", json=body)

    assert response.status_code == 422
    assert f"/rules/{name}" in [fault["pointer"] for fault in response.json()["errors"]]


async def test_ab_test_without_enough_data_has_no_winner(owner: Owner) -> None:
    await owner.start()
    await owner.add_messages(100)
    await owner.add_messages(99, variant=1)
    await owner.add_replies(60)

    test = (await owner.get("/stats"))["ab_test"]

    assert (test["status"], test["winner"], test["comparisons"]) == ("not_enough_data", None, [])
    assert test["sentence"] == (
        "Not enough data yet: each variant needs 100 messages, but Long has 99."
    )


async def test_variants_with_similar_replies_have_no_winner(owner: Owner) -> None:
    await owner.start()
    for variant in (0, 1):
        await owner.add_messages(110, variant=variant)
        await owner.add_replies(20, variant=variant)

    test = (await owner.get("/stats"))["ab_test"]

    assert (test["status"], test["winner"]) == ("no_difference_yet", None)
    assert [one["higher"] for one in test["comparisons"]] == [None, None]
    assert [one["measure"] for one in test["comparisons"]] == ["replies", "opt_outs"]


async def test_statistics_show_the_winner_and_stop_no_variant(owner: Owner) -> None:
    await owner.start()
    for variant, replies in ((0, 5), (1, 50)):
        await owner.add_messages(110, variant=variant)
        await owner.add_replies(replies, variant=variant)

    await owner.run_check()
    stats = await owner.get("/stats")

    test = stats["ab_test"]
    assert (test["status"], test["winner"], test["harmful"]) == ("winner", "Long", [])
    assert 0 < float(test["p_value"]) <= 0.05
    assert test["sentence"].startswith("Long gets more replies than every other variant")
    long = stats["variants"][1]
    assert (long["response_rate"], long["response_interval"]) == (
        "0.4545",
        {"low": "0.3646", "high": "0.5476"},
    )
    assert [one["stopped_at"] for one in stats["variants"]] == [None, None]
    assert await owner.audit_log() == []


async def test_winner_gets_the_remaining_messages_if_configured(owner: Owner) -> None:
    await owner.start(ab_test={"shift_to_winner": True})
    for variant, replies in ((0, 5), (1, 50)):
        await owner.add_messages(110, variant=variant)
        await owner.add_replies(replies, variant=variant)

    await owner.run_check()
    stats = await owner.get("/stats")
    (entry,) = await owner.audit_log()

    assert [one["stopped_reason"] for one in stats["variants"]] == ["lost", None]
    assert stats["ab_test"]["status"] == "winner"
    assert stats["ab_test"]["sentence"] == (
        "Long got more replies than the others, which are no longer sent."
    )
    assert (entry.actor, entry.action, entry.detail["variant"]) == (
        "worker",
        "stop_variant",
        "Short",
    )


async def test_harmful_variant_is_reported_and_stopped_if_configured(owner: Owner) -> None:
    await owner.start(ab_test={"stop_harmful": True}, rules={"max_opt_out_rate": None})
    for variant, opt_outs in ((0, 40), (1, 2)):
        await owner.add_messages(110, variant=variant)
        await owner.add_replies(opt_outs, variant=variant, is_opt_out=True)

    before = await owner.get("/stats")
    await owner.run_check()
    after = await owner.get("/stats")

    assert before["ab_test"]["harmful"] == ["Short"]
    assert before["ab_test"]["winner"] is None
    higher = {one["measure"]: one["higher"] for one in before["ab_test"]["comparisons"]}
    assert higher == {"replies": None, "opt_outs": "Short"}
    assert before["ab_test"]["sentence"].endswith(
        "More people opt out after Short than after another variant."
    )
    assert [one["stopped_reason"] for one in after["variants"]] == ["harmful", None]
    assert (after["ab_test"]["status"], after["ab_test"]["harmful"]) == ("ended", ["Short"])
    assert after["ab_test"]["sentence"] == (
        "Only one variant is still sent, so variants are no longer compared. "
        "No longer sent, because of the opt-outs: Short."
    )
    assert (await owner.get())["status"] == "running"


@pytest.mark.parametrize(
    ("ab_test", "pointer"),
    [
        ({"min_per_variant": 19}, "/ab_test/min_per_variant"),
        ({"stop_harmful": "perhaps"}, "/ab_test/stop_harmful"),
        ({"stop_harmfull": True}, "/ab_test/stop_harmfull"),
    ],
)
async def test_invalid_ab_test_is_refused_with_its_pointer(
    owner: Owner, ab_test: dict[str, Any], pointer: str
) -> None:
    body = {
        "name": "A",
        "line_id": str(UUID(int=0)),
        "audience": {"list_id": str(UUID(int=0))},
        "variants": TWO_VARIANTS,
        "ab_test": ab_test,
    }

    response = await owner.client.post("/v1/campaigns", json=body)

    assert response.status_code == 422
    assert pointer in [fault["pointer"] for fault in response.json()["errors"]]
