"""Consent in and out."""

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from crm_api.domain.consent.models import ConsentEntry, ConsentSource, ConsentWording
from crm_api.domain.fields import BlankIsNull, Name200, refuse_nul
from crm_api.domain.schemas import Id, Instant, JsonObject, ReadModel, RequestModel

MAX_NOTE = 2_000
MAX_TEXT_SHOWN = 10_000
MAX_EVIDENCE_BYTES = 16 * 1024


def _read_evidence(evidence: JsonObject) -> JsonObject:
    try:
        written = json.dumps(evidence, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("not_storable", "The evidence cannot be kept as JSON.") from error
    if len(written) > MAX_EVIDENCE_BYTES:
        raise PydanticCustomError(
            "evidence_too_large",
            "The evidence takes {size} bytes as JSON; the limit is {limit}.",
            {"size": len(written), "limit": MAX_EVIDENCE_BYTES},
        )
    # A NUL is escaped in JSON; what follows an escaped backslash is none.
    refuse_nul(written.decode().replace("\\\\", "").replace("\\u0000", "\0"))
    return evidence


class ConsentDecision(RequestModel):
    """Why somebody is opted out or in, and how that is known."""

    reason: Name200
    note: Annotated[
        Annotated[str, StringConstraints(max_length=MAX_NOTE), AfterValidator(refuse_nul)] | None,
        BlankIsNull,
    ] = None
    source: Annotated[ConsentSource, Field(description="By which way the person said so.")] = (
        ConsentSource.API
    )
    text_shown: Annotated[
        Annotated[str, StringConstraints(max_length=MAX_TEXT_SHOWN), AfterValidator(refuse_nul)]
        | None,
        BlankIsNull,
        Field(description="What the person read and agreed to, word for word."),
    ] = None
    evidence: Annotated[
        JsonObject,
        AfterValidator(_read_evidence),
        Field(description="Whatever proves it: address of the form, time, IP address, file name."),
    ] = Field(default_factory=dict)


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
    text_shown: str | None
    evidence: dict[str, Any]
    occurred_at: Instant
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
            text_shown=wording.text_shown if wording else None,
            evidence=wording.evidence if wording else {},
            occurred_at=entry.occurred_at,
            created_at=entry.created_at,
        )
