"""The names of the background jobs, and the interface of the queue of nudges.

A nudge contains no data about the work: the function of the job reads its work from the database. A
lost, late or repeated nudge does no harm, because the schedule also runs every function regularly.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobName(StrEnum):
    """The names of the background jobs, under which the worker registers the jobs in arq."""

    APPLY_CUSTOM_FIELDS = "apply_custom_fields"
    COMPUTE_CREDITS = "compute_credits"
    DRAFT_OCCURRENCES = "draft_occurrences"
    DELIVER_WEBHOOKS = "deliver_webhooks"
    FETCH_MEDIA = "fetch_media"
    FIND_DUPLICATES = "find_duplicates"
    LEARN_FROM_FAILURES = "learn_from_failures"
    RUN_WATCHDOG = "look_out"
    CHANGE_TAGS = "change_tags"
    CHECK_WEBHOOK_HEALTH = "check_webhook_health"
    MOVE_SANDBOX_TIME = "move_sandbox_time"
    PROCESS_CAMPAIGN_QUEUE = "process_campaign_queue"
    PROCESS_WEBHOOK_BACKLOG = "process_webhook_backlog"
    RECONCILE_OPENPHONE = "reconcile_openphone"
    RESOLVE_UNKNOWN_SENDS = "resolve_unknown_sends"
    RUN_DO_NOT_CONTACT = "run_do_not_contact"
    RUN_DAILY_TASKS = "run_daily_tasks"
    RUN_ERASURES = "run_erasures"
    RUN_IMPORTS = "run_imports"
    SEAL_CONSENT = "seal_consent"
    SEND_ALERTS = "send_alerts"
    SEND_MAIL = "send_mail"
    SEND_MESSAGES = "send_messages"
    SEND_NOTICES = "send_notices"
    SEND_REMINDERS = "send_reminders"
    SYNC_CALENDARS = "sync_calendars"
    TRY_PROVIDER = "try_provider"
    VALIDATE_PHONES = "validate_phones"
    WAKE_CONVERSATIONS = "wake_conversations"
    WRITE_AUDIENCES = "write_audiences"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request to run a background function (a nudge).

    Attributes:
        name: The function to run.
        delay_seconds: Seconds to wait before the run; 0 requests an immediate run.
    """

    name: JobName
    delay_seconds: float = 0.0


class JobQueue(Protocol):
    """A queue of requests to run a job soon, for example in Redis."""

    async def push(self, job: Job) -> None:
        """Request a run of the job. If the queue fails, log the error and do not raise it."""

    async def ping(self) -> bool:
        """Return True if the queue responds."""
