"""Queries on users and their sessions that must use an index."""

from datetime import timedelta
from hashlib import sha256

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, hot_read, use_case

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.identity.users import mailed_links, service, sessions
from crm_api.domain.identity.users.models import TicketPurpose
from crm_api.domain.kit.paging import Cursors


def hashed(name: str) -> bytes:
    return sha256(name.encode()).digest()


ACCOUNTS = [
    Hot(
        "a user by address",
        {"uq_app_user_email"},
        lambda s: sessions.find_user_by_email(s, email="User7@firm.example.com"),
    ),
    Hot(
        "users, newest first",
        {"idx_app_user_created"},
        use_case(
            lambda uow: service.list_users(uow, cursor=Cursors("users").write(*PLACE), limit=50)
        ),
    ),
    Hot(
        "the user of an access token",
        {"uq_user_session_access_hash", "pk_app_user"},
        hot_read(sessions.FIND_LIVE_SESSIONS, hashed("access7")),
        is_generic=True,
    ),
    Hot(
        "the session of a refresh token",
        {"pk_refresh_token", "pk_user_session"},
        lambda s: s.execute(sessions.session_of_refresh_statement(hashed("refresh7"))),
    ),
    Hot(
        "every session of a user",
        {"idx_user_session_user"},
        lambda s: sessions.revoke_sessions(s, user_id=made_id("user", 7), now=NOW),
    ),
    Hot(
        "sessions that ended long ago",
        {"idx_user_session_expires"},
        lambda s: sessions.remove_sessions(s, before=NOW + timedelta(minutes=20)),
    ),
    Hot(
        "when a user's link was created",
        {"idx_user_ticket_user"},
        lambda s: s.execute(
            mailed_links.ticket_created_at_statement(made_id("user", 7), TicketPurpose.INVITATION)
        ),
    ),
    Hot(
        "the mail that has waited longest",
        {"idx_outgoing_mail_due"},
        use_case(lambda uow: mailbox.claim_mail(uow, now=NOW)),
    ),
]
