"""Links that users receive by mail, to accept an invitation or to reset a password.

A *ticket* is the one-time token in such a link. Only its hash is stored.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import Select, delete, exists, select
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.credentials import TICKET_PREFIX, new_token
from crm_api.domain.identity.users.errors import TicketOverError
from crm_api.domain.identity.users.models import TicketPurpose, User, UserTicket
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import hash_token

INVITATION_FOR = timedelta(days=7)
RESET_FOR = timedelta(hours=1)


async def create_ticket(
    uow: UnitOfWork, user_id: UUID, purpose: TicketPurpose, lasts: timedelta, *, now: datetime
) -> str:
    """Create the one-time token (ticket) for a link that a user gets by mail.

    Earlier tokens of the user for the same purpose become invalid. Only the hash of the new token
    is stored.

    Args:
        lasts: How long the token is valid.
    """
    token = new_token(TICKET_PREFIX)
    await uow.session.execute(
        delete(UserTicket).where(UserTicket.user_id == user_id, UserTicket.purpose == purpose)
    )
    await uow.session.execute(
        insert(UserTicket).values(
            token_hash=hash_token(token),
            user_id=user_id,
            purpose=purpose,
            expires_at=now + lasts,
            created_at=now,
        )
    )
    return token


def ticket_created_at_statement(user_id: UUID, purpose: TicketPurpose) -> Select[datetime]:
    """Build the statement that reads when the user's last mailed link was created.

    Args:
        user_id: The user.
        purpose: What the link is for. Links for other purposes are ignored.
    """
    return select(UserTicket.created_at).where(
        UserTicket.user_id == user_id, UserTicket.purpose == purpose
    )


async def require_ticket(
    uow: UnitOfWork, *, token: str, purpose: TicketPurpose, now: datetime
) -> None:
    """Check that a ticket (the one-time token of a mailed link) is valid, without using it up.

    A route calls this before it hashes a password, because hashing is expensive.

    Raises:
        TicketOverError: The ticket does not exist, was used, or has expired.
    """
    is_valid = exists().where(
        UserTicket.token_hash == hash_token(token),
        UserTicket.purpose == purpose,
        UserTicket.expires_at > now,
    )
    if not await uow.session.scalar(select(is_valid)):
        raise TicketOverError


async def use_ticket(uow: UnitOfWork, token: str, purpose: TicketPurpose, *, now: datetime) -> UUID:
    """Accept the one-time token (ticket) of a mailed link, and return the id of its user.

    The token is deleted, so it cannot be used again.

    Raises:
        TicketOverError: The token does not exist, was used, has expired, or has another purpose.
    """
    statement = (
        delete(UserTicket)
        .where(
            UserTicket.token_hash == hash_token(token),
            UserTicket.purpose == purpose,
            UserTicket.expires_at > now,
        )
        .returning(UserTicket.user_id)
    )
    user_id = await uow.session.scalar(statement)
    if user_id is None:
        raise TicketOverError
    return user_id


async def delete_old_tickets(uow: UnitOfWork, *, before: datetime) -> None:
    """Delete the one-time tokens of mailed links (tickets) that expired before ``before``."""
    await uow.session.execute(delete(UserTicket).where(UserTicket.expires_at < before))


@dataclass(frozen=True, kw_only=True)
class UserMailSender:
    """The name and the URLs that are used in mails to users.

    Attributes:
        name: The name of the business.
        api_url: The public URL of this service and its console.
        app_url: The URL of a frontend that replaces the console. If None, links lead to the
            console, and each mail also shows an API request that does the same as the link.
    """

    name: str
    api_url: str
    app_url: str | None


def write_invitation_mail(user: User, token: str, sender: UserMailSender) -> tuple[str, str]:
    """Return the subject and the plain text of the mail that invites a user."""
    link = _link(sender, "accept-invitation", "/v1/auth/invitations/accept", token)
    text = (
        f"Hello {user.name},\n\nyou are invited to {sender.name} as {user.role}. Choose a "
        f"password within seven days:\n\n{link}\n"
    )
    return f"{sender.name}: you are invited", text


def write_password_reset_mail(user: User, token: str, sender: UserMailSender) -> tuple[str, str]:
    """Return the subject and the plain text of the mail with a link to reset a password."""
    link = _link(sender, "reset-password", "/v1/auth/password-reset/confirm", token)
    text = (
        f"Hello {user.name},\n\na new password was requested for your account at {sender.name}. "
        f"Choose one within an hour:\n\n{link}\n\nIf you did not request it, ignore this mail.\n"
    )
    return f"{sender.name}: a new password", text


def _link(sender: UserMailSender, page: str, path: str, token: str) -> str:
    base = sender.app_url or sender.api_url
    link = f"{base.rstrip('/')}/{page}?{urlencode({'token': token})}"
    if sender.app_url is not None:
        return link
    request = f'POST {sender.api_url}{path}\n{{"token": "{token}", "password": "..."}}'
    return f"{link}\n\nThe same without the console:\n{request}"
