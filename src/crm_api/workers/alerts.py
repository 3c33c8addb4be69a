"""Jobs that report alerts by mail, send other mail, and test if the provider responds again."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.mail import MailNotSentError
from crm_api.domain.inbound.webhook_events.reply_effects import DOUBTFUL_TEXT
from crm_api.domain.inbound.webhook_events.stored_events import resolve_recovered_alerts
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.consent_decisions.flags import find_contacts_on_hold
from crm_api.domain.messaging.sends import parked_alerts
from crm_api.domain.messaging.sends.parked_alerts import PARKED_ALERT
from crm_api.domain.monitoring import alert_reporter
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import UnsealError
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of

Now = Callable[[], datetime]

log = structlog.get_logger()


async def send_alerts(ctx: dict[str, Any]) -> None:
    """Resolve alerts whose problem has ended, and report new and changed alerts by mail.

    If there is nothing to resolve and nothing to report, the job does nothing.
    """
    await report_alerts(deps_of(ctx), now=clock.now)


async def report_alerts(deps: Deps, *, now: Now) -> None:
    """Resolve alerts whose problem has ended, and send mails about the changes of alerts.

    This is the work of the job ``send_alerts``.
    """
    async with deps.new_uow() as uow:
        await alerts.resolve_silent_alerts(uow, now=now())
        await resolve_recovered_alerts(uow, now=now())
        await _resolve_decided(uow, now=now())
    if deps.mailer is not None:
        count = await alert_reporter.report_alerts(
            deps.new_uow, deps.mailer, deps.settings, now=now
        )
        if count:
            log.info("alerts mailed", count=count)


async def _resolve_decided(uow: UnitOfWork, *, now: datetime) -> None:
    """Resolve alerts about doubtful replies and unclear messages, if nothing is left to decide.

    A doubtful reply may be an opt-out. A message is unclear if it is unknown whether the provider
    has sent it.
    """
    doubts = await alerts.list_open_subjects(uow, kind=DOUBTFUL_TEXT)
    if doubts:
        held = await find_contacts_on_hold(
            uow.session, contact_ids=[UUID(one) for one in doubts], now=now
        )
        await _resolve(uow, DOUBTFUL_TEXT, doubts, but=held, now=now)
    parked = await alerts.list_open_subjects(uow, kind=PARKED_ALERT)
    if parked:
        still = await parked_alerts.find_still_parked(uow, ids=[UUID(one) for one in parked])
        await _resolve(uow, PARKED_ALERT, parked, but=still, now=now)


async def _resolve(
    uow: UnitOfWork, kind: AlertKind, subjects: Sequence[str], *, but: set[UUID], now: datetime
) -> None:
    for subject in subjects:
        if UUID(subject) not in but:
            await alerts.resolve_alert(uow, kind=kind, subject=subject, now=now)


async def try_provider(ctx: dict[str, Any]) -> None:
    """Send a test request to the provider if one is due; if the provider responds, resume sending.

    The circuit breaker is open while the provider is down. Only then is a test request due.
    """
    await try_again(deps_of(ctx), now=clock.now)


async def try_again(deps: Deps, *, now: Now) -> None:
    """If a test request to the provider is due, send it; if the provider responds, resume sending.

    The job ``try_provider`` calls this function. Tests call it with their own clock.
    """
    circuit = circuits.PROVIDER
    async with deps.new_uow() as uow:
        await circuits.end_trial_without_answer(uow, circuit, now=now())
        if not await circuits.begin_trial(uow, circuit, now=now()):
            return
    error = await _ask(deps)
    async with deps.new_uow() as uow:
        state = await circuits.end_trial(uow, circuit, error=error, now=now())
    log.info("test request to the provider finished", answered=not state.is_open, error=error)
    if not state.is_open:
        for name in (
            JobName.SEND_MESSAGES,
            JobName.PROCESS_CAMPAIGN_QUEUE,
            JobName.RESOLVE_UNKNOWN_SENDS,
        ):
            await deps.queue.push(Job(name=name))


async def _ask(deps: Deps) -> str | None:
    """Send the test request; return its error, or None if the provider responded.

    A response with a 4xx status also proves that the provider works. A 5xx status is an error.
    """
    try:
        await deps.provider.list_phone_numbers()
    except OpenPhoneBusyError as error:
        return None if error.is_throttled else error.detail
    except CrmError:
        return None
    return None


async def send_mail(ctx: dict[str, Any]) -> None:
    """Send the stored mails that are due. Each of them has one recipient.

    When the time limit is near, the job requests its next run. If a worker dies after the mail
    server has accepted a mail, but before the worker has deleted the stored mail, the mail is sent
    again.
    """
    await send_due_mail(deps_of(ctx), now=clock.now)


async def send_due_mail(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Send the stored mails that are due.

    This is the work of the job ``send_mail``. If a mail cannot be sent, this run ends, and
    a later run tries the mail again. A mail that cannot be decrypted is deleted.
    """
    if deps.mailer is None:
        return
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            mail = await mailbox.claim_mail(uow, now=now())
        if mail is None:
            return
        try:
            body = mailbox.read_body(mail, secret=deps.secret)
            await deps.mailer.send(subject=mail.subject, body=body, now=now(), to=[mail.recipient])
        except UnsealError:
            log.warning(
                "mail deleted without sending because CRM_SECRET_KEY has changed since the mail "
                "was stored"
            )
        except MailNotSentError as error:
            log.warning("mail not sent; will retry", error=error.detail)
            async with deps.new_uow() as uow:
                await mailbox.postpone_mail(uow, mail, error=error.detail, now=now())
            return
        async with deps.new_uow() as uow:
            await mailbox.delete_mail(uow, mail)
    await deps.queue.push(Job(name=JobName.SEND_MAIL))
