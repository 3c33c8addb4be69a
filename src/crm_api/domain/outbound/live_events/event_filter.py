"""Filter events by the types that a caller asks for and by the caller's scopes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.event_log import LoggedEvent
from crm_api.domain.outbound.live_events.payloads import SCOPE_OF

ALL_TYPES = frozenset(EventType)


@lru_cache(maxsize=128)
def _open_types(asked: frozenset[EventType], scopes: frozenset[str]) -> frozenset[EventType]:
    """Return the types that the scopes allow; equal arguments give the same object.

    Each open stream keeps its filter in memory. Streams with equal filters share one set.
    """
    return frozenset(one for one in asked if SCOPE_OF[one] in scopes)


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Selects the events for a caller.

    An event is serialised only once for all listeners with equal filters.

    Attributes:
        types: The event types that the caller gets for events that do not belong to a campaign.
        campaign_types: The event types that the caller gets for events that belong to a campaign.
            These can be more, because the scope ``campaigns:read`` allows them.
        campaign_id: Only events of this campaign pass; None means that any event can pass.
        reads_messages: True if events about received messages get phone number, contact and first
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
        """Return whether ``campaign.counters`` events of the campaign pass the filter."""
        is_asked = EventType.CAMPAIGN_COUNTERS in self.campaign_types
        return is_asked and self.campaign_id in {None, campaign_id}
