"""The types of events that webhook endpoints can get, and the data of these events."""

from enum import StrEnum
from typing import Any, cast

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.schemas import ReadModel
from crm_api.domain.outbound.live_events.event_log import LoggedEvent
from crm_api.domain.outbound.live_events.payloads import PAYLOADS


class WebhookEventType(StrEnum):
    """The types of events that can be sent to a webhook endpoint.

    These are all types of the event log except two that matter only to screens.
    ``campaign.counters`` occurs a few times per second while a campaign sends, and contains only
    the information that the counters of the campaign changed. Read the statistics of the campaign
    instead. ``conversation.presence`` is valid only for some seconds.
    """

    MESSAGE_RECEIVED = EventType.MESSAGE_RECEIVED.value
    MESSAGE_STATUS = EventType.MESSAGE_STATUS.value
    CALL_STATUS = EventType.CALL_STATUS.value
    CAMPAIGN_STATUS = EventType.CAMPAIGN_STATUS.value
    IMPORT_PROGRESS = EventType.IMPORT_PROGRESS.value
    CONTACT_CREATED = EventType.CONTACT_CREATED.value
    OPT_OUT = EventType.OPT_OUT.value
    OPT_IN = EventType.OPT_IN.value
    ALERT = EventType.ALERT.value
    TASK_CHANGED = EventType.TASK_CHANGED.value
    CONVERSATION_CHANGED = EventType.CONVERSATION_CHANGED.value
    APPOINTMENT_CHANGED = EventType.APPOINTMENT_CHANGED.value


_KNOWN = frozenset(one.value for one in WebhookEventType)


def is_for_endpoints(event: LoggedEvent) -> bool:
    """Return whether an event can be sent to webhook endpoints.

    The type of the event must be known, and the event must not be for one user only.
    """
    return event.type in _KNOWN and "user_id" not in event.data


def facts_of(event: LoggedEvent) -> dict[str, Any]:
    """Return the ``data`` of an event in the form in which endpoints get it.

    The form is the schema of the event type. The first field of the schema gets the id of the
    event's subject. A field without a value becomes null.
    """
    shape = cast("type[ReadModel]", PAYLOADS[event.type].model_fields["data"].annotation)
    subject = next(iter(shape.model_fields))
    facts = {"campaign_id": event.campaign_id, **event.data, subject: event.subject_id}
    return shape.model_validate(facts).model_dump(mode="json")
