"""Send test messages of a campaign to own lines and test numbers."""

from datetime import datetime
from uuid import UUID

from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.audience.reading import stream_audience
from crm_api.domain.campaigns.audience.selection import AudienceSettings
from crm_api.domain.campaigns.errors import (
    InvalidCampaignError,
    NotOwnNumberError,
    TestsTooOftenError,
)
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.preview.message_sums import GETS_MESSAGE
from crm_api.domain.campaigns.preview.schemas import TrialRequest
from crm_api.domain.campaigns.templates.message_composer import (
    MessageComposer,
    render_without_recipient,
)
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import FieldProblem, InvalidError
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.conversations.errors import LineCannotSendError, OutsideWindowError
from crm_api.domain.messaging.conversations.user_messages import require_sendable
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.conversations import Activity
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.messaging.sends.reply_hours import find_test_allowed_at, read_test_hours
from crm_api.platform.database import UnitOfWork

_TRIED = 20
"""People of the audience to try, until one has all values."""


async def send_test_message(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    request: TrialRequest,
    business: Business,
    rules: RuleBook,
    now: datetime,
) -> Activity:
    """Queue a variant for an own line or a test number, with the values of the first recipient.

    If no recipient has all values, the names of the values are shown in brackets. The message is
    sent at once, outside the daily limit, and belongs to no recipient.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant of that name.
        NotOwnNumberError: The number is neither another own line nor a test number.
        OutsideWindowError: The law allows no message to the test number at this hour.
        TestsTooOftenError: The law allows no further message to the test number for now.
        LineCannotSendError: The campaign's line is blocked.
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number must not be contacted.
        RecipientOnHoldError: A doubtful reply holds the number.
    """
    campaign = await queries.require_campaign(uow.session, campaign_id=campaign_id)
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    variant = _variant(list(variants), request.variant)
    line = (await queries.list_lines(uow.session, line_ids=[campaign.line_id]))[0]
    await _check_number(uow, line, request.to, rules=rules, now=now)
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The line is blocked and sends nothing.", blocked_reason=line.blocked_reason
        )
    return await queue_message(
        uow,
        line_id=line.id,
        phone=request.to,
        body=await _text(uow, campaign, variant, line, business=business, now=now),
        kind=SendKind.TEST,
        contact_id=None,
        now=now,
    )


def _variant(variants: list[CampaignVariant], name: str | None) -> CampaignVariant:
    if name is None:
        return variants[0]
    for variant in variants:
        if variant.name == name:
            return variant
    known = ", ".join(variant.name for variant in variants)
    detail = f"The campaign has no variant {name!r}; it has: {known}."
    raise InvalidCampaignError(
        [FieldProblem(pointer="/variant", code="unknown_variant", detail=detail)]
    )


async def _check_number(
    uow: UnitOfWork, line: Line, phone: str, *, rules: RuleBook, now: datetime
) -> None:
    own = await lines.find_line_by_number(uow, numbers=[phone])
    is_listed = phone in await company.read_test_numbers(uow)
    if (own is None and not is_listed) or phone == line.number:
        detail = (
            "A test message goes to another own line or to a number in test_numbers of "
            "/v1/settings. Add this number there with PATCH /v1/settings."
        )
        raise NotOwnNumberError(detail)
    await consent.lock_decisions(uow, phones=[phone])
    await require_sendable(uow, kind=SendKind.TEST, phone=phone, now=now)
    if own is None:
        await _check_law(uow, line, phone, rules=rules, now=now)


async def _check_law(
    uow: UnitOfWork, line: Line, phone: str, *, rules: RuleBook, now: datetime
) -> None:
    """Apply the hours and limits of recipients to a test number.

    Raises:
        OutsideWindowError: The law allows no message to the number at this hour.
        TestsTooOftenError: The law allows no further message to the number for now.
    """
    hours = await read_test_hours(uow, line_id=line.id, phone=phone, rules=rules, now=now)
    if not hours.is_open:
        raise OutsideWindowError(
            "The law allows no message to the test number at this hour. Try again within its "
            "legal hours.",
            next_allowed_at=None if hours.opens_at is None else format_instant(hours.opens_at),
        )
    allowed_at = await find_test_allowed_at(uow, line_id=line.id, phone=phone, rules=rules, now=now)
    if allowed_at is not None:
        raise TestsTooOftenError(
            "The law of the number's state allows no further message for now. Use another test "
            "number, or wait.",
            next_allowed_at=format_instant(allowed_at),
        )


async def _text(
    uow: UnitOfWork,
    campaign: Campaign,
    variant: CampaignVariant,
    line: Line,
    *,
    business: Business,
    now: datetime,
) -> str:
    footer = campaign.opt_out_footer
    # It is the only variant here, so every person has it.
    compose = MessageComposer.of_bodies([variant.body], footer=footer, business=business)
    batches = stream_audience(
        uow.session,
        AudienceSettings.of(campaign),
        campaign_id=campaign.id,
        weights=[variant.weight],
        chosen=None,
        limit=_TRIED,
        now=now,
    )
    for person in [person async for batch in batches for person in batch]:
        if person.verdict not in GETS_MESSAGE:
            continue
        try:
            return compose(person, line)
        except InvalidError:
            continue
    return render_without_recipient(variant.body, footer=footer, business=business, line=line)[0]
