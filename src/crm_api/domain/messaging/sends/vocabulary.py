"""The enums of recipients and campaigns: statuses, and reasons to skip, stop or pause."""

from enum import StrEnum


class SkipReason(StrEnum):
    """Why a recipient of a campaign gets no message.

    Attributes:
        OPTED_OUT: The number is opted out.
        DO_NOT_CONTACT: The number has the flag `do_not_contact`.
        OPT_OUT_HOLD: The number is on hold: a user must decide whether a reply is an opt-out.
        CONTACT_DELETED: The contact was deleted.
        INVALID_NUMBER: The number has the flag `invalid_number`.
        LANDLINE: The number is a landline, and the campaign skips landlines.
        DUPLICATE_NUMBER: Another recipient of the campaign has the same number.
        MERGED: The contact was merged into the contact of another recipient of the campaign.
        PREVIOUSLY_CONTACTED: The person was contacted before, and the campaign skips such people.
        REJECTED: A user rejected the recipient in the review.
        REPLIED: The person replied, so no follow-up is sent.
        CALLED: The person called, so no follow-up is sent.
        PREVIOUS_FAILED: The message of the previous step failed, so this follow-up is not sent.
        CAMPAIGN_ENDED: The campaign was cancelled or ended before the message was due.
        TEXTED_SINCE_BACKUP: The database was restored. The person may have got a message since the
            backup.
        MISSING_VALUE: The contact lacks a value that the template of the message needs.
        MISSING_IDENTIFICATION: The text of the message would not name its sender.
        TEXT_FAILED: The text of the message could not be created for this contact.
        HOLDOUT: A holdout excludes the person, to measure the effect of messages.
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
    HOLDOUT = "holdout"


class StopRule(StrEnum):
    """The reason why a recipient gets no message now, such as an opt-out.

    In a forecast, it is the rule that prevents all messages, or that delays the last message most.

    Attributes:
        OPTED_OUT: The number is opted out.
        DO_NOT_CONTACT: The number has the flag `do_not_contact`.
        OPT_OUT_HOLD: The number is on hold. A user must confirm the opt-out or release the hold.
        CONTACT_DELETED: The contact was deleted.
        INVALID_NUMBER: The number has the flag `invalid_number`.
        LANDLINE: The number is a landline, and the campaign skips landlines.
        DUPLICATE_NUMBER: Another recipient of the campaign has the same number.
        MERGED: The contact was merged into the contact of another recipient of the campaign.
        PREVIOUSLY_CONTACTED: The person was contacted before. The campaign skips or reviews such
            people.
        REJECTED: A user rejected the recipient in the review.
        REPLIED: The person replied, so no follow-up is sent.
        CALLED: The person called, so no follow-up is sent.
        PREVIOUS_FAILED: The message of the previous step failed, so this follow-up is not sent.
        TEXTED_SINCE_BACKUP: The database was restored. The person may have got a message since the
            backup.
        MISSING_VALUE: The contact lacks a value that the template of the message needs.
        MISSING_IDENTIFICATION: The text of the message would not name its sender.
        TEXT_FAILED: The text of the message could not be created for this contact.
        HOLDOUT: A holdout excludes the person, to measure the effect of messages.
        REVIEW: A user must approve or reject the recipient.
        HELD: The recipient waits until a user decides whether a reply is an opt-out.
        SENDING: The message is being sent.
        UNKNOWN: It is unclear whether the message was sent. The service looks it up.
        PARKED: It stays unclear whether the message was sent. A user has to decide.
        SENT: The message was sent.
        DELIVERED: The message was delivered.
        FAILED: The message failed. The recipient's `error_code` gives the reason.
        SKIPPED: The recipient was skipped.
        CANCELLED: The campaign was cancelled, so the recipient was cancelled.
        NOT_STARTED: The start of the campaign is in the future.
        CAMPAIGN_DRAFT: The campaign is a draft.
        CAMPAIGN_SCHEDULED: The campaign is scheduled and has not started.
        CAMPAIGN_PAUSED: The campaign is paused.
        CAMPAIGN_BLOCKED: The provider refuses the campaign. The campaign's `blocked_reason` says
            what to do.
        CAMPAIGN_COMPLETED: The campaign is completed.
        CAMPAIGN_CANCELLED: The campaign was cancelled.
        CAMPAIGN_ENDED: The end date of the campaign has passed.
        CAMPAIGN_ENDS: The campaign will end before the message may be sent.
        OPT_OUT_RATE: The service paused the campaign, because too many people opted out.
        FAILURE_RATE: The service paused the campaign, because too many messages failed.
        MISSED_START: The service paused the campaign, because its start time was missed.
        RESTORED: The service paused the campaign, because the database was restored from a backup.
        EMPTY_AUDIENCE: No person in the audience may get a message.
        LINE_BLOCKED: The line is blocked. Correct the cause, then unblock the line.
        LINE_ON_TRIAL: The line was blocked. It is on trial and sends one message at a time.
        LINE_DAILY_LIMIT: The daily limit of the line is used up.
        LINE_RAMP: The line is new, and today's limit of its ramp plan is used up.
        CAMPAIGN_DAILY_LIMIT: The daily limit of the campaign is used up.
        CARRIER_BUDGET: The daily budget of segments for the number's carrier is used up.
        PROVIDER_ASKED_TO_WAIT: The provider asked for a pause (`Retry-After`).
        PROVIDER_RATE: The provider limits the number of requests per second.
        OTHER_CAMPAIGNS: Other campaigns use a part of the line's daily limit.
        NUMBER_BUSY: Another message to the number is being sent.
        NUMBER_KEPT: It is unclear whether an earlier message to the number was sent.
        MIN_DAYS_BETWEEN: Another campaign sent the person a message less than `min_days_between`
            days ago.
        FREQUENCY_CAP: The person has got as many messages as the campaign's frequency cap allows.
        LEGAL_FREQUENCY: The number has got as many messages in a period as the law allows.
        OUTSIDE_SCHEDULE: The campaign does not send at this time of the week.
        OUTSIDE_LEGAL_HOURS: The law does not allow messages at the recipient's local time now.
        PACING: The messages of a day are spread over its hours. The next is not due.
        FOLLOW_UP_WAITS: The follow-up is not due yet.
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
    HOLDOUT = "holdout"
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
    """Why the service paused a campaign.

    Attributes:
        OPT_OUT_RATE: Too many people opted out. The failure rate may be high too.
        FAILURE_RATE: Too many messages failed.
        MISSED_START: The campaign could not start within `start_grace_hours` after its start time.
        RESTORED: The database was restored. It lacks the messages that were sent after the backup.
    """

    OPT_OUT_RATE = "opt_out_rate"
    FAILURE_RATE = "failure_rate"
    MISSED_START = "missed_start"
    RESTORED = "restored"


