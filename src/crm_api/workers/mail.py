"""Send the mails that wait."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from crm_api import clock
from crm_api.domain.mailbox import service as mailbox
from crm_api.domain.operations.errors import MailNotSentError
from crm_api.domain.sealing import UnsealError
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()


async def send_mail(ctx: dict[str, Any]) -> None:
    """Send what is due, one after the other; a second run sends nothing.

    A worker that dies between the server's word and its own note lets the mail come twice.
    """
    await send_due(deps_of(ctx), now=clock.now)


async def send_due(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Do what ``send_mail`` says, by this clock."""
    if deps.mailer is None:
        return
    while not deps.is_stopping:
        async with deps.new_uow() as uow:
            mail = await mailbox.claim(uow, now=now())
        if mail is None:
            return
        try:
            body = mailbox.read(mail, secret=deps.secret)
            await deps.mailer.send(subject=mail.subject, body=body, now=now(), to=[mail.recipient])
        except UnsealError:
            log.warning("mail cannot be read: CRM_SECRET_KEY has changed since it was written")
        except MailNotSentError as error:
            log.warning("mail not sent", error=error.detail)
            async with deps.new_uow() as uow:
                await mailbox.put_off(uow, mail, error=error.detail, now=now())
            return
        async with deps.new_uow() as uow:
            await mailbox.settle(uow, mail)
