"""What a claim is asked for, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from crm_api.domain.kit.contact_columns import ContactValues
from crm_api.domain.messaging.sends.pacing import Pacing

RETRY_CLAIM_AFTER = timedelta(seconds=60)
"""After this time the claim tries a recipient again that it could not take, because the number is
busy or was messaged recently."""

NO_CAP = (None, None)
SEND_ANYWAY = "send"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingLine:
    """The locked line of a running campaign.

    Attributes:
        phone_number_id: The provider's id of the line.
        is_probing: The line is on trial after a block: it sends one message at a time.
        has_carrier_budgets: The company declared a budget for a carrier.
        stopped_variants: How many variants of the campaign are stopped now.
    """

    id: UUID
    timezone: str
    name: str
    number: str
    phone_number_id: str
    is_probing: bool
    has_carrier_budgets: bool
    stopped_variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRecipient(ContactValues):
    """A due recipient whose number is locked, with the contact's values for the message.

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
        """Return the recipient's variant; another one if that was stopped."""

    def __call__(self, recipient: DueRecipient, line: SendingLine) -> str:
        """Write the body of the message for a recipient's step.

        Raises:
            InvalidError: The body cannot be written; the code is the skip reason.
        """


@dataclass(frozen=True, kw_only=True)
class ClaimOrder:
    """What one campaign may send now.

    Attributes:
        open_zones: The zone keys that are open, each with the instant at which it closes.
        compose: Writes the body for a recipient and the line.
        daily_limit: The campaign's own limit for a day of the line.
        min_days_between: Days that must pass after a message of another campaign; None for no
            minimum.
        caps: For zone keys whose law has a limit: how many campaign messages a number may get,
            and in how many hours.
        frequency_cap: The campaign's own limit: how many messages of all campaigns a number may
            get, and in how many days.
        stopped_variants: How many variants were stopped when this order was planned.
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
    """An attempt that a claim wants to insert.

    Attributes:
        not_after: When the recipient's legal window or the campaign's window closes, whichever is
            earlier.
        max_recent: How many campaign messages the law allows for the number in ``recent_hours``;
            None for no limit.
        activity_id: None before the claim. Afterwards the message: that of an earlier attempt, or
            a new one whose id is ``attempt_id``.
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
    """A claimed attempt. Only the process that holds its token may gate it and call.

    Attributes:
        sender: The provider's id of the line.
        is_probe: It is the one message that tests whether a blocked line works again.
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


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a claim took.

    Attributes:
        is_exhausted: The campaign may send nothing more now.
        is_stale: A variant was stopped since the order was planned. The caller must plan again.
    """

    claimed: list[ClaimedAttempt] = field(default_factory=list)
    is_exhausted: bool = True
    is_stale: bool = False
