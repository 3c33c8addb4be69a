"""Consent in and out."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints

from crm_api.domain.consent.models import ConsentEntry, ConsentWording
from crm_api.domain.fields import BlankIsNull, Name200, refuse_nul
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MAX_NOTE = 2000


class ConsentDecision(RequestModel):
    """Why somebody is opted out or in."""

    reason: Name200
    note: Annotated[
        Annotated[str, StringConstraints(max_length=MAX_NOTE), AfterValidator(refuse_nul)] | None,
        BlankIsNull,
    ] = None


class FlagRead(ReadModel):
    """A flag that stands on the contact's number; null is without an end."""

    flag: Annotated[str, Field(validation_alias="flag_type")]
    reason: str | None
    expires_at: Instant | None
    created_at: Instant


class ConsentEntryRead(ReadModel):
    """One decision; the words are null once they were erased."""

    id: str
    action: str
    source: str
    actor: str
    contact_id: Id | None
    activity_id: Id | None
    reason: str | None
    note: str | None
    evidence: dict[str, Any]
    created_at: Instant

    @classmethod
    def of(cls, entry: ConsentEntry, wording: ConsentWording | None) -> Self:
        """Shape an entry."""
        return cls(
            id=str(entry.id),
            action=entry.action,
            source=entry.source,
            actor=entry.actor,
            contact_id=entry.contact_id,
            activity_id=entry.activity_id,
            reason=wording.reason if wording else None,
            note=wording.note if wording else None,
            evidence=wording.evidence if wording else {},
            created_at=entry.created_at,
        )
