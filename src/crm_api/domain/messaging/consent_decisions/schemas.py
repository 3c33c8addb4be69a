"""Response schemas of the consent proof: all stored facts about the consent of one number."""

from typing import Annotated, Any

from crm_api.domain.consent.models import ConsentAction, ConsentSource
from crm_api.domain.kit.examples import DIGEST, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.timeline import Direction, MessageStatus, Origin


class ProvenMessage(ReadModel):
    """The message that a consent decision refers to, for example a reply with an opt-out.

    Attributes:
        direction: Whether the message was received or sent.
        origin: What created the message.
        body: The text of the message; null if it was erased.
        status: The state of the message.
        line: The number of the line; null if unknown.
        provider_message_id: The provider's id of the message; null if none.
        occurred_at: When the message was received or sent, by the provider's clock.
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
    """The wording of a consent entry: its reason, note, shown text and evidence.

    Attributes:
        digest: The stored digest of the wording, in hexadecimal; null for old entries without a
            digest.
        salt: The random salt of the digest, in hexadecimal; null if the wording was erased.
        canonical: A JSON array of phone number, reason, note, shown text and evidence. The digest
            is computed from the salt and this text. Null if the wording was erased.
        fits: Whether the digest matches the salt and the wording; null if the wording was erased.
    """

    model_config = example(
        digest=DIGEST,
        salt="9f1c62d07a4be83551f0c2d9a8e7b614",
        canonical='["+16175550123", "STOP", null, null, null]',
        fits=True,
    )

    digest: str | None
    salt: str | None
    canonical: str | None
    fits: bool | None


class ProvenLink(ReadModel):
    """The link that connects a consent entry to the entry before it in the consent chain.

    Attributes:
        position: The position of the link in the chain, counted from 1.
        digest: The digest of this link, in hexadecimal.
        previous_digest: The digest of the previous link, in hexadecimal.
        key_id: The id of the secret key of the link.
        fits: Whether the digest matches the entry and the previous link; null if the link was made
            with another secret key.
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
    """One consent decision: an opt-out, an opt-in, a hold or the release of a hold.

    Attributes:
        id: The id of the entry in the consent history.
        action: The decision. A hold stops campaign messages until a user decides about a reply.
        source: How the decision reached this service.
        actor: `person` for the person's own message, otherwise the user, API key or service
            component.
        reason: The reason for the decision; null if none was given or the wording was erased.
        note: A note of the user who decided; null if none.
        text_shown: The exact text that the person read and agreed to; null if none.
        evidence: The evidence for the decision, such as the text of a message.
        message: The message that the decision refers to; null if none.
        claimed_at: When the message was written, by the provider's clock; null without a message.
        occurred_at: The time of the decision. For a message: when it was written or received,
            whichever was earlier.
        stored_at: When this service stored the decision.
        is_erased: Whether the wording was erased. The decision, its source and its time are not
            erased.
        wording: The wording of the decision, with its digest.
        link: The link in the consent chain; null until the entry is linked, about a second later.
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
    """A flag of a phone number, for example ``opted_out``.

    The flag has no effect after ``expires_at``.

    Attributes:
        flag: The name of the flag.
        reason: Why the flag was set; null if no reason was given.
        since: When the flag was set.
        expires_at: When the flag stops having an effect; null if it does not expire.
    """

    flag: str
    reason: str | None
    since: Instant
    expires_at: Instant | None


class ProvenTexts(ReadModel):
    """How many messages the provider accepted from this service for the number, and when.

    Attributes:
        accepted: The number of messages that the provider accepted.
        first_at: When the provider accepted the first message; null if it accepted no message.
        last_at: When the provider accepted the last message; null if it accepted no message.
    """

    model_config = example(accepted=1)

    accepted: int
    first_at: Instant | None
    last_at: Instant | None


class ConsentChainEnd(ReadModel):
    """The newest link of the consent chain. The chain contains the entries of all numbers.

    Attributes:
        position: The position of the last link in the chain, counted from 1; 0 if the chain is
            empty.
        digest: The digest of the last link, in hexadecimal.
    """

    model_config = example(position=1204, digest=DIGEST)

    position: int
    digest: str


class ConsentVerdict(ReadModel):
    """The result of verifying the consent entries of this number.

    Attributes:
        result: `ok` if every entry was verified. `broken` if an entry or its link was changed.
            `incomplete` if an entry has no link, or its link was made with another secret key.
        findings: The problems that the verification found, as English sentences.
    """

    model_config = example(result="ok", findings=[])

    result: str
    findings: list[str]


class ConsentProof(ReadModel):
    """All stored facts about the consent of one phone number.

    Attributes:
        phone: The phone number, in E.164.
        phone_hash: The keyed hash of the number in the consent history, in hexadecimal.
        contact_id: The contact with this number; null if none.
        erased_at: When the data of the person was erased; null if it was not erased.
        generated_at: When this proof was generated.
        flags: All flags of the number, also expired ones, oldest first.
        entries: The consent decisions about the number, oldest first.
        texts: How many messages the provider accepted for the number, and when.
        verification: Whether the consent history of this number is complete and unchanged.
        chain_end: The newest link of the consent chain of all numbers.
        how_to_check: How another party can verify the digests in this proof.
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
