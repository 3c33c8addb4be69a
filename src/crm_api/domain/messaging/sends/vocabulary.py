"""The closed sets about recipients and campaigns: statuses, skip reasons, stop rules."""

from enum import StrEnum


class SkipReason(StrEnum):
    """Why a recipient of a campaign gets no message.

    Attributes:
        OPTED_OUT: The person asked for no more messages.
        DO_NOT_CONTACT: The number has the flag `do_not_contact`.
        OPT_OUT_HOLD: A doubtful message holds the number until a person decides.
        CONTACT_DELETED: The contact was deleted.
        INVALID_NUMBER: Two messages to the number failed for good.
        LANDLINE: The number is a landline, and the campaign skips landlines.
        DUPLICATE_NUMBER: Another recipient of the campaign has the same number.
        MERGED: The contact was merged into another recipient of the campaign.
        PREVIOUSLY_CONTACTED: The person had messages before, and the campaign skips such people.
        REJECTED: A person rejected the recipient in the review.
        REPLIED: The person replied, which ends the follow-ups.
        CALLED: The person called, which ends the follow-ups.
        PREVIOUS_FAILED: The message before this follow-up failed.
        CAMPAIGN_ENDED: The campaign was cancelled or ended before the message was due.
        TEXTED_SINCE_BACKUP: After a restore from a backup it is not certain which messages were
            sent, so follow-ups are not sent.
        MISSING_VALUE: The contact lacks a value that the message needs.
        MISSING_IDENTIFICATION: The message would not name its sender.
        TEXT_FAILED: The message could not be written for this contact.
    """

    OPTED_OUT = "opted_out"
    DO_NOT_CONTACT = "do_not_contact"
    OPT_OUT_HOLD = "opt_out_hold"
    CONTACT_DELETED = "contact_deleted"
    INVALID_NUMBER = "invalid_number"
    LANDLINE = "landline"
    DUPLICATE_NUMBER = "duplicate_number"
    MERGED = "merged"
    PREVIOUSLY_CONTACTED = "previously_contacted"
    REJECTED = "rejected"
    REPLIED = "replied"
    CALLED = "called"
    PREVIOUS_FAILED = "previous_failed"
    CAMPAIGN_ENDED = "campaign_ended"
    TEXTED_SINCE_BACKUP = "texted_since_backup"
    MISSING_VALUE = "missing_value"
    MISSING_IDENTIFICATION = "missing_identification"
    TEXT_FAILED = "text_failed"


