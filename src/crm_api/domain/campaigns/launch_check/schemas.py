"""Response models of the launch check."""

from typing import Annotated

from crm_api.domain.campaigns.preview.schemas import PreviewRecipients, SampleText
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, StopRule


class LaunchProblem(ReadModel):
    """A reason why the start of the campaign would be refused.

    Attributes:
        code: The code of the error that the start would return, or of an item in this error's
            ``errors``.
        pointer: The JSON pointer of the campaign's field that must change; null if none.
        detail: What is wrong, and what to do.
    """

    model_config = example(
        code="empty_audience",
        pointer="/audience",
        detail="No contact of the audience may get a message. Change the audience.",
    )

    code: str
    pointer: str | None
    detail: str


class LaunchWarning(ReadModel):
    """Something that a user should know before the start.

    Attributes:
        code: The code of the warning: ``sender_not_named``, ``no_way_to_stop``, ``missing_value``,
            ``ucs_2``, ``not_reached``, ``line_blocked``, ``no_finish`` or ``estimated``.
        variant: The name of the variant that the warning is about; null if the warning is about all
            variants.
        detail: What the warning means, and what to do.
    """

    model_config = example(
        code="missing_value",
        variant=None,
        detail="2 contacts get no message, because they have no value for first_name.",
    )

    code: str
    variant: str | None
    detail: str


class LaunchPerson(ReadModel):
    """A contact of the audience.

    Attributes:
        contact_id: The id of the contact.
        name: The name of the contact; null if it has none.
        phone: The phone number of the contact, in E.164.
    """

    model_config = example(name="Ada Rossi")

    contact_id: Id
    name: str | None
    phone: str


class LaunchReason(ReadModel):
    """A rule that prevents messages to contacts of the audience at the start.

    Attributes:
        rule: The name of the rule, as in a recipient's ``skip_reason``.
        outcome: ``review`` if a user must approve the contacts; ``held`` if a user must check a
            reply; else ``skipped``.
        people: The number of stopped contacts.
        detail: What the rule means.
        sample: Up to 10 of the contacts.
    """

    model_config = example(
        rule="opted_out", outcome="skipped", people=5, detail="The number is opted out."
    )

    rule: Annotated[str, Vocabulary(StopRule)]
    outcome: str
    people: int
    detail: str
    sample: list[LaunchPerson]


class LaunchRule(ReadModel):
    """A rule that this campaign obeys while it sends.

    Attributes:
        rule: The rule that the campaign obeys.
        detail: What the rule means for this campaign.
        is_binding: True if no other rule delays the last message more, or if this rule prevents all
            messages.
    """

    model_config = example(
        rule="campaign_daily_limit",
        detail="The campaign sends at most 125 messages a day.",
        is_binding=True,
    )

    rule: Annotated[str, Vocabulary(StopRule)]
    detail: str
    is_binding: bool


class LaunchCheck(ReadModel):
    """What would happen if the campaign were started now.

    Attributes:
        campaign_id: The id of the campaign.
        status: The status of the campaign.
        as_of: The instant of the check.
        can_start: Whether a start would succeed.
        problems: Why a start would be refused; empty if it would succeed.
        recipients: How many contacts get a message, and how many do not.
        reasons: Why contacts get no message at the start, the most frequent rule first.
        samples: Messages that some of the contacts would get.
        first_send_at: When the first message is expected; null if no message is expected.
        last_send_at: The last message is sent before this instant with a probability of 50 %. If
            null, ``forecast_detail`` says why.
        last_send_at_p90: As ``last_send_at``, with a probability of 90 %. Also null if it is over
            ten years away.
        forecast_detail: What delays or prevents messages most, and what to do.
        texts: The expected number of messages, follow-ups included.
        segments: The number of SMS segments of the first messages. Each segment costs money.
        cost: The cost of the first messages in dollars, as a decimal in a string.
        is_estimated: True if segments and cost are estimated from the first 100,000 contacts.
        warnings: What a user should know before the start.
        rules: The rules that the campaign obeys while it sends.
    """

    model_config = example(
        status="draft",
        can_start=True,
        problems=[],
        first_send_at="2026-12-01T14:00:00.000Z",
        last_send_at="2026-12-02T21:50:00.000Z",
        last_send_at_p90="2026-12-02T22:40:00.000Z",
        forecast_detail="The campaign may send 125 messages a day.",
        texts=231,
        segments=231,
        cost="2.31",
        is_estimated=False,
    )

    campaign_id: Id
    status: CampaignStatus
    as_of: Instant
    can_start: bool
    problems: list[LaunchProblem]
    recipients: PreviewRecipients
    reasons: list[LaunchReason]
    samples: list[SampleText]
    first_send_at: Instant | None
    last_send_at: Instant | None
    last_send_at_p90: Instant | None
    forecast_detail: str
    texts: int
    segments: int
    cost: str
    is_estimated: bool
    warnings: list[LaunchWarning]
    rules: list[LaunchRule]
