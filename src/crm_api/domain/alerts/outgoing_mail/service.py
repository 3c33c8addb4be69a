"""Mail to single people: stored with its cause, sent later, tried again with growing waits."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.alerts.outgoing_mail.models import OutgoingMail
from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import seal, unseal
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

CLAIMED_FOR = timedelta(minutes=2)
"""Longer than the mail server may take. If a worker dies, its mail is sent again after this."""
WAITS = Backoff(first=timedelta(seconds=30), longest=timedelta(hours=1))
_ABOUT = "mail"


async def queue_mail(
    uow: UnitOfWork,
    *,
    to: str,
    subject: str,
    body: str,
    lasts: timedelta,
    secret: bytes,
    now: datetime,
) -> None:
    """Store a mail, and request the job ``send_mail`` after the commit.

    Args:
        to: An e-mail address.
        subject: One line.
        body: Plain text; stored sealed until it is sent.
        lasts: How long the mail is useful; later it is not sent.
        secret: The secret key that seals the body.
        now: The present instant.
    """
    values = {
        "id": new_id(),
        "recipient": to,
        "subject": subject,
        "body": seal(body, secret=secret, about=_ABOUT),
        "next_attempt_at": now,
        "expires_at": now + lasts,
        "created_at": now,
    }
    await uow.session.execute(insert(OutgoingMail).values(values))
    uow.after_commit(Job(name=JobName.SEND_MAIL))


async def claim_mail(uow: UnitOfWork, *, now: datetime) -> OutgoingMail | None:
    """Claim a mail to send; None when none is due. Expired mails are removed."""
    due = (
        select(OutgoingMail.id)
        .where(OutgoingMail.next_attempt_at <= now)
        .order_by(OutgoingMail.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    claim = (
        update(OutgoingMail)
        .where(OutgoingMail.id == due)
        .values(next_attempt_at=now + CLAIMED_FOR, attempts=OutgoingMail.attempts + 1)
        .returning(OutgoingMail)
    )
    latest = {"populate_existing": True}
    while mail := await uow.session.scalar(claim, execution_options=latest):
        if mail.expires_at > now:
            return mail
        await delete_mail(uow, mail)
    return None


def read_body(mail: OutgoingMail, *, secret: bytes) -> str:
    """Return a mail's body.

    Raises:
        UnsealError: The secret key has changed since the mail was stored.
    """
    return unseal(mail.body, secret=secret, about=_ABOUT)


async def delete_mail(uow: UnitOfWork, mail: OutgoingMail) -> None:
    """Delete a mail that the server has accepted, or that cannot be unsealed."""
    await uow.session.execute(delete(OutgoingMail).where(OutgoingMail.id == mail.id))


async def postpone_mail(uow: UnitOfWork, mail: OutgoingMail, *, error: str, now: datetime) -> None:
    """Schedule the next attempt; each wait is longer than the last one."""
    until = now + WAITS.wait(mail.attempts)
    await uow.session.execute(
        update(OutgoingMail)
        .where(OutgoingMail.id == mail.id)
        .values(next_attempt_at=until, last_error=error)
    )
