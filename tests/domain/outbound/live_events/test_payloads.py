"""Events for endpoints: each type has a named schema, and an event has only values of the log."""

from typing import Any

import pytest
from tests.conftest import NOW

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.event_filter import facts_of
from crm_api.domain.outbound.live_events.event_log import LoggedEvent
from crm_api.domain.outbound.live_events.payloads import (
    PAYLOADS,
    SCOPE_OF,
    TEST_TYPE,
    WebhookEventType,
)
from crm_api.platform.ids import new_id

DATA: dict[WebhookEventType, dict[str, Any]] = {
    WebhookEventType.MESSAGE_RECEIVED: {"status": "received", "line_id": str(new_id())},
    WebhookEventType.MESSAGE_STATUS: {"status": "failed", "error_code": "30003"},
    WebhookEventType.CALL_STATUS: {"status": "answered", "is_over": True},
    WebhookEventType.CAMPAIGN_STATUS: {"status": "running", "was": "paused"},
    WebhookEventType.IMPORT_PROGRESS: {"status": "running", "rows_processed": 5, "undo": None},
    WebhookEventType.CONTACT_CREATED: {},
    WebhookEventType.OPT_OUT: {},
    WebhookEventType.OPT_IN: {},
    WebhookEventType.ALERT: {"kind": "line_blocked", "status": "open"},
    WebhookEventType.TASK_CHANGED: {"is_done": True, "is_deleted": False},
    WebhookEventType.CONVERSATION_CHANGED: {"state": "open", "line_id": str(new_id())},
    WebhookEventType.APPOINTMENT_CHANGED: {
        "status": "booked",
        "starts_at": "2026-12-01T15:00:00.000Z",
        "ends_at": "2026-12-01T16:00:00.000Z",
    },
}


def test_every_type_except_those_of_screens_is_sent_and_has_a_schema() -> None:
    screen_types = {EventType.CAMPAIGN_COUNTERS, EventType.CONVERSATION_PRESENCE}
    types = {one.value for one in EventType} - screen_types

    assert {one.value for one in WebhookEventType} == types
    assert set(PAYLOADS) == types | {TEST_TYPE}
    assert set(SCOPE_OF) == set(EventType)


@pytest.mark.parametrize("event_type", list(WebhookEventType))
def test_event_of_the_log_has_the_schema_of_its_type(event_type: WebhookEventType) -> None:
    event = LoggedEvent(
        position=None,
        type=event_type,
        subject_id=new_id(),
        campaign_id=new_id(),
        data=DATA[event_type],
        recorded_at=NOW,
    )

    data = facts_of(event)
    payload = PAYLOADS[event_type].model_validate(
        {"type": event_type, "timestamp": NOW, "data": data}
    )

    sent = payload.model_dump(mode="json")
    assert sent["data"] == data
    assert sent["timestamp"] == "2026-11-25T15:00:00.000Z"
    assert str(event.subject_id) in data.values()
    assert DATA[event_type].items() <= data.items()
