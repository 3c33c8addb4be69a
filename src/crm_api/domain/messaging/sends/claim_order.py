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
    """The line of a campaign that is claiming recipients. The line is locked during the claim.

    Attributes:
        phone_number_id: The provider's id of the line.
        is_probing: True if the line is on trial after a block. It sends one message at a time.
        has_carrier_budgets: True if at least one carrier has a daily budget of segments.
        has_holdout: True if a holdout is running.
        stopped_variants: The number of the campaign's variants that are stopped now.
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
        zone_key: The zone key of the recipient (the states and time zones in which the person may
            live).
        contact_zone_key: The zone key of the contact with the number. It differs if the contact
            moved while another transaction stored the recipient.
        carrier_name: The carrier of the number, as phone validation stored it.
    """

    id: UUID
    contact_id: UUID
    zone_key: str
    contact_zone_key: str
    variant: int
    step: int
    carrier_name: str | None


class Composer(Protocol):
    """Writes the body of a recipient's message."""

    def variant_of(self, recipient: DueRecipient) -> int:
        """Return the index of the recipient's variant (a body that an A/B test compares).

        If the variant of a first message was stopped, another variant that was not stopped replaces
        it. If all variants were stopped, the variant is not replaced. A follow-up always has the
        variant that is stored for the recipient, even if this variant was stopped.
        """

    def __call__(self, recipient: DueRecipient, line: SendingLine) -> str:
        """Return the body of the message for the recipient.

        The recipient's step decides which message it is: the first message or a follow-up.

        Raises:
            InvalidError: The body cannot be written. The error's code is the skip reason.
        """


@dataclass(frozen=True, kw_only=True)
class ClaimOrder:
    """The rules by which one campaign may claim recipients now.

    Attributes:
        open_zones: The zone keys for which messages are allowed now, each with the end of the
            allowed time.
        compose: Writes the body of a recipient's message.
        daily_limit: The largest number of messages of the campaign per day, in the line's time
            zone.
        min_days_between: The days that must pass after a message of another campaign; None for no
            minimum.
        caps: How many campaign messages to one phone number are legal, by zone key. ``(3, 24)``
            allows three messages in 24 hours. A zone key without an entry has no limit.
        frequency_cap: The campaign's own limit; None for no limit. ``(2, 7)`` allows a number two
            messages in seven days, over all campaigns.
        stopped_variants: How many variants were stopped when these rules were computed.
        previously_contacted: For people who were contacted before: ``send``, ``skip`` or
            ``review``.
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
    """An attempt that is about to be inserted, or was inserted just now.

    Attributes:
        not_after: The latest instant at which the request may end: the end of the legal hours or of
            the campaign's hours, whichever is earlier.
        max_recent: The legal limit of campaign messages to the number in ``recent_hours`` hours;
            None for no limit.
        activity_id: The id of the message; None before the insert. It is equal to ``attempt_id``
            for the first attempt.
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
    """A claimed attempt. Only the process with the attempt's token may send the message.

    Attributes:
        membership_id: The recipient; None for a message outside campaigns.
        sender: The provider's id of the line.
        is_probe: True if this message tests whether a blocked line works again.
        is_scheduled: True if a user chose a later time for the message. If the person waits for
            an answer, the waiting ends only when the message is sent.
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
    """The result of one try to claim recipients of a campaign.

    Attributes:
        is_exhausted: True if the campaign may send no further message now.
        is_stale: True if nothing was claimed, because a variant was stopped after the
            ``ClaimOrder`` was computed. The caller must compute the ``ClaimOrder`` again.
    """

    claimed: list[ClaimedAttempt] = field(default_factory=list)
    is_exhausted: bool = True
    is_stale: bool = False
