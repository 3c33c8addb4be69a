"""All types of events that the event log can contain."""

from enum import StrEnum


class EventType(StrEnum):
    """The type of an event: the kind of change that it reports."""

    MESSAGE_RECEIVED = "message.received"
    """A person sent a message to a phone line."""
    MESSAGE_STATUS = "message.status"
    """An outgoing message is new, or its status changed."""
    CALL_STATUS = "call.status"
    """A call began, or its status changed."""
    CAMPAIGN_STATUS = "campaign.status"
    CAMPAIGN_COUNTERS = "campaign.counters"
    """The counts of a campaign changed; emitted at most once a second, and not stored."""
    IMPORT_PROGRESS = "import.progress"
    CONTACT_CREATED = "contact.created"
    """A contact was created, but not by an import. Imports emit ``import.progress`` instead."""
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    ALERT = "alert"
    """An alert was opened, acknowledged or resolved."""
    TASK_CHANGED = "task.changed"
    """A task was created, changed or deleted."""
    CONVERSATION_CHANGED = "conversation.changed"
    """The state, waiting time, snooze, assignee or contact of a conversation changed. An event
    with ``user_id`` means that this user read messages or changed a draft."""
    CONVERSATION_PRESENCE = "conversation.presence"
    """A user views a conversation or writes in it. The event is stored for a minute."""
    APPOINTMENT_CHANGED = "appointment.changed"
    """An appointment was booked or changed."""


EMITTED_BY: dict[EventType, tuple[str, ...]] = {
    EventType.MESSAGE_RECEIVED: ("emit_received_message_event.sql",),
    EventType.MESSAGE_STATUS: ("emit_new_message_event.sql", "emit_message_status_event.sql"),
    EventType.CALL_STATUS: ("emit_call_status_event.sql",),
    EventType.CAMPAIGN_STATUS: ("emit_campaign_status_event.sql",),
    EventType.CAMPAIGN_COUNTERS: ("emit_campaign_counters_event.sql",),
    EventType.IMPORT_PROGRESS: (),
    EventType.CONTACT_CREATED: ("emit_new_contact_events.sql", "emit_revived_contact_event.sql"),
    EventType.OPT_OUT: ("emit_opt_out_events.sql",),
    EventType.OPT_IN: ("emit_opt_out_events.sql",),
    EventType.ALERT: ("emit_alert_event.sql",),
    EventType.TASK_CHANGED: ("emit_task_event.sql",),
    EventType.CONVERSATION_CHANGED: ("emit_conversation_event.sql",),
    EventType.CONVERSATION_PRESENCE: (),
    EventType.APPOINTMENT_CHANGED: ("emit_appointment_event.sql",),
}
"""For each type, the files of ``migrations/objects`` with the triggers that emit it.

Python code emits the types without a file. It also emits some events of the other types.
"""
