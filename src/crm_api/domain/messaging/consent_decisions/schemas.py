"""The consent proof of one number, as the API returns it."""

from typing import Annotated, Any

from crm_api.domain.consent.models import ConsentAction, ConsentSource
from crm_api.domain.kit.examples import DIGEST, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.conversations import Direction, MessageStatus, Origin


class ProvenMessage(ReadModel):
    """The message that an entry refers to; ``body`` is null if it was erased.

    Attributes:
        line: The phone number of the line.
        provider_message_id: The id of the message at the provider; null until it was sent.
    """

    model_config = example(origin="provider", body="STOP please", line="+16175550100")

    id: Id
    direction: Annotated[str, Vocabulary(Direction)] | None
    origin: Annotated[str, Vocabulary(Origin, "MessageOrigin")]
    body: str | None
    status: Annotated[str, Vocabulary(MessageStatus)]
    line: str | None
    provider_message_id: str | None
    occurred_at: Instant


class ProvenWording(ReadModel):
    """The words of an entry, and the input of their digest.

    Attributes:
        digest: The digest stored in the entry; null for entries older than digests.
        salt: Hexadecimal. Null if the words were erased, as are `canonical` and `fits`.
        canonical: The text that the digest is computed from.
        fits: Whether the digest matches these words.
    """

    model_config = example(
        digest=DIGEST,
        salt="9f1c62d07a4be83551f0c2d9a8e7b614",
        canonical='{"reason":"STOP"}',
        fits=True,
    )

    digest: str | None
    salt: str | None
    canonical: str | None
    fits: bool | None


class ProvenLink(ReadModel):
    """An entry's place in the chain.

    Attributes:
        position: The position in the chain, from 1.
        digest: The digest of this link, in hexadecimal.
        previous_digest: The digest of the previous link, in hexadecimal.
        key_id: The id of the key that signed the link.
        fits: Whether the digest matches the entry and the link before; null if it was made with
            another secret key, which this service cannot check.
    """

    model_config = example(
        position=1204,
        digest=DIGEST,
        previous_digest="0000000000000000000000000000000000000000000000000000000000000000",
        key_id="5d1c9a02",
        fits=True,
    )

    position: int
    digest: str
    previous_digest: str
    key_id: str
    fits: bool | None


class ProvenEntry(ReadModel):
    """One decision.

    Attributes:
        text_shown: The exact text that the person read and agreed to.
        evidence: The evidence for the decision.
        message: The message that the decision refers to; null without one.
        claimed_at: When the message was written, by the provider's clock; null for a decision
            without a message. ``occurred_at`` is this or the receipt, whichever is earlier.
        stored_at: When it was stored.
        is_erased: The words were erased. The decision, its source and its time stay.
        wording: The recorded words of the decision; null after they were erased.
        link: Null until the entry is linked into the chain, about a second.
    """

    model_config = example(
        id="1204", actor="person", reason="STOP", evidence={"text": "STOP please"}
    )

    id: str
    action: Annotated[str, Vocabulary(ConsentAction)]
    source: Annotated[str, Vocabulary(ConsentSource)]
    actor: str
    contact_id: Id | None
    reason: str | None
    note: str | None
    text_shown: str | None
    evidence: dict[str, Any]
    message: ProvenMessage | None
    claimed_at: Instant | None
    occurred_at: Instant
    stored_at: Instant
    is_erased: bool
    wording: ProvenWording
    link: ProvenLink | None


class ProvenFlag(ReadModel):
    """A flag on the number; without effect after ``expires_at``.

    Attributes:
        since: When the flag was set.
    """

    flag: str
    reason: str | None
    since: Instant
    expires_at: Instant | None


class ProvenTexts(ReadModel):
    """The messages of this service to the number that the provider accepted.

    Attributes:
        accepted: The number of messages that the provider accepted.
        first_at: The time of the first one.
        last_at: The time of the last one.
    """

    model_config = example(accepted=1)

    accepted: int
    first_at: Instant | None
    last_at: Instant | None


class ConsentChainEnd(ReadModel):
    """The current end of the whole chain; ``position`` counts the entries of all numbers.

    Attributes:
        position: The position in the chain, from 1.
        digest: The digest of this link, in hexadecimal.
    """

    model_config = example(position=1204, digest=DIGEST)

    position: int
    digest: str


class ConsentVerdict(ReadModel):
    """The result of verifying this number's entries.

    Attributes:
        result: ``ok``, ``broken``, or ``incomplete`` if some entries cannot be checked (yet).
        findings: The problems that the verification found, as sentences.
    """

    model_config = example(result="ok", findings=[])

    result: str
    findings: list[str]


class ConsentProof(ReadModel):
    """All stored facts about the consent of one number.

    Attributes:
        phone_hash: The keyed hash of the number.
        erased_at: When the person was erased; null otherwise.
        generated_at: When the proof was made.
        flags: The flags on the number.
        entries: The decisions, oldest first.
        texts: The messages that were sent to the number.
        verification: Whether the chain is complete and unchanged.
        chain_end: The last link of the consent chain.
        how_to_check: How to verify the proof.
    """

    model_config = example(
        phone_hash=DIGEST,
        how_to_check="`crm-api doctor` verifies the whole chain; "
        "docs/explanation/consent.md says how.",
    )

    phone: str
    phone_hash: str
    contact_id: Id | None
    erased_at: Instant | None
    generated_at: Instant
    flags: list[ProvenFlag]
    entries: list[ProvenEntry]
    texts: ProvenTexts
    verification: ConsentVerdict
    chain_end: ConsentChainEnd
    how_to_check: str
