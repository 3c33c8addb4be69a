"""API models of consent decisions, flags and the consent history."""

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
        raise PydanticCustomError(
            "not_storable",
            "The evidence cannot be stored as JSON. Leave out NaN and infinity, and use fewer "
            "nested levels.",
        ) from error
    if len(written) > MAX_EVIDENCE_BYTES:
        raise PydanticCustomError(
            "evidence_too_large",
            "The evidence has {size} bytes as JSON, but at most {limit} are allowed.",
            {"size": len(written), "limit": MAX_EVIDENCE_BYTES},
        )
    # JSON writes a NUL as \u0000. After an escaped backslash, the same characters are not a NUL, so
    # escaped backslashes are removed first.
    refuse_nul(written.decode().replace("\\\\", "").replace("\\u0000", "\0"))
    return evidence


class ConsentGrounds(RequestModel):
    """The reason for an opt-out or an opt-in, and the evidence for it."""

    reason: Name200
    note: Annotated[
        Annotated[str, Text(longest=MAX_NOTE, has_lines=True)] | None,
        BlankIsNull,
    ] = None
    source: Annotated[
        ConsentSource, Field(description="How the person made the decision known.")
    ] = ConsentSource.API
    text_shown: Annotated[
        Annotated[str, Text(longest=MAX_TEXT_SHOWN, has_lines=True)] | None,
        BlankIsNull,
        Field(description="The exact text that the person read and agreed to."),
    ] = None
    evidence: Annotated[
        JsonObject,
        AfterValidator(_read_evidence),
        Field(
            description="Any proof of the decision as JSON, such as the address of a web form, "
            "the time, an IP address or a file name."
        ),
    ] = Field(default_factory=dict)


class ConsentDecision(ConsentGrounds):
    """An opt-out or an opt-in of the phone number of one contact."""

    model_config = example(
        reason="asked by phone",
        source="phone_call",
        note="Called on Monday; does not want messages.",
    )

    message_id: Annotated[
        Id | None,
        Field(
            description="The id of the received message that the decision is about. The message "
            "is stored with the decision, to measure how well replies are read. By default it is "
            "the reply that put the number on hold or opted it out. For a number that is neither "
            "on hold nor opted out, it is the newest reply."
        ),
    ] = None


class FlagRead(ReadModel):
    """A flag on a contact's phone number. If `expires_at` is null, the flag does not expire."""

    model_config = example(flag="office_number", reason="front desk of a clinic")

    flag: Annotated[str, Field(validation_alias="flag_type")]
    reason: str | None
    expires_at: Instant | None
    created_at: Instant


class ConsentEntryRead(ReadModel):
    """One entry of the consent history: a decision about a contact's number.

    After the person was erased, `reason`, `note` and `text_shown` are null, and `evidence` is
    empty.

    Attributes:
        actor: Who decided: `person` for a message of the person; otherwise, for example, the name
            of an API key or a user's e-mail address.
        activity_id: The message with the decision; null if there is none, or if its line is
            unknown.
        text_shown: The exact text that the person read and agreed to.
        evidence: The proof of the decision.
        claimed_at: When the message was sent, by the provider's clock. Null without a message, and
            in entries of older releases.
        occurred_at: When the decision was made, or when it was received if earlier. Decisions are
            applied in order of this time.
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
        """Build the API model from a stored entry and its texts.

        Args:
            entry: The entry.
            wording: The texts of the entry; None if an erasure has deleted them.
        """
        return cls.built_from(
            entry,
            id=str(entry.id),
            reason=wording.reason if wording else None,
            note=wording.note if wording else None,
            text_shown=wording.text_shown if wording else None,
            evidence=wording.evidence if wording else {},
        )
