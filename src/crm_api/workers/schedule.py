"""The jobs of a worker: their functions and time limits, compared with the schedule at start."""

from collections.abc import Iterable, Iterator

from arq.worker import Worker

from crm_api.domain.monitoring.scheduled_jobs.schedule import SCHEDULE
from crm_api.platform.jobs import JobName
from crm_api.platform.postgres import WORK_SECONDS
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings
from crm_api.workers import (
    alerts,
    campaigns,
    consent,
    imports,
    inbound,
    messaging,
    monitoring,
    outbound,
    people,
)
from crm_api.workers.job_runs import JobFunction
from crm_api.workers.queue import QUEUE_NAME

FUNCTIONS: dict[JobName, JobFunction] = {
    JobName.APPLY_CUSTOM_FIELDS: people.apply_custom_fields,
    JobName.CHANGE_TAGS: people.change_tags,
    JobName.CHECK_WEBHOOK_HEALTH: inbound.check_webhook_health,
    JobName.DELIVER_WEBHOOKS: outbound.deliver_webhooks,
    JobName.FETCH_MEDIA: messaging.fetch_media,
    JobName.FIND_DUPLICATES: people.find_duplicates,
    JobName.LEARN_FROM_FAILURES: consent.learn_from_failures,
    JobName.RUN_WATCHDOG: monitoring.run_watchdog,
    JobName.PROCESS_CAMPAIGN_QUEUE: campaigns.process_campaign_queue,
    JobName.PROCESS_WEBHOOK_BACKLOG: inbound.process_webhook_backlog,
    JobName.RECONCILE_OPENPHONE: inbound.reconcile_openphone,
    JobName.RESOLVE_UNKNOWN_SENDS: messaging.resolve_unknown_sends,
    JobName.RUN_DO_NOT_CONTACT: imports.run_do_not_contact,
    JobName.RUN_DAILY_TASKS: monitoring.run_daily_tasks,
    JobName.RUN_ERASURES: people.run_erasures,
    JobName.RUN_IMPORTS: imports.run_imports,
    JobName.SEAL_CONSENT: consent.seal_consent,
    JobName.SEND_ALERTS: alerts.send_alerts,
    JobName.SEND_MAIL: alerts.send_mail,
    JobName.SEND_MESSAGES: messaging.send_messages,
    JobName.TRY_PROVIDER: alerts.try_provider,
    JobName.VALIDATE_PHONES: people.validate_phones,
    JobName.WRITE_AUDIENCES: campaigns.write_audiences,
}
"""Each runs every minute, and whenever it is nudged."""
JOB_TIMEOUT_SECONDS = 90
"""At least 45 s of work, the longest call, and 15 s to record its answer."""
LONG_JOBS = {
    JobName.FIND_DUPLICATES: WORK_SECONDS + 30,
    JobName.RUN_DAILY_TASKS: 3600,
}
"""Jobs with another timeout: one statement over all contacts, which the database ends first, and
the archive of a month, which cannot continue where it was cut off."""
CRON = "cron:"
"""Prefix of the names of scheduled functions; a nudge for the same work has the name alone."""


def timeout_of(name: JobName) -> int:
    """Return the seconds after which arq cancels a run of a job."""
    return LONG_JOBS.get(name, JOB_TIMEOUT_SECONDS)


def require_schedule(worker: Worker, settings: Settings) -> None:
    """Refuse a worker that would silently leave work undone.

    Raises:
        StartError: One line that names what is missing or unknown.
    """
    expected = set(SCHEDULE)
    if settings.uses_sandbox:
        expected.add(JobName.MOVE_SANDBOX_TIME.value)
    names = [job.name for job in worker.cron_jobs]
    found = [
        *_differences("run by the clock", expected, (name.removeprefix(CRON) for name in names)),
        *_differences("run when asked", expected, set(worker.functions) - set(names)),
        *_differences("consume the queue", {QUEUE_NAME}, {worker.queue_name}),
    ]
    if found:
        raise StartError(f"the worker does not fit its schedule: {'; '.join(found)}")


def _differences(does: str, expected: set[str], registered: Iterable[str]) -> Iterator[str]:
    registered = set(registered)
    if lacking := expected - registered:
        yield f"it would not {does} {', '.join(sorted(lacking))}"
    if unknown := registered - expected:
        yield f"it would {does} {', '.join(sorted(unknown))}, which is not known"
