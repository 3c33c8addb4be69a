"""Request and answer models of consent."""

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from crm_api.domain.consent.models import ConsentAction, ConsentEntry, ConsentSource, ConsentWording
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import BlankIsNull, Name200, Text, refuse_nul
from crm_api.domain.kit.schemas import Id, Instant, JsonObject, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary

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
    # JSON escapes a NUL as \u0000; the same letters after an escaped backslash are not a NUL.
    refuse_nul(written.decode().replace("\\\\", "").replace("\\u0000", "\0"))
    return evidence


class ConsentGrounds(RequestModel):
    """Why a person is opted out or in, and the evidence for it."""

    reason: Name200
    note: Annotated[
        Annotated[str, Text(longest=MAX_NOTE, has_lines=True)] | None,
        BlankIsNull,
    ] = None
    source: Annotated[ConsentSource, Field(description="How the person decided.")] = (
        ConsentSource.API
    )
    text_shown: Annotated[
        Annotated[str, Text(longest=MAX_TEXT_SHOWN, has_lines=True)] | None,
        BlankIsNull,
        Field(description="What the person read and agreed to, word for word."),
    ] = None
    evidence: Annotated[
        JsonObject,
        AfterValidator(_read_evidence),
        Field(description="Any proof: address of the form, time, IP address, file name."),
    ] = Field(default_factory=dict)


class ConsentDecision(ConsentGrounds):
    """A decision about one contact's number, and the reply that it is about."""

    model_config = example(
        reason="asked by phone",
        source="phone_call",
        note="Called on Monday; does not want messages.",
    )

    message_id: Annotated[
        Id | None,
        Field(
            description="The received message that the decision is about. Both are stored, so that "
            "the reader of replies can be measured. If omitted, it is the reply that put the "
            "number on hold or opted it out; for a number without these flags, the newest reply."
        ),
    ] = None


class FlagRead(ReadModel):
    """A flag on the contact's number; without `expires_at` it does not expire."""

    model_config = example(flag="office_number", reason="front desk of a clinic")

    flag: Annotated[str, Field(validation_alias="flag_type")]
    reason: str | None
    expires_at: Instant | None
    created_at: Instant


class ConsentEntryRead(ReadModel):
    """One decision; its words are null after they were erased.

    Attributes:
        activity_id: The id of the message or call that it refers to; null without one.
        text_shown: The exact text that the person read and agreed to.
        evidence: The evidence for the decision.
        claimed_at: When the message was sent, by the provider's clock; null if the decision is not
            from a message.
        occurred_at: When the decision was made, limited to its receipt; it orders the decisions.
        created_at: When the decision was stored.
    """

    model_config = example(
        id="1204",
        source="api",
        activity_id=None,
        reason="asked by phone",
        evidence={"page": "https://granite.example.com/contact"},
    )

    id: str
    action: Annotated[str, Vocabulary(ConsentAction)]
    source: Annotated[str, Vocabulary(ConsentSource)]
    actor: str
    contact_id: Id | None
    activity_id: Id | None
    reason: str | None
    note: str | None
    text_shown: str | None
    evidence: dict[str, Any]
    claimed_at: Instant | None
    occurred_at: Instant
    created_at: Instant

    @classmethod
    def of(cls, entry: ConsentEntry, wording: ConsentWording | None) -> Self:
        """Shape an entry for the API."""
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
            claimed_at=entry.claimed_at,
            occurred_at=entry.occurred_at,
            created_at=entry.created_at,
        )
