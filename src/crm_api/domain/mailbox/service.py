"""Mails to single people: stored with the fact, sent later, tried again with growing waits."""

from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.mailbox import queries
from crm_api.domain.mailbox.models import OutgoingMail
from crm_api.domain.sealing import seal, unseal
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

CLAIMED_FOR = timedelta(minutes=2)
"""Longer than the mail server may take; a mail whose worker died is sent again after this."""
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
_ABOUT = "mail"


async def post(
    uow: UnitOfWork,
    *,
    to: str,
    subject: str,
    body: str,
    lasts: timedelta,
    secret: bytes,
    now: datetime,
) -> None:
    """Send a mail once this transaction is committed; asks for ``send_mail``.

    Args:
        to: An address.
        subject: One line.
        body: Plain text; kept sealed until it is sent.
        lasts: How long it is worth sending.
        secret: The secret key, which seals.
        now: The present instant.
    """
    await queries.add(
        uow.session,
        values={
            "id": new_id(),
            "recipient": to,
            "subject": subject,
            "body": seal(body, secret=secret, about=_ABOUT),
            "next_attempt_at": now,
            "expires_at": now + lasts,
            "created_at": now,
        },
    )
    uow.after_commit(Job(name=JobName.SEND_MAIL))


async def claim(uow: UnitOfWork, *, now: datetime) -> OutgoingMail | None:
    """Take a mail to send; None when none is due. One that is of no use any more is removed."""
    while mail := await queries.claim(uow.session, now=now, claimed_until=now + CLAIMED_FOR):
        if mail.expires_at > now:
            return mail
        await queries.remove(uow.session, mail_id=mail.id)
    return None


def read(mail: OutgoingMail, *, secret: bytes) -> str:
    """Return a mail's text.

    Raises:
        UnsealError: The secret key has changed since.
    """
    return unseal(mail.body, secret=secret, about=_ABOUT)


async def settle(uow: UnitOfWork, mail: OutgoingMail) -> None:
    """Forget a mail that the server has taken, or that nobody can read."""
    await queries.remove(uow.session, mail_id=mail.id)


async def put_off(uow: UnitOfWork, mail: OutgoingMail, *, error: str, now: datetime) -> None:
    """Try a mail again, after twice as long as before."""
    wait = min(FIRST_WAIT * 2 ** (mail.attempts - 1), LONGEST_WAIT)
    await queries.put_off(uow.session, mail_id=mail.id, until=now + wait, error=error)
