"""Tables of flags on numbers and of the append-only consent history."""

import hmac
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class FlagType(StrEnum):
    """Flags that the service interprets; clients may use other names freely.

    ``office_number`` is a label: the number belongs to an office, not to a property owner.
    ``recently_texted`` counts as an earlier message when a campaign checks whether a person was
    contacted before; it is for messages that this service does not know. ``invalid_number`` means
    that two messages to the number failed permanently; campaigns skip it until a person removes the
    flag.
    """

    OPTED_OUT = "opted_out"
    OPT_OUT_HOLD = "opt_out_hold"
    DO_NOT_CONTACT = "do_not_contact"
    OFFICE_NUMBER = "office_number"
    RECENTLY_TEXTED = "recently_texted"
    INVALID_NUMBER = "invalid_number"


SUPPRESSING_FLAGS = (FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD, FlagType.DO_NOT_CONTACT)
"""While a number has one of these flags and it has not expired, no campaign message is sent to
it."""


class ConsentAction(StrEnum):
    """What a consent entry records."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HOLD = "hold"
    RELEASE = "release"


class ConsentSource(StrEnum):
    """The way in which a consent entry came."""

    MESSAGE = "message"
    API = "api"
    IMPORT = "import"
    PROVIDER = "provider"
    USER = "user"
    WEB_FORM = "web_form"
    PAPER = "paper"
    PHONE_CALL = "phone_call"
    IN_PERSON = "in_person"


REPEATED_BY_LISTS = (ConsentSource.IMPORT, ConsentSource.PROVIDER)
"""An opt-out from these sources only repeats a known one; from other sources it is a new act."""


class ExampleLabel(StrEnum):
    """What a person decided about a reply."""

    STOP = "stop"
    """The reply asked for no more messages."""
    NOT_STOP = "not_stop"


class ContactFlag(Base):
    """A flag on a phone number; it outlives the contact's deletion and re-import."""

    __tablename__ = "contact_flag"
    __table_args__ = (
        UniqueConstraint("phone", "flag_type"),
        Index(
            "idx_contact_flag_type_phone",
            "flag_type",
            "phone",
            postgresql_where=text(one_of("flag_type", SUPPRESSING_FLAGS)),
        ),
        Index(
            "idx_contact_flag_expires",
            "expires_at",
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone: Mapped[str]
    flag_type: Mapped[str]
    reason: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class ErasedNumber(Base):
    """The keyed hash of an erased person's number, so that the number stays blocked."""

    __tablename__ = "erased_number"

    phone_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    erased_at: Mapped[datetime]
    """Messages and calls from before this instant are not stored again."""
    lifted_at: Mapped[datetime | None]
    """From this time on the number may get messages again: a user removed ``do_not_contact``."""


class ConsentEntry(Base):
    """One decision about a number, which is identified only by its keyed hash.

    A trigger refuses UPDATE and DELETE.
    """

    __tablename__ = "consent_entry"
    __table_args__ = (
        CheckConstraint(one_of("action", ConsentAction), name="action"),
        CheckConstraint(one_of("source", ConsentSource), name="source"),
        Index("idx_consent_entry_phone_hash", "phone_hash", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    phone_hash: Mapped[bytes] = mapped_column(LargeBinary)
    contact_id: Mapped[UUID | None]
    action: Mapped[str]
    source: Mapped[str]
    actor: Mapped[str]
    """Who decided: ``person`` for the recipient's own message, otherwise the API key's name."""
    activity_id: Mapped[UUID | None]
    """The message with the decision; None if there is none."""
    claimed_at: Mapped[datetime | None]
    """When the message was sent, by the provider's clock.

    None for a decision that was made here and is dated by the database's clock, and for entries of
    older releases.
    """
    occurred_at: Mapped[datetime]
    """When the decision was made, limited to its receipt; it orders the decisions."""
    created_at: Mapped[datetime]
    wording_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 over the salt and the canonical text of the words, so that the chain covers them.

    Erasure removes the salt with the words; without the salt the digest reveals nothing. None for
    an entry that an older release wrote during an upgrade.
    """


class ConsentWording(Base):
    """The number and the words of an entry, in a row that erasure can remove."""

    __tablename__ = "consent_wording"

    entry_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("consent_entry.id"), primary_key=True
    )
    phone: Mapped[str]
    reason: Mapped[str | None]
    note: Mapped[str | None]
    text_shown: Mapped[str | None]
    """What the person read and agreed to."""
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For example the received message, and the messages that were under way."""
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Random; None if the entry has no digest."""


class ConsentUnlinked(Base):
    """An entry without a link; inserted with the entry, removed when it is linked."""

    __tablename__ = "consent_unlinked"

    entry_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("consent_entry.id"), primary_key=True
    )


class ConsentLink(Base):
    """One link of the chain over all entries, in the order in which they were linked.

    A trigger refuses UPDATE and DELETE. ``chain.py`` says what is hashed.
    """

    __tablename__ = "consent_link"
    __table_args__ = (UniqueConstraint("entry_id"),)

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """From 1, without gaps."""
    entry_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("consent_entry.id"))
    key_id: Mapped[str]
    """Name of the secret key that the link was made with; it reveals nothing about the key."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class ReplyExample(Base):
    """A reply with a person's decision about it; the reader is measured on these.

    It is removed with its message, and when its person is erased.
    """

    __tablename__ = "reply_example"
    __table_args__ = (
        CheckConstraint(one_of("label", ExampleLabel), name="label"),
        CheckConstraint(one_of("decision", ConsentAction), name="decision"),
        Index("idx_reply_example_phone_hash", "phone_hash"),
    )

    activity_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The message."""
    phone_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The keyed hash of the sender's number."""
    body: Mapped[str]
    previous: Mapped[str | None]
    """Our last message before the reply; None if there was none."""
    is_sale: Mapped[bool]
    """True if a person of the office wrote the previous message."""
    read_as: Mapped[str]
    """The reader's result when the reply came; a ``ReplyKind``."""
    reading: Mapped[dict[str, Any]]
    """The whole reading, as in the evidence of a consent entry: scores, thresholds, model."""
    label: Mapped[str]
    decision: Mapped[str]
    """The last decision about the reply."""
    decided_at: Mapped[datetime]
    created_at: Mapped[datetime]
    """When the example was first stored."""


def hash_phone(phone: str, secret: bytes) -> bytes:
    """Return the HMAC-SHA256 of a number; without the secret, numbers cannot be tried out."""
    return hmac.digest(secret, phone.encode(), "sha256")
