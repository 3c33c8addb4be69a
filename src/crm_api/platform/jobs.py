"""What a background job is, independent of its transport.

The row is the truth and a job is a nudge: it carries no data, may be lost, late or doubled, and
only says that something waits. The schedule finds whatever a lost nudge left behind.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobName(StrEnum):
    """Every background function, by the name under which the worker registers it."""

    APPLY_CUSTOM_FIELDS = "apply_custom_fields"
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
    TRY_PROVIDER = "try_provider"
    VALIDATE_PHONES = "validate_phones"
    WRITE_AUDIENCES = "write_audiences"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A nudge.

    Attributes:
        name: The function to run.
        delay_seconds: Wait before it runs; 0 is at once.
    """

    name: JobName
    delay_seconds: float = 0.0


class JobQueue(Protocol):
    """Transport of nudges after the commit."""

    async def push(self, job: Job) -> None:
        """Ask for a run of the job; a failure is logged, never raised."""

    async def ping(self) -> bool:
        """Return True if the transport answers."""
