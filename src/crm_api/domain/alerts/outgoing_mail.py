"""Store mails that a job sends. Each mail has one recipient.

A mail is stored in the same transaction as the change that is the reason for the mail.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Index, LargeBinary, SmallInteger, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.database import Base, UnitOfWork
from crm_api.platform.encryption import seal, unseal
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName


class OutgoingMail(Base):
    """A mail to one person, which a job sends.

    The mail may contain a secret, so its row is deleted after the mail was sent.
    """

    __tablename__ = "outgoing_mail"
    __table_args__ = (Index("idx_outgoing_mail_due", "next_attempt_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    recipient: Mapped[str]
    subject: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """The encrypted text of the mail. It may contain a token that gives access to an account."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str | None]
    expires_at: Mapped[datetime]
    """After this time the mail is useless, so it is deleted without being sent."""
    created_at: Mapped[datetime]


CLAIMED_FOR = timedelta(minutes=2)
"""For how long a worker reserves a mail in order to send it. The sending takes less time.

If the worker dies, another worker sends the mail after this time.
"""
WAITS = Backoff(first=timedelta(seconds=30), longest=timedelta(hours=1))
"""The waits between the attempts to send a mail."""
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
        subject: Without line breaks.
        body: Plain text; it is stored encrypted with the key ``secret``.
        lasts: The mail is deleted if it cannot be sent in this time.
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
    """Claim (reserve) the mail that has been due for the longest time; None if no mail is due.

    If a due mail has expired, it is deleted, and the next due mail is claimed.
    """
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
    """Decrypt the body of a stored mail.

    Raises:
        UnsealError: The secret key cannot decrypt the body, because the key has changed.
    """
    return unseal(mail.body, secret=secret, about=_ABOUT)


async def delete_mail(uow: UnitOfWork, mail: OutgoingMail) -> None:
    """Delete a mail because it was sent, has expired, or cannot be decrypted."""
    await uow.session.execute(delete(OutgoingMail).where(OutgoingMail.id == mail.id))


async def postpone_mail(uow: UnitOfWork, mail: OutgoingMail, *, error: str, now: datetime) -> None:
    """Record why a mail was not sent, and schedule the next attempt after a longer wait."""
    until = now + WAITS.wait(mail.attempts)
    await uow.session.execute(
        update(OutgoingMail)
        .where(OutgoingMail.id == mail.id)
        .values(next_attempt_at=until, last_error=error)
    )
