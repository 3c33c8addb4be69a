"""Queries on users and their sessions."""

from datetime import timedelta
from hashlib import sha256

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, hot_read

from crm_api.domain.accounts import queries, session_queries
from crm_api.domain.accounts.models import TicketPurpose
from crm_api.domain.mailbox import queries as mailbox


def hashed(name: str) -> bytes:
    return sha256(name.encode()).digest()


ACCOUNTS = [
    Hot(
        "a user by address",
        {"uq_app_user_email"},
        lambda s: queries.find_by_email(s, email="User7@firm.example.com"),
    ),
    Hot(
        "users, newest first",
        {"idx_app_user_created"},
        lambda s: queries.list_users(s, after=PLACE, limit=51),
    ),
    Hot(
        "who sent an access token",
        {"uq_user_session_access_hash", "pk_app_user"},
        hot_read(session_queries.FIND_LIVE, hashed("access7")),
        is_generic=True,
    ),
    Hot(
        "the session that a token renews",
        {"pk_refresh_token", "pk_user_session"},
        lambda s: session_queries.session_of_refresh(s, token_hash=hashed("refresh7")),
    ),
    Hot(
        "every session of a user",
        {"idx_user_session_user"},
        lambda s: session_queries.revoke(s, user_id=made_id("user", 7), now=NOW),
    ),
    Hot(
        "sessions that ended long ago",
        {"idx_user_session_expires"},
        lambda s: session_queries.remove_sessions(s, before=NOW + timedelta(minutes=20)),
    ),
    Hot(
        "when a user's link was made",
        {"idx_user_ticket_user"},
        lambda s: queries.ticket_made_at(
            s, user_id=made_id("user", 7), purpose=TicketPurpose.INVITATION
        ),
    ),
    Hot(
        "the mail that has waited longest",
        {"idx_outgoing_mail_due"},
        lambda s: mailbox.claim(s, now=NOW, claimed_until=NOW),
    ),
]
