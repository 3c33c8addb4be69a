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
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings

log = structlog.get_logger()

CHANNEL = "mail"


class AlertReporter:
    """Sends mails about alerts that were raised, are still open, or were resolved.

    Several processes may have a reporter. Before a reporter sends a mail, it reserves the contents,
    so that no other process mails them too.
    """

    def __init__(self, new_uow: UnitOfWorkFactory, mailer: Mailer, settings: Settings) -> None:
        self._new_uow = new_uow
        self._mailer = mailer
        self._settings = settings
        self._configured = Business(name=settings.business_name, contact=settings.business_contact)

    async def report(self, *, now: Callable[[], datetime]) -> int:
        """Send one mail with unreported news about alerts; return how many alerts it mentions.

        News is that an alert was raised, is still open, or was resolved. One transaction reserves
        the news for this process. Then the mail is sent. Then a second transaction stores that the
        mail was sent. If the process dies before the second transaction, the reservation expires,
        and another process sends the news, perhaps for the second time.
        """
        if not await self._may_mail(now=now()):
            return 0
        policy = NoticePolicy(
            quiet=self._settings.alert_quiet,
            escalate_after=self._settings.alert_escalate_after,
            leaves_out=(circuits.MAIL.alert,),
        )
        async with self._new_uow() as uow:
            claimed = await alert_mail.claim_news(uow, channel=CHANNEL, policy=policy, now=now())
            was_down = (await circuits.read_circuit(uow, circuits.MAIL)).is_open
            business = await company.read_business(uow, configured=self._configured)
        if not claimed.news and not was_down:
            return 0
        try:
            await self._send(claimed, name=business.name or "crm-api")
        except MailNotSentError as error:
            await self._release(claimed, error, was_down=was_down, now=now())
            return 0
        async with self._new_uow() as uow:
            await alert_mail.settle_news(uow, claimed)
            await circuits.record_answer(uow, circuits.MAIL, now=now())
        return len(claimed.news)

    async def _may_mail(self, *, now: datetime) -> bool:
        async with self._new_uow() as uow:
            state = await circuits.read_circuit(uow, circuits.MAIL)
            return not state.is_open or await circuits.begin_trial(uow, circuits.MAIL, now=now)

    async def _send(self, claimed: ClaimedNews, *, name: str) -> None:
        if not claimed.news:
            await self._mailer.check()
            return
        subject, body = alert_mail.write_alert_mail(
            claimed.news,
            name=name,
            api_url=self._settings.public_base_url,
        )
        await self._mailer.send(subject=subject, body=body, now=claimed.claimed_at)

    async def _release(
        self, claimed: ClaimedNews, error: MailNotSentError, *, was_down: bool, now: datetime
    ) -> None:
        log.warning("mail about alerts not sent", count=len(claimed.news), error=error.detail)
        async with self._new_uow() as uow:
            await alert_mail.release_news(uow, claimed)
            if was_down:
                await circuits.end_trial(uow, circuits.MAIL, error=error.detail, now=now)
            else:
                await circuits.record_failures(
                    uow, circuits.MAIL, count=1, error=error.detail, now=now
                )
