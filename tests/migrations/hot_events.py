"""Queries on received events, messages and calls."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.activity import queries as activity
from crm_api.domain.activity.models import Origin
from crm_api.domain.operations import queries as operations
from crm_api.domain.webhooks import queries as webhooks
from crm_api.domain.webhooks.models import WebhookEventStatus
from crm_api.domain.webhooks.queries import Selection


async def _driver(session: AsyncSession, statement: str, values: tuple[object, ...]) -> None:
    connection = await session.connection()
    await connection.exec_driver_sql(statement, values)


async def _events(session: AsyncSession, status: WebhookEventStatus | None) -> None:
    await webhooks.list_events(session, Selection(status=status), after=PLACE, limit=51)


async def _conversations(session: AsyncSession, contact_id: UUID | None) -> None:
    await activity.list_conversations(
        session,
        line_id=None,
        contact_id=contact_id,
        phone=None,
        after=PLACE,
        limit=51,
    )


RECEIVED = [
    Hot(
        "events that are due",
        {"idx_webhook_event_processed"},
        lambda s: webhooks.claim(s, limit=100, now=NOW),
        is_generic=True,
    ),
    Hot(
        "an event that is known",
        {"pk_webhook_event_key"},
        lambda s: _driver(
            s,
            webhooks.STORE_EVENTS,
            ([CONTACT], ["EV5"], [None], ["legacy"], ["call.ringing"], [NOW], ["{}"]),
        ),
    ),
    Hot(
        "events, newest first",
        {"idx_webhook_event_received"},
        lambda s: _events(s, None),
    ),
    Hot(
        "events of one status",
        {"idx_webhook_event_status"},
        lambda s: _events(s, WebhookEventStatus.DEAD),
    ),
    Hot(
        "events of one error class",
        {"idx_webhook_event_error"},
        lambda s: webhooks.list_events(s, Selection(error_code="error7"), after=PLACE, limit=51),
    ),
    Hot("error classes", {"idx_webhook_event_error"}, webhooks.list_errors),
    Hot(
        "error classes of which nothing is left",
        {"idx_webhook_event_error"},
        lambda s: webhooks.recovered(s, codes=["error7", "error700"]),
        is_generic=True,
    ),
    Hot(
        "oldest event that waits, for readiness",
        {"idx_webhook_event_processed"},
        lambda s: operations.overview(s, jobs=["send_alerts"], late_after=timedelta(0), now=NOW),
    ),
    Hot(
        "a received text, once",
        {"pk_activity_key", "pk_activity"},
        lambda s: activity.lock_calls(s, provider_call_ids=["AC100"], now=NOW),
    ),
    Hot(
        "messages of a conversation",
        {"idx_activity_conversation"},
        lambda s: activity.list_messages(
            s, conversation_id=made_id("talk", 7), after=PLACE, limit=51
        ),
    ),
    Hot(
        "a confirmation that was sent lately",
        {"idx_activity_conversation"},
        lambda s: activity.has_recent(
            s,
            conversation_id=made_id("talk", 7),
            origin=Origin.CONFIRMATION,
            since=NOW - timedelta(minutes=5),
        ),
    ),
    Hot(
        "calls, newest first",
        {"idx_activity_call"},
        lambda s: activity.list_calls(s, after=PLACE, limit=51),
    ),
    Hot(
        "conversations, last active first",
        {"idx_conversation_last_activity"},
        lambda s: _conversations(s, None),
    ),
    Hot(
        "conversations of a contact",
        {"idx_conversation_contact"},
        lambda s: _conversations(s, made_id("contact", 7)),
    ),
]
