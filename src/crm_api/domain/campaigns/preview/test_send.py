"""Send test messages of a campaign to other lines of the company and to its test numbers."""

from datetime import datetime
from uuid import UUID

from crm_api.domain.campaigns.audience.reading import stream_audience
from crm_api.domain.campaigns.audience.selection import AudienceSettings
from crm_api.domain.campaigns.campaign_detail import read_campaign
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
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.legal_hours import find_unasked_allowed_at, read_legal_hours
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.platform.database import UnitOfWork

_TRIED = 20
"""A test message contains the values of a person in the audience. If the message cannot be rendered
for one person, the next person is tried. This is the maximum number of people."""


async def send_test_message(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    request: TrialRequest,
    business: Business,
    rules: RuleBook,
    now: datetime,
) -> Activity:
    """Queue a test message of a campaign to another line of the company or to a test number.

    The message contains the values of one of the first 20 people of the audience. If the message
    cannot be rendered for any of these people, it contains placeholders, such as ``[first_name]``.
    Daily limits do not apply.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the requested name.
        NotOwnNumberError: The number is neither another line of the company nor a test number.
        OutsideWindowError: The legal hours of the test number do not allow a message now.
        TestsTooOftenError: The test number has reached the legal limit of messages.
        LineCannotSendError: The line of the campaign is blocked.
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number has the flag ``do_not_contact``.
        RecipientOnHoldError: The number is on hold.
    """
    detail = await read_campaign(uow, campaign_id=campaign_id)
    variant, line = _variant(detail.variants, request.variant), detail.line
    await _check_number(uow, line, request.to, rules=rules, now=now)
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The line of the campaign is blocked and sends nothing. Correct the cause that "
            "`blocked_reason` names, then unblock the line with POST /v1/lines/{id}/unblock.",
            blocked_reason=line.blocked_reason,
        )
    return await queue_message(
        uow,
        line_id=line.id,
        phone=request.to,
        body=await _render_with_sample_values(
            uow, detail.campaign, variant, line, business=business, now=now
        ),
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
    detail = f"The campaign has no variant {name!r}. Its variants are: {known}."
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
            "A test message can be sent only to another line of the company or to a number in "
            "`test_numbers`. Add this number to `test_numbers` with PATCH /v1/settings."
        )
        raise NotOwnNumberError(detail)
    await consent.lock_decisions(uow, phones=[phone])
    await require_sendable(uow, kind=SendKind.TEST, phone=phone, now=now)
    if own is None:
        await _check_law(uow, line, phone, rules=rules, now=now)


async def _check_law(
    uow: UnitOfWork, line: Line, phone: str, *, rules: RuleBook, now: datetime
) -> None:
    """Raise an error if the legal hours or limits do not allow a message to a test number now.

    Raises:
        OutsideWindowError: The legal hours of the number do not allow a message now.
        TestsTooOftenError: The number has reached the legal limit of messages.
    """
    hours = await read_legal_hours(
        uow, line_id=line.id, phone=phone, rules=rules, now=now, is_unasked=True
    )
    if not hours.is_open:
        raise OutsideWindowError(
            "The present time is outside the legal hours of the test number.",
            otherwise="Or use another test number.",
            next_allowed_at=hours.opens_at,
        )
    allowed_at = await find_unasked_allowed_at(
        uow, line_id=line.id, phone=phone, rules=rules, now=now
    )
    if allowed_at is not None:
        raise TestsTooOftenError(
            "This test number has already got as many messages as the law of its state allows. Use "
            "another test number, or try again at `next_allowed_at`.",
            next_allowed_at=format_instant(allowed_at),
        )


async def _render_with_sample_values(
    uow: UnitOfWork,
    campaign: Campaign,
    variant: CampaignVariant,
    line: Line,
    *,
    business: Business,
    now: datetime,
) -> str:
    footer = campaign.opt_out_footer
    # The composer gets only this variant, so it uses this variant for every person.
    compose = MessageComposer.of_bodies([variant.body], footer=footer, business=business)
    batches = stream_audience(
        uow.session,
        AudienceSettings.of(campaign),
        campaign_id=campaign.id,
        variants=[variant],
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
