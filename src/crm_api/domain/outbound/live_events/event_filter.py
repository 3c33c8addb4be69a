"""Filter events by the types that a caller asks for and by the caller's scopes.

The module also returns the data of an event in the form in which webhook endpoints get it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, cast
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
    shape = cast("type[ReadModel]", PAYLOADS[event.type].model_fields["data"].annotation)
    subject = next(iter(shape.model_fields))
    facts = {"campaign_id": event.campaign_id, **event.data, subject: event.subject_id}
    return shape.model_validate(facts).model_dump(mode="json")


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
