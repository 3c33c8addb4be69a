"""Filter events by the types that a caller asks for and by the caller's scopes.

The module also returns the data of an event in the forms in which webhook endpoints and streams
get it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Self, cast, get_args
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.schemas import ReadModel
from crm_api.domain.outbound.live_events.event_log import LoggedEvent
from crm_api.domain.outbound.live_events.payloads import PAYLOADS, SCOPE_OF, WebhookEventType

_KNOWN = frozenset(one.value for one in WebhookEventType)


def is_for_endpoints(event: LoggedEvent) -> bool:
    """Return whether an event can be sent to webhook endpoints.

    The type of the event must be known, and the event must not be for one user only.
    """
    return event.type in _KNOWN and "user_id" not in event.data


def facts_of(event: LoggedEvent) -> dict[str, Any]:
    """Return the ``data`` of an event in the form in which endpoints get it.

    The form is the schema of the event type. The first field of each schema is the id of the thing
    that the event is about, such as a message. A field without a value becomes null.
    """
    shape = _shape_of(event.type)
    subject = next(iter(shape.model_fields))
    facts = {"campaign_id": event.campaign_id, **event.data, subject: event.subject_id}
    return shape.model_validate(facts).model_dump(mode="json")


def _shape_of(event_type: str) -> type[ReadModel]:
    return cast("type[ReadModel]", PAYLOADS[event_type].model_fields["data"].annotation)


def _has_instant(annotation: object) -> bool:
    return annotation is datetime or any(map(_has_instant, get_args(annotation)))


def _instants_of(shape: type[ReadModel]) -> frozenset[str]:
    fields = shape.model_fields.items()
    return frozenset(name for name, field in fields if _has_instant(field.annotation))


_INSTANTS = {one: names for one in PAYLOADS if (names := _instants_of(_shape_of(one)))}
"""The names of the instants in the data of each event type. Types without an instant are left
out."""


def stream_data(event: LoggedEvent) -> dict[str, Any]:
    """Return the ``data`` of an event in the form in which streams get it.

    The form is that of the log, but instants are in UTC and end in ``Z``. The database writes them
    with the offset of its own time zone.
    """
    instants = _INSTANTS.get(event.type)
    if instants is None:
        return event.data
    facts = facts_of(event)
    return {name: facts[name] if name in instants else value for name, value in event.data.items()}


ALL_TYPES = frozenset(EventType)


@lru_cache(maxsize=128)
def _open_types(asked: frozenset[EventType], scopes: frozenset[str]) -> frozenset[EventType]:
    """Return the requested types that the scopes allow.

    For equal arguments, the function returns the same object from a cache. This saves memory,
    because each open stream keeps its filter.
    """
    return frozenset(one for one in asked if SCOPE_OF[one] in scopes)


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Decides which events a caller gets.

    Attributes:
        types: For events that belong to no campaign: the types that the caller asks for and may
            get.
        campaign_types: For events of campaigns: the types that the caller asks for and may get.
        campaign_id: Only events of this campaign pass. None means any event.
        reads_messages: Whether events about received messages contain the number, contact and first
            words.
    """

    types: frozenset[EventType]
    campaign_types: frozenset[EventType]
    campaign_id: UUID | None = None
    reads_messages: bool = False

    @classmethod
    def of(
        cls,
        *,
        scopes: Collection[str],
        types: Iterable[EventType] = (),
        campaign_id: UUID | None = None,
    ) -> Self:
        """Create the filter for a caller.

        Args:
            scopes: The caller's scopes.
            types: The requested types; empty means all types that the scopes allow.
            campaign_id: Only events of this campaign pass; None for no such limit.
        """
        asked = frozenset(types) or ALL_TYPES
        is_admin = Scope.ADMIN in scopes
        open_types = asked if is_admin else _open_types(asked, frozenset(scopes))
        reads_campaigns = is_admin or Scope.CAMPAIGNS_READ in scopes
        return cls(
            types=open_types,
            campaign_types=asked if reads_campaigns else open_types,
            campaign_id=campaign_id,
            reads_messages=EventType.MESSAGE_RECEIVED in open_types,
        )

    def wants(self, event: LoggedEvent) -> bool:
        """Return whether the event passes the filter."""
        if self.campaign_id is not None and event.campaign_id != self.campaign_id:
            return False
        types = self.types if event.campaign_id is None else self.campaign_types
        return event.type in types

    def counts(self, campaign_id: UUID) -> bool:
        """Return whether events about changed counters of this campaign pass the filter.

        These events have the type ``campaign.counters``.
        """
        is_asked = EventType.CAMPAIGN_COUNTERS in self.campaign_types
        return is_asked and self.campaign_id in {None, campaign_id}
