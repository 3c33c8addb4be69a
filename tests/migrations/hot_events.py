"""Queries on received events, messages and calls that must use an index."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import LINE, made_id, phone_of
from tests.migrations.hot import CONTACT, PLACE, Hot, sql, use_case
from tests.migrations.support import Call

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events import stored_events, storing
from crm_api.domain.inbound.webhook_events.models import WebhookEventStatus
from crm_api.domain.inbound.webhook_events.stored_events import EventSelection
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.conversations import call_events, reply_context
from crm_api.domain.messaging.conversations import service as activity
from crm_api.domain.messaging.models.timeline import Origin
from crm_api.domain.monitoring import readiness


async def _driver(session: AsyncSession, statement: str, values: tuple[object, ...]) -> None:
    connection = await session.connection()
    await connection.exec_driver_sql(statement, values)


def _list_events(selection: EventSelection) -> Call:
    cursor = Cursors("webhook_events", wanted=selection).write(*PLACE)
    return use_case(lambda uow: stored_events.list_events(uow, selection, cursor=cursor, limit=50))


def _messages(conversation_id: UUID) -> Call:
    cursor = Cursors("messages", conversation_id=conversation_id).write(*PLACE)
    return use_case(
        lambda uow: activity.list_messages(
            uow, conversation_id=conversation_id, cursor=cursor, limit=50
        )
    )


RECEIVED = [
    Hot(
        "events that are due",
        {"idx_webhook_event_processed"},
        sql(webhooks.CLAIM_EVENTS, limit=100, now=NOW),
        is_generic=True,
    ),
    Hot(
        "an event that is already stored",
        {"pk_webhook_event_key"},
        lambda s: _driver(
            s,
            storing.STORE_EVENTS,
            ([CONTACT], ["EV5"], [None], ["legacy"], ["call.ringing"], ["{}"]),
        ),
    ),
    Hot(
        "events, newest first",
        {"idx_webhook_event_received"},
        _list_events(EventSelection()),
    ),
    Hot(
        "events of one status",
        {"idx_webhook_event_status"},
        _list_events(EventSelection(status=WebhookEventStatus.DEAD)),
    ),
    Hot(
        "events of one error class",
        {"idx_webhook_event_error"},
        _list_events(EventSelection(error_code="error7")),
    ),
    Hot("error classes", {"idx_webhook_event_error"}, sql(stored_events.READ_ERRORS)),
    Hot(
        "error classes without events",
        {"idx_webhook_event_error"},
        sql(stored_events.RECOVERED, codes=["error7", "error700"]),
        is_generic=True,
    ),
    Hot(
        "oldest waiting event, for readiness",
        {"idx_webhook_event_processed"},
        sql(readiness.READ_OVERVIEW, jobs=["send_alerts"], late_after=0.0, worth=60.0, now=NOW),
    ),
    Hot(
        "a received message, stored once",
        {"pk_activity_key", "pk_activity"},
        lambda s: call_events.lock_calls(s, provider_call_ids=["AC100"], now=NOW),
    ),
    Hot(
        "messages of a conversation",
        {"idx_activity_conversation"},
        _messages(made_id("talk", 7)),
    ),
    Hot(
        "the messages that replies belong to",
        {"uq_conversation_line_id_phone", "idx_activity_conversation", "idx_send_attempt_phone"},
        sql(
            reply_context.LAST_OUTGOING,
            line_ids=[LINE] * 50,
            phones=[phone_of(i) for i in range(2500, 2550)],
            ats=[NOW] * 50,
            skew=2.0,
        ),
        is_generic=True,
    ),
    Hot(
        "a recent confirmation",
        {"idx_activity_conversation"},
        lambda s: reply_context.was_sent_lately(
            s,
            conversation_id=made_id("talk", 7),
            origin=Origin.CONFIRMATION,
            within=timedelta(minutes=5),
            now=NOW,
        ),
    ),
    Hot(
        "calls, newest first",
        {"idx_activity_call"},
        use_case(
            lambda uow: activity.list_calls(uow, cursor=Cursors("calls").write(*PLACE), limit=50)
        ),
    ),
]
