"""The function and the time limit of each background job; check that a worker runs all jobs."""

from collections.abc import Iterable, Iterator

from arq.worker import Worker

from crm_api.domain.monitoring.scheduled_jobs.schedule import SCHEDULE
from crm_api.platform.jobs import JobName
from crm_api.platform.postgres import WORK_SECONDS
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings
from crm_api.workers import (
    alerts,
    audiences,
    campaigns,
    consent,
    imports,
    inbound,
    insight,
    messaging,
    monitoring,
    office,
    outbound,
    people,
    sales,
)
from crm_api.workers.job_runs import JobFunction
from crm_api.workers.queue import QUEUE_NAME

FUNCTIONS: dict[JobName, JobFunction] = {
    JobName.APPLY_CUSTOM_FIELDS: people.apply_custom_fields,
    JobName.CHANGE_TAGS: people.change_tags,
    JobName.CHECK_WEBHOOK_HEALTH: inbound.check_webhook_health,
    JobName.COMPUTE_CREDITS: insight.compute_credits,
    JobName.DELIVER_WEBHOOKS: outbound.deliver_webhooks,
    JobName.DRAFT_OCCURRENCES: campaigns.draft_occurrences,
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
    JobName.SEND_NOTICES: outbound.send_notices,
    JobName.SEND_REMINDERS: sales.send_reminders,
    JobName.SYNC_CALENDARS: sales.sync_calendars,
    JobName.TRY_PROVIDER: alerts.try_provider,
    JobName.VALIDATE_PHONES: people.validate_phones,
    JobName.WAKE_CONVERSATIONS: office.wake_conversations,
    JobName.WRITE_AUDIENCES: audiences.write_audiences,
}
"""The function of each job. It runs every minute, and after each nudge (a request in Redis to run
the job soon)."""
JOB_TIMEOUT_SECONDS = 90
"""Time limit of one run of a job, in seconds. It is the sum of 45 s of work, the longest request to
the provider, and 15 s to record the result of this request."""
LONG_JOBS = {
    JobName.COMPUTE_CREDITS: 900,
    JobName.FIND_DUPLICATES: WORK_SECONDS + 30,
    JobName.RUN_DAILY_TASKS: 3600,
}
"""Jobs with a longer time limit, in seconds.

- The job that credits outcomes to messages computes all credits in one transaction.
- The search for duplicates is one SQL statement. The database stops it before this time limit is
  reached.
- The daily tasks archive the data of a month, and another run cannot continue an interrupted
  archive.
"""
CRON = "cron:"
"""Prefix of the names that scheduled runs of a job have in arq. Runs of the same job that were
requested by a nudge have no prefix."""


def timeout_of(name: JobName) -> int:
    """Return the time limit of a job in seconds; arq cancels a run that takes longer."""
    return LONG_JOBS.get(name, JOB_TIMEOUT_SECONDS)


def require_schedule(worker: Worker, settings: Settings) -> None:
    """Check at the start that a worker runs exactly the jobs in the schedule.

    With the sandbox, the worker must also run the job ``move_sandbox_time``.

    Raises:
        StartError: A job is missing or unknown, or the worker reads a queue with another name than
            ``QUEUE_NAME``. The error message lists the jobs, or the name of the queue.
    """
    expected = set(SCHEDULE)
    if settings.uses_sandbox:
        expected.add(JobName.MOVE_SANDBOX_TIME.value)
    names = [job.name for job in worker.cron_jobs]
    found = [
        *_differences("run on schedule", expected, (name.removeprefix(CRON) for name in names)),
        *_differences("run on request", expected, set(worker.functions) - set(names)),
        *_differences("read the queue", {QUEUE_NAME}, {worker.queue_name}),
    ]
    if found:
        raise StartError(
            f"the worker does not match its schedule: {'; '.join(found)}. Correct FUNCTIONS in "
            "workers/schedule.py or SCHEDULE in scheduled_jobs/schedule.py"
        )


def _differences(does: str, expected: set[str], registered: Iterable[str]) -> Iterator[str]:
    registered = set(registered)
    if lacking := expected - registered:
        yield f"it would not {does}: {', '.join(sorted(lacking))}"
    if unknown := registered - expected:
        yield f"it would {does}, although unknown: {', '.join(sorted(unknown))}"
