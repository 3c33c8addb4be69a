"""A running campaign for tests, with short methods that change and read its attempts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, text
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.conversations.reply_context import read_reply_contexts
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import claim as claiming
from crm_api.domain.messaging.sends import gate, matching, record, settle
from crm_api.domain.messaging.sends import report as reports
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt, ClaimOrder, ClaimResult
from crm_api.domain.messaging.sends.matching import UnknownAttempt
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.replies import PersonReply, note_replies
from crm_api.domain.messaging.sends.settle import LookUp
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

TIMES = SendTimes(
    lease=timedelta(seconds=60),
    call_start=timedelta(seconds=1),
    call_timeout=timedelta(seconds=15),
    grace=timedelta(seconds=600),
    look_gap=timedelta(seconds=60),
    skew=timedelta(seconds=2),
)
BUSINESS = Business(name="Granite Foundations", contact="+16175550100")
BODY = "Hi there, this is Granite. Reply STOP to opt out."


def after(seconds: float) -> datetime:
    """Return the instant ``seconds`` after ``NOW``, at which every test starts."""
    return NOW + timedelta(seconds=seconds)


async def note_reply(
    uow: UnitOfWork,
    *,
    phone: str,
    line_id: UUID,
    at: datetime,
    times: SendTimes,
    now: datetime,
    is_opt_out: bool = False,
    is_interested: bool = False,
) -> UUID | None:
    """Store a reply at the recipient whose message it answers; return the id of the campaign.

    Return None if the reply belongs to no campaign.
    """
    found = await read_reply_contexts(uow, [(line_id, phone, at)], times=times)
    (to,) = found.replied_to
    if to is None:
        return None
    reply = PersonReply(
        to=to,
        at=at,
        is_opt_out=is_opt_out,
        is_interested=is_interested,
    )
    await note_replies(uow, [reply], now=now)
    return to.campaign_id


class Ledger:
    """One running campaign on one line.

    A test with two campaigns on one line opens two ``Ledger`` objects with that line.
    """

    rules: RuleBook = NO_RULES

    def __init__(self, new_uow: UnitOfWorkFactory, line: Line, campaign: Campaign) -> None:
        self.new_uow = new_uow
        self.line = line
        self.campaign = campaign

    @classmethod
    async def open(
        cls,
        new_uow: UnitOfWorkFactory,
        *,
        people: int = 1,
        line: Line | None = None,
        bodies: tuple[str, ...] = (BODY,),
        line_limit: int = 125,
        contact: dict[str, Any] | None = None,
        now: datetime = NOW,
        **campaign: Any,
    ) -> Self:
        """Add a campaign and a recipient for each of ``people`` numbers; all are due at ``now``."""
        async with new_uow() as uow:
            line = line or await make_line(uow.session, daily_limit=line_limit, now=now)
            made = await make_campaign(uow.session, line=line, bodies=bodies, now=now, **campaign)
            for position in range(people):
                known = await uow.session.execute(
                    text("SELECT id, phone, zone_key FROM contact WHERE phone = :phone"),
                    {"phone": number(position)},
                )
                person: Any = known.one_or_none() or await make_contact(
                    uow.session, phone=number(position), now=now, **(contact or {})
                )
                await make_member(uow.session, campaign=made, contact=person, now=now)
        return cls(new_uow, line, made)

    async def order(self, uow: UnitOfWork, *, now: datetime = NOW) -> ClaimOrder | None:
        """Return the planner's claim order for this campaign; None if the campaign may not send."""
        plan = await planning.plan_sends(uow, rules=self.rules, business=BUSINESS, now=now)
        return next((item for item in plan.orders if item.campaign_id == self.campaign.id), None)

    async def claim_in(
        self, uow: UnitOfWork, *, limit: int = 100, now: datetime = NOW
    ) -> ClaimResult:
        """Plan and claim in the given unit of work (transaction)."""
        order = await self.order(uow, now=now)
        if order is None:
            return ClaimResult()
        return await claiming.claim_recipients(uow, order, limit=limit, times=TIMES, now=now)

    async def claim(self, *, limit: int = 100, now: datetime = NOW) -> list[ClaimedAttempt]:
        async with self.new_uow() as uow:
            return (await self.claim_in(uow, limit=limit, now=now)).claimed

    async def gate(
        self, batch: Sequence[ClaimedAttempt], *, now: datetime = NOW
    ) -> list[ClaimedAttempt]:
        """Let claims pass the gate; release the refused claims, as the dispatcher does."""
        async with self.new_uow() as uow:
            passed = await gate.pass_gate(uow, batch, times=TIMES, now=now)
        held_back = [claimed for claimed in batch if claimed not in passed]
        async with self.new_uow() as uow:
            await gate.release_claims(uow, held_back, reason="gate", now=now)
        return passed

    async def begin_calls(self, *, limit: int = 100, now: datetime = NOW) -> list[ClaimedAttempt]:
        """Claim recipients, and let the claims pass the gate; return the attempts that passed."""
        return await self.gate(await self.claim(limit=limit, now=now), now=now)

    async def answer(
        self, claimed: ClaimedAttempt, kind: ResponseKind, *, now: datetime = NOW, **answer: Any
    ) -> None:
        """Record the provider's response to a call."""
        async with self.new_uow() as uow:
            answered = Answered(claimed=claimed, answer=SendResponse(kind=kind, **answer))
            await record.record_responses(uow, [answered], now=now)

    async def accept(
        self,
        claimed: ClaimedAttempt,
        message_id: str = "AC1",
        *,
        at: datetime | None = NOW,
        now: datetime = NOW,
    ) -> None:
        """Record that the provider accepted the call's message, with this message id."""
        await self.answer(
            claimed,
            ResponseKind.ACCEPTED,
            provider_message_id=message_id,
            provider_created_at=at,
            now=now,
        )

    async def make_unclear_attempt(self, *, now: datetime = NOW, **answer: Any) -> ClaimedAttempt:
        """Call the provider for one recipient, and record that the outcome is unclear."""
        (claimed,) = await self.begin_calls(limit=1, now=now)
        await self.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=now, **answer)
        return claimed

    async def report(self, facts: MessageFacts, *, now: datetime = NOW) -> UUID:
        async with self.new_uow() as uow:
            return await reports.apply_report(
                uow, facts=facts, line_id=self.line.id, times=TIMES, now=now
            )

    async def look_up(
        self, *messages: MessageFacts, begun_at: datetime, list_lags: bool = False
    ) -> AttemptStatus:
        """Read the only unknown attempt, and apply a look-up that found these messages."""
        async with self.new_uow() as uow:
            (unknown,) = await matching.list_unknown_attempts(uow, limit=10)
        return await self.conclude(unknown, *messages, begun_at=begun_at, list_lags=list_lags)

    async def conclude(
        self,
        unknown: UnknownAttempt,
        *messages: MessageFacts,
        begun_at: datetime,
        list_lags: bool = False,
    ) -> AttemptStatus:
        """Apply a look-up, which found these messages, to an attempt that was read earlier."""
        look = LookUp(begun_at=begun_at, messages=messages, list_lags=list_lags)
        async with self.new_uow() as uow:
            return await settle.conclude_look_up(uow, unknown, look, times=TIMES, now=begun_at)

    async def conclude_not_found(self) -> None:
        """Apply two look-ups that find nothing to the only unknown attempt."""
        assert await self.look_up(begun_at=after(700)) is AttemptStatus.UNKNOWN
        assert await self.look_up(begun_at=after(800)) is AttemptStatus.NOT_FOUND

    async def expire(self, *, now: datetime) -> int:
        async with self.new_uow() as uow:
            return await settle.expire_leases(uow, limit=100, now=now)

    async def flag(
        self, flag: str, *, phone: str = number(0), expires_at: datetime | None = None
    ) -> None:
        """Add a flag to a number without withdrawing messages."""
        async with self.new_uow() as uow:
            uow.session.add(
                ContactFlag(phone=phone, flag_type=flag, expires_at=expires_at, created_at=NOW)
            )

    async def run(self, statement: str, **values: Any) -> None:
        async with self.new_uow() as uow:
            await uow.session.execute(text(statement), values)

    async def rows(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        async with self.new_uow() as uow:
            return (await uow.session.execute(text(statement), values)).all()

    async def attempts(self) -> Sequence[Row[Any]]:
        """Return every attempt, oldest first."""
        return await self.rows("SELECT * FROM send_attempt ORDER BY created_at, id")

    async def attempt(self) -> Row[Any]:
        (row,) = await self.attempts()
        return row

    async def recipients(self) -> Sequence[Row[Any]]:
        """Return the campaign's recipients, ordered by number."""
        return await self.rows(
            "SELECT * FROM campaign_membership WHERE campaign_id = :id ORDER BY phone",
            id=self.campaign.id,
        )

    async def recipient(self) -> Row[Any]:
        (row,) = await self.recipients()
        return row

    async def messages(self) -> Sequence[Row[Any]]:
        """Return every row of ``activity`` (messages and calls), oldest first."""
        return await self.rows("SELECT * FROM activity ORDER BY created_at, id")

    async def message(self) -> Row[Any]:
        (row,) = await self.messages()
        return row

    async def alerts(self) -> set[str]:
        return {row.kind for row in await self.rows("SELECT kind FROM alert")}


def message_facts(
    status: str = "sent",
    *,
    message_id: str = "AC1",
    phone: str = number(0),
    body: str = BODY,
    at: datetime = NOW,
    updated_at: datetime | None = None,
    error_code: str | None = None,
    direction: str = "outgoing",
    user_id: str | None = None,
) -> MessageFacts:
    """Return the facts that a webhook or a list reports about one message."""
    return MessageFacts(
        provider_message_id=message_id,
        direction=direction,
        text=body,
        status=status,
        from_number="+16175550100",
        to_numbers=(phone,),
        phone_number_id="PNsandbox1",
        conversation_id=None,
        user_id=user_id,
        media=(),
        error_code=error_code,
        created_at=at,
        updated_at=updated_at,
    )