class EndedBy(StrEnum):
    """What ended the follow-ups of a recipient.

    The remaining follow-ups are skipped, and their ``skip_reason`` is the value of this enum.
    """

    REPLY = "replied"
    CALL = "called"
    MERGE = "merged"
    """The contact was merged into the contact of another recipient of the campaign. That recipient
    gets the messages."""


# The module `crm_api.domain.campaigns.service` defines in which statuses of a campaign each action
# of a user is possible.
class CampaignStatus(StrEnum):
    """The state of a campaign.

    Attributes:
        DRAFT: The campaign can be edited and has not been started.
        SCHEDULED: The campaign was started and begins at its start time.
        RUNNING: The campaign sends messages.
        PAUSED: A user or the service paused the campaign. The campaign sends nothing until it is
            resumed.
        BLOCKED: The provider refuses the campaign's messages. The campaign sends nothing until a
            user resumes it.
        COMPLETED: No recipient waits for a message any more.
        CANCELLED: A user cancelled the campaign. The campaign sends no further message.
    """

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class MembershipStatus(StrEnum):
    """The state of a recipient at one step of a campaign (the first message or a follow-up).

    The state is derived from attempts and other facts, such as opt-outs.

    Attributes:
        PENDING: The message waits to be sent.
        REVIEW: A user must approve or reject the recipient.
        HELD: The recipient waits until a user decides whether a reply is an opt-out.
        SENDING: The message is being sent.
        UNKNOWN: It is not known yet whether the message was sent.
        SENT: The provider accepted the message.
        DELIVERED: The carrier delivered the message.
        FAILED: The message was not sent or not delivered. `error_code` gives the reason.
        SKIPPED: The recipient gets no message. `skip_reason` gives the reason.
        CANCELLED: The campaign was cancelled, so the recipient gets no message.
    """

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
