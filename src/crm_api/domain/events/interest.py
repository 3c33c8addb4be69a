"""Which events somebody wants to see, and may."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from crm_api.domain.access.models import Scope
from crm_api.domain.events.log import LoggedEvent
from crm_api.domain.events.schemas import EventType

SCOPE_OF = {
    EventType.MESSAGE_RECEIVED: Scope.MESSAGES_READ,
    EventType.MESSAGE_STATUS: Scope.MESSAGES_READ,
    EventType.CALL_STATUS: Scope.MESSAGES_READ,
    EventType.CAMPAIGN_STATUS: Scope.CAMPAIGNS_READ,
    EventType.CAMPAIGN_COUNTERS: Scope.CAMPAIGNS_READ,
    EventType.IMPORT_PROGRESS: Scope.CONTACTS_READ,
    EventType.CONTACT_CREATED: Scope.CONTACTS_READ,
    EventType.OPT_OUT: Scope.CONTACTS_READ,
    EventType.OPT_IN: Scope.CONTACTS_READ,
    EventType.ALERT: Scope.OPERATIONS,
}
"""Who may see events of a type; those of a campaign also whoever may read campaigns."""


@dataclass(frozen=True, kw_only=True)
class Interest:
    """A filter; equal ones share what is written for them.

    Attributes:
        types: Seen whatever they belong to.
        campaign_types: Seen when they belong to a campaign.
        campaign_id: Only of this one.
    """

    types: frozenset[EventType]
    campaign_types: frozenset[EventType]
    campaign_id: UUID | None = None

    @classmethod
    def of(
        cls,
        *,
        scopes: Collection[str],
        types: Iterable[EventType] = (),
        campaign_id: UUID | None = None,
    ) -> Self:
        """Make the filter of a caller.

        Args:
            scopes: The caller's.
            types: What is asked for; empty is all.
            campaign_id: Only events of this campaign.
        """
        asked = frozenset(types) or frozenset(EventType)
        is_admin = Scope.ADMIN in scopes
        open_types = frozenset(one for one in asked if is_admin or SCOPE_OF[one] in scopes)
        reads_campaigns = is_admin or Scope.CAMPAIGNS_READ in scopes
        return cls(
            types=open_types,
            campaign_types=asked if reads_campaigns else open_types,
            campaign_id=campaign_id,
        )

    def wants(self, event: LoggedEvent) -> bool:
        """Say whether the event is to be told."""
        if self.campaign_id is not None and event.campaign_id != self.campaign_id:
            return False
        types = self.types if event.campaign_id is None else self.campaign_types
        return event.type in types

    def counts(self, campaign_id: UUID) -> bool:
        """Say whether the counts of the campaign are to be told."""
        is_asked = EventType.CAMPAIGN_COUNTERS in self.campaign_types
        return is_asked and self.campaign_id in {None, campaign_id}
