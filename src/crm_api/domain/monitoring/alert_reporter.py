"""Send mails about alerts that were raised, are still open, or were resolved.

A worker sends these mails. While no worker runs, a web process sends them.
"""

from collections.abc import Callable
from datetime import datetime

import structlog

from crm_api.domain.alerts import alert_mail, circuits
from crm_api.domain.alerts.alert_mail import ClaimedNews, NoticePolicy
from crm_api.domain.alerts.mail import Mailer, MailNotSentError
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.settings import Settings

log = structlog.get_logger()

CHANNEL = "mail"


async def report_alerts(
    new_uow: UnitOfWorkFactory, mailer: Mailer, settings: Settings, *, now: Callable[[], datetime]
) -> int:
    """Send one mail about new, still open and resolved alerts; return how many alerts it mentions.

    The alerts are claimed before the mail is sent, so that no other process mails them. If the
    process dies before it records the mail, the claim expires. Then the alerts are mailed again.
    """
    async with new_uow() as uow:
        state = await circuits.read_circuit(uow, circuits.MAIL)
        if state.is_open and not await circuits.begin_trial(uow, circuits.MAIL, now=now()):
            return 0
    policy = NoticePolicy(
        quiet=settings.alert_quiet,
        escalate_after=settings.alert_escalate_after,
        leaves_out=(circuits.MAIL.alert,),
    )
    configured = Business(name=settings.business_name, contact=settings.business_contact)
    async with new_uow() as uow:
        claimed = await alert_mail.claim_news(uow, channel=CHANNEL, policy=policy, now=now())
        was_down = (await circuits.read_circuit(uow, circuits.MAIL)).is_open
        business = await company.read_business(uow, configured=configured)
    if not claimed.news and not was_down:
        return 0
    try:
        if claimed.news:
            subject, body = alert_mail.write_alert_mail(
                claimed.news, name=business.name or "crm-api", api_url=settings.public_base_url
            )
            await mailer.send(subject=subject, body=body, now=claimed.claimed_at)
        else:
            await mailer.check()
    except MailNotSentError as error:
        log.warning("mail about alerts not sent", count=len(claimed.news), error=error.detail)
        async with new_uow() as uow:
            await _release(uow, claimed, error.detail, was_down=was_down, now=now())
        return 0
    async with new_uow() as uow:
        await alert_mail.settle_news(uow, claimed)
        await circuits.record_response(uow, circuits.MAIL, now=now())
    return len(claimed.news)


async def _release(
    uow: UnitOfWork, claimed: ClaimedNews, error: str, *, was_down: bool, now: datetime
) -> None:
    await alert_mail.release_news(uow, claimed)
    if was_down:
        await circuits.end_trial(uow, circuits.MAIL, error=error, now=now)
    else:
        await circuits.record_failures(uow, circuits.MAIL, count=1, error=error, now=now)
