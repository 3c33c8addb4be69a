"""Mails what there is to tell about alerts: a worker does, and a web process while none lives."""

from collections.abc import Callable
from datetime import datetime

import structlog

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.operations import circuits, letters, notices
from crm_api.domain.operations.errors import MailNotSentError
from crm_api.domain.operations.mail import Mailer
from crm_api.domain.operations.notices import ClaimedNews, NoticePolicy
from crm_api.settings import Settings

log = structlog.get_logger()

CHANNEL = "mail"


class Teller:
    """Whoever has a mail server; any number of them tell each news once."""

    def __init__(self, new_uow: UnitOfWorkFactory, mailer: Mailer, settings: Settings) -> None:
        self._new_uow = new_uow
        self._mailer = mailer
        self._settings = settings

    async def tell(self, *, now: Callable[[], datetime]) -> int:
        """Mail what has not been told; how many news that were.

        The mail goes out between two transactions. A process that dies there leaves a claim that
        runs out: news is told at least once.
        """
        if not await self._may_mail(now=now()):
            return 0
        policy = NoticePolicy(
            quiet=self._settings.alert_quiet,
            escalate_after=self._settings.alert_escalate_after,
            leaves_out=(circuits.MAIL.alert,),
        )
        async with self._new_uow() as uow:
            claimed = await notices.claim_news(uow, channel=CHANNEL, policy=policy, now=now())
            was_down = (await circuits.read(uow, circuits.MAIL)).is_open
        if not claimed.news and not was_down:
            return 0
        try:
            await self._send(claimed)
        except MailNotSentError as error:
            await self._give_back(claimed, error, was_down=was_down, now=now())
            return 0
        async with self._new_uow() as uow:
            await notices.settle_news(uow, claimed)
            await circuits.note_answer(uow, circuits.MAIL, now=now())
        return len(claimed.news)

    async def _may_mail(self, *, now: datetime) -> bool:
        async with self._new_uow() as uow:
            state = await circuits.read(uow, circuits.MAIL)
            return not state.is_open or await circuits.begin_trial(uow, circuits.MAIL, now=now)

    async def _send(self, claimed: ClaimedNews) -> None:
        if not claimed.news:
            await self._mailer.check()
            return
        subject, body = letters.write(
            claimed.news,
            name=self._settings.business_name or "crm-api",
            api_url=self._settings.public_base_url,
        )
        await self._mailer.send(subject=subject, body=body, now=claimed.claimed_at)

    async def _give_back(
        self, claimed: ClaimedNews, error: MailNotSentError, *, was_down: bool, now: datetime
    ) -> None:
        log.warning("alerts not mailed", count=len(claimed.news), error=error.detail)
        async with self._new_uow() as uow:
            await notices.give_back(uow, claimed)
            if was_down:
                await circuits.end_trial(uow, circuits.MAIL, error=error.detail, now=now)
            else:
                await circuits.note_failures(
                    uow, circuits.MAIL, count=1, error=error.detail, now=now
                )