class StopRule(StrEnum):
    """Which rule stops a message, or decides when a campaign ends.

    Attributes:
        OPTED_OUT: The person asked for no more messages.
        DO_NOT_CONTACT: The number has the flag `do_not_contact`.
        OPT_OUT_HOLD: A doubtful message holds the number. Confirm it (opt-out) or release it
            (opt-in).
        CONTACT_DELETED: The contact was deleted.
        INVALID_NUMBER: Two messages to the number failed for good.
        LANDLINE: The number is a landline, and the campaign skips landlines.
        DUPLICATE_NUMBER: Another recipient of the campaign has the same number.
        MERGED: The contact was merged into another recipient of the campaign.
        PREVIOUSLY_CONTACTED: The person had messages before, and the campaign skips such people or
            puts them in review.
        REJECTED: A person rejected the recipient in the review.
        REPLIED: The person replied, which ends the follow-ups.
        CALLED: The person called, which ends the follow-ups.
        PREVIOUS_FAILED: The message before this follow-up failed.
        TEXTED_SINCE_BACKUP: After a restore from a backup it is not certain which messages were
            sent, so follow-ups are not sent.
        MISSING_VALUE: The contact lacks a value that the message needs.
        MISSING_IDENTIFICATION: The message would not name its sender.
        TEXT_FAILED: The message could not be written for this contact.
        REVIEW: The recipient waits for a decision of a person.
        HELD: A doubtful message holds the recipient until a person decides.
        SENDING: The message is being sent.
        UNKNOWN: It is not yet known whether the message was sent. It is looked up.
        PARKED: It is unclear whether the message was sent, and a person has to settle it.
        SENT: The message was sent.
        DELIVERED: The message was delivered.
        FAILED: The message failed; `error_code` of the recipient says why.
        SKIPPED: The recipient was skipped.
        CANCELLED: The recipient was cancelled with the campaign.
        NOT_STARTED: The campaign starts later.
        CAMPAIGN_DRAFT: The campaign is a draft.
        CAMPAIGN_SCHEDULED: The campaign is scheduled and has not started.
        CAMPAIGN_PAUSED: The campaign is paused.
        CAMPAIGN_BLOCKED: The provider refuses messages of the account; `blocked_reason` of the
            campaign says what to do.
        CAMPAIGN_COMPLETED: The campaign is completed.
        CAMPAIGN_CANCELLED: The campaign was cancelled.
        CAMPAIGN_ENDED: The end of the campaign has come.
        CAMPAIGN_ENDS: The campaign ends before the message may be sent.
        OPT_OUT_RATE: The campaign paused itself because too many people opted out.
        FAILURE_RATE: The campaign paused itself because too many messages failed.
        MISSED_START: The campaign paused itself because its start was missed.
        RESTORED: The campaign was paused because the database was restored from a backup.
        EMPTY_AUDIENCE: No person in the audience may get a message.
        LINE_BLOCKED: The line is blocked. Correct the cause, then unblock the line.
        LINE_ON_TRIAL: The line was blocked and is tried with one message at a time.
        LINE_DAILY_LIMIT: The daily limit of the line is used up.
        LINE_RAMP: The line is new and may send only so many messages a day.
        CAMPAIGN_DAILY_LIMIT: The daily limit of the campaign is used up.
        CARRIER_BUDGET: The declared daily segments of the carrier are used up.
        PROVIDER_ASKED_TO_WAIT: The provider asked for a pause (`Retry-After`).
        PROVIDER_RATE: The provider allows only so many requests a second.
        OTHER_CAMPAIGNS: Other campaigns use the same line.
        NUMBER_BUSY: Another message to the number is being sent.
        NUMBER_KEPT: An unclear message to the number has to be settled first.
        MIN_DAYS_BETWEEN: The campaign keeps so many days between messages to one person.
        FREQUENCY_CAP: The person has had as many messages as the campaign allows in its period.
        LEGAL_FREQUENCY: The number has had as many messages as the law of its state allows.
        OUTSIDE_SCHEDULE: It is outside the hours of the campaign.
        OUTSIDE_LEGAL_HOURS: It is outside the legal hours at the recipient.
        PACING: The messages of a day are spread over its hours.
        FOLLOW_UP_WAITS: The follow-up is due later.
        WAITING: The message waits for its next attempt.
    """

    OPTED_OUT = "opted_out"
    DO_NOT_CONTACT = "do_not_contact"
    OPT_OUT_HOLD = "opt_out_hold"
    CONTACT_DELETED = "contact_deleted"
    INVALID_NUMBER = "invalid_number"
    LANDLINE = "landline"
    DUPLICATE_NUMBER = "duplicate_number"
    MERGED = "merged"
    PREVIOUSLY_CONTACTED = "previously_contacted"
    REJECTED = "rejected"
    REPLIED = "replied"
    CALLED = "called"
    PREVIOUS_FAILED = "previous_failed"
    TEXTED_SINCE_BACKUP = "texted_since_backup"
    MISSING_VALUE = "missing_value"
    MISSING_IDENTIFICATION = "missing_identification"
    TEXT_FAILED = "text_failed"
    REVIEW = "review"
    HELD = "held"
    SENDING = "sending"
    UNKNOWN = "unknown"
    PARKED = "parked"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    CAMPAIGN_DRAFT = "campaign_draft"
    CAMPAIGN_SCHEDULED = "campaign_scheduled"
    CAMPAIGN_PAUSED = "campaign_paused"
    CAMPAIGN_BLOCKED = "campaign_blocked"
    CAMPAIGN_COMPLETED = "campaign_completed"
    CAMPAIGN_CANCELLED = "campaign_cancelled"
    CAMPAIGN_ENDED = "campaign_ended"
    CAMPAIGN_ENDS = "campaign_ends"
    OPT_OUT_RATE = "opt_out_rate"
    FAILURE_RATE = "failure_rate"
    MISSED_START = "missed_start"
    RESTORED = "restored"
    EMPTY_AUDIENCE = "empty_audience"
    LINE_BLOCKED = "line_blocked"
    LINE_ON_TRIAL = "line_on_trial"
    LINE_DAILY_LIMIT = "line_daily_limit"
    LINE_RAMP = "line_ramp"
    CAMPAIGN_DAILY_LIMIT = "campaign_daily_limit"
    CARRIER_BUDGET = "carrier_budget"
    PROVIDER_ASKED_TO_WAIT = "provider_asked_to_wait"
    PROVIDER_RATE = "provider_rate"
    OTHER_CAMPAIGNS = "other_campaigns"
    NUMBER_BUSY = "number_busy"
    NUMBER_KEPT = "number_kept"
    MIN_DAYS_BETWEEN = "min_days_between"
    FREQUENCY_CAP = "frequency_cap"
    LEGAL_FREQUENCY = "legal_frequency"
    OUTSIDE_SCHEDULE = "outside_schedule"
    OUTSIDE_LEGAL_HOURS = "outside_legal_hours"
    PACING = "pacing"
    FOLLOW_UP_WAITS = "follow_up_waits"
    WAITING = "waiting"


class PauseReason(StrEnum):
    """Why a campaign paused itself.

    Attributes:
        OPT_OUT_RATE: Too many people opted out. Reported before `failure_rate` if both apply.
        FAILURE_RATE: Too many messages failed.
        MISSED_START: The start was missed by more than `start_grace_hours`.
        RESTORED: The database was restored from a backup, so what was sent since then is not known.
    """

    OPT_OUT_RATE = "opt_out_rate"
    FAILURE_RATE = "failure_rate"
    MISSED_START = "missed_start"
    RESTORED = "restored"


class EndedBy(StrEnum):
    """What ended a recipient's follow-ups; also the reason of the steps that are skipped."""

    REPLY = "replied"
    CALL = "called"
    MERGE = "merged"
    """The contact was merged into another recipient, who gets the messages."""


# The allowed changes are in `crm_api.domain.campaigns.state`.
class CampaignStatus(StrEnum):
    """The state of a campaign."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class MembershipStatus(StrEnum):
    """The state of one recipient; derived from its attempts, never set by hand."""

    PENDING = "pending"
    REVIEW = "review"
    HELD = "held"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
