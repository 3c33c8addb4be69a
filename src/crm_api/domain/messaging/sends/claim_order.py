"""The input and the result of claiming campaign recipients.

To claim a recipient is to reserve it for one worker, which then sends the message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from crm_api.domain.kit.contact_columns import ContactValues
from crm_api.domain.messaging.sends.pacing import Pacing

RETRY_CLAIM_AFTER = timedelta(seconds=60)
"""A recipient cannot be claimed if its number has an open attempt or got a message recently. After
this time, a claim tries the recipient again."""

NO_CAP = (None, None)
"""The value of a frequency limit (number of messages, hours) that limits nothing."""
SEND_ANYWAY = "send"
"""The value of ``previously_contacted`` that allows messages to people contacted before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingLine:
    """The phone line of a campaign that is claiming (reserving) recipients.

    The line is locked during the claim.

    Attributes:
        phone_number_id: The provider's id of the line.
        is_probing: True if the line is tested after it was blocked. It then sends one message at a
            time.
        has_carrier_budgets: True if the number of message segments per day is limited for at least
            one carrier.
        has_holdout: True if a holdout is running. During a holdout, some people get no campaign
            messages, to measure the effect of messages.
        stopped_variants: The number of the campaign's variants (bodies that an A/B test compares)
            that are stopped now.
    """

    id: UUID
    timezone: str
    name: str
    number: str
    phone_number_id: str
    is_probing: bool
    has_carrier_budgets: bool
    has_holdout: bool
    stopped_variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRecipient(ContactValues):
    """A due recipient whose number is locked, with the contact's data that the message needs.

    Attributes:
        carrier_name: The carrier of the number, as phone validation stored it.
    """

    id: UUID
    contact_id: UUID
    zone_key: str
    variant: int
    step: int
    carrier_name: str | None


class Composer(Protocol):
    """Writes the body of a recipient's message."""

    def variant_of(self, recipient: DueRecipient) -> int:
        """Return the index of the recipient's variant (a body that an A/B test compares).

        If the variant of a first message was stopped, return the index of another variant that was
        not stopped, if there is one. A follow-up always has the variant that is stored for the
        recipient, even if this variant was stopped.
        """

    def __call__(self, recipient: DueRecipient, line: SendingLine) -> str:
        """Return the body of the message for the recipient.

        The recipient's step decides which message it is: the first message or a follow-up.

        Raises:
            InvalidError: The body cannot be written. The error's code is the skip reason.
        """


@dataclass(frozen=True, kw_only=True)
class ClaimOrder:
    """The rules by which one campaign may claim (reserve) recipients now.

    A zone key is a text with the states and time zones in which a person may be.

    Attributes:
        open_zones: The zone keys of people who may get messages now. The value of each zone key is
            the instant at which this permission ends.
        compose: Writes the body of a recipient's message.
        daily_limit: How many messages the campaign may send per day, in the line's time zone.
        min_days_between: How many days must pass after a message of another campaign; None for no
            minimum.
        caps: The legal frequency limit of each zone key. ``(3, 24)`` means that a number may get
            three campaign messages in 24 hours. A zone key without an entry has no limit.
        frequency_cap: The campaign's own frequency limit; None for no limit. ``(2, 7)`` means that
            a number may get two messages in seven days, over all campaigns.
        stopped_variants: How many variants (bodies that an A/B test compares) were stopped when
            these rules were computed.
        previously_contacted: What happens to people who were contacted before: ``send``, ``skip``
            or ``review``.
    """

    campaign_id: UUID
    line_id: UUID
    open_zones: Mapping[str, datetime]
    daily_limit: int
    min_days_between: int | None
    compose: Composer
    pacing: Pacing
    caps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    frequency_cap: tuple[int, int] | None = None
    stopped_variants: int = 0
    previously_contacted: str = SEND_ANYWAY


@dataclass(frozen=True, kw_only=True)
class PlannedAttempt:
    """An attempt to send a message that is about to be inserted, or was inserted just now.

    Attributes:
        not_after: The latest instant at which the request to the provider may end: the end of the
            recipient's legal hours or of the campaign's hours, whichever is earlier.
        max_recent: The legal frequency limit: how many campaign messages the number may get in
            ``recent_hours`` hours; None for no limit.
        activity_id: The id of the message; None before the insert. It is equal to ``attempt_id`` if
            this is the first attempt to send the message.
    """

    attempt_id: UUID
    membership_id: UUID
    contact_id: UUID
    phone: str
    body: str
    variant: int
    not_after: datetime
    max_recent: int | None
    recent_hours: int | None
    segments: int
    carrier: str
    activity_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimedAttempt:
    """A claimed attempt: one process has reserved its message for sending.

    Only the process with the attempt's token may send the message.

    Attributes:
        membership_id: The recipient; None for a message outside campaigns.
        sender: The provider's id of the line.
        is_probe: True if this message tests whether a blocked line works again.
        is_scheduled: True if a user chose a later time for the message. Then the person counts as
            waiting for an answer until the message is sent.
        media_urls: The URLs from which the provider downloads the files of the message.
    """

    attempt_id: UUID
    token: UUID
    membership_id: UUID | None
    campaign_id: UUID | None
    line_id: UUID
    sender: str
    phone: str
    body: str
    is_probe: bool = False
    is_scheduled: bool = False
    media_urls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """The result of one try to claim (reserve) recipients of a campaign.

    Attributes:
        is_exhausted: True if the campaign may send no further message now.
        is_stale: True if nothing was claimed, because a variant (a body that an A/B test compares)
            was stopped after the rules (``ClaimOrder``) were computed. Then the caller must compute
            the rules again.
    """

    claimed: list[ClaimedAttempt] = field(default_factory=list)
    is_exhausted: bool = True
    is_stale: bool = False
