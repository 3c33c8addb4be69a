"""Tables of flags on phone numbers and of the append-only consent history."""

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

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class FlagType(StrEnum):
    """The flags with a meaning for this service; clients may set flags with other names too.

    Attributes:
        OPTED_OUT: The person wants no more messages.
        OPT_OUT_HOLD: The person may want no more messages, and a user must decide.
        DO_NOT_CONTACT: No message may be sent. Do-not-contact lists and erasures set this flag.
        OFFICE_NUMBER: The number belongs to an office, not to a property owner. This is only a
            label.
        RECENTLY_TEXTED: Another sender has sent the person a message. In campaigns, the person
            counts as contacted before.
        INVALID_NUMBER: Two messages failed permanently, or the reply class is ``wrong_number``.
            Campaigns skip the number until a user removes the flag.
        BLOCKED_SENDER: Messages and calls from the number are stored, but need no answer and cause
            no notice and no away reply. Messages to the number are not stopped.
    """

    OPTED_OUT = "opted_out"
    OPT_OUT_HOLD = "opt_out_hold"
    DO_NOT_CONTACT = "do_not_contact"
    OFFICE_NUMBER = "office_number"
    RECENTLY_TEXTED = "recently_texted"
    INVALID_NUMBER = "invalid_number"
    BLOCKED_SENDER = "blocked_sender"


SUPPRESSING_FLAGS = (FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD, FlagType.DO_NOT_CONTACT)
"""A number that has one of these flags gets no campaign messages, unless the flag has expired."""


class ConsentAction(StrEnum):
    """A decision about a phone number: an opt-out, an opt-in, a hold, or the end of a hold."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HOLD = "hold"
    RELEASE = "release"


class ConsentSource(StrEnum):
    """How a consent decision reached this service, such as a message or an imported file."""

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
"""Sources that deliver complete lists, which repeat opt-outs that are already stored.

An opt-out from such a source adds no entry if the number is opted out and its last decision is an
opt-out from such a source. An opt-out from any other source adds an entry.
"""


class ExampleLabel(StrEnum):
    """A user's decision about a reply: whether the reply asked for no more messages."""

    STOP = "stop"
    """The reply asked for no more messages."""
    NOT_STOP = "not_stop"
    """The reply said something else."""


class ContactFlag(Base):
    """A flag on a phone number. It stays when the contact is deleted or imported again."""

    __tablename__ = "contact_flag"
    __table_args__ = (
        UniqueConstraint("phone", "flag_type"),
        Index(
            "idx_contact_flag_type_phone",
            "flag_type",
            "phone",
            postgresql_include=["expires_at"],
            postgresql_where=text(one_of("flag_type", SUPPRESSING_FLAGS)),
        ),
        Index(
            "idx_contact_flag_other",
            "flag_type",
            postgresql_include=["phone", "expires_at"],
            # PostgreSQL uses an index with IS FALSE only for queries that contain the same
            # condition: the filter of the inbox by flag. With NOT, PostgreSQL could also choose
            # this index to look up one flag of one number, such as `invalid_number`. That would be
            # slow, because the index does not begin with the number.
            postgresql_where=text(f"({one_of('flag_type', SUPPRESSING_FLAGS)}) IS FALSE"),
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
    """The keyed hash of an erased person's phone number, so that the number stays blocked."""

    __tablename__ = "erased_number"

    phone_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    erased_at: Mapped[datetime]
    """When the person was erased. Messages and calls from before this time are not stored again."""
    lifted_at: Mapped[datetime | None]
    """When a user removed ``do_not_contact``, so that the number may get messages again."""


class ConsentEntry(Base):
    """One consent decision about a phone number. The number is stored only as a keyed hash.

    Rows are only added: a trigger refuses UPDATE and DELETE.
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
    """Who decided. ``person``: the recipient, by a message. Otherwise, it is the name of an API
    key, a user's e-mail address or a part of the service."""
    activity_id: Mapped[UUID | None]
    """The message with the decision. None if the decision is not in a message, or the line is
    unknown."""
    claimed_at: Mapped[datetime | None]
    """When the message was sent, by the provider's clock.

    None if the decision does not come from a message, and for entries of older releases.
    """
    occurred_at: Mapped[datetime]
    """The earlier of two times: when the decision was made, and when it was received. Decisions are
    applied in the order of this time."""
    created_at: Mapped[datetime]
    wording_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 of the salt and the words, so that the chain covers the words too.

    The words are the phone number and the texts in ``ConsentWording``. Erasure deletes the words
    and the salt. Without the salt, the words cannot be guessed from the digest. None for an entry
    that an older release wrote during an upgrade.
    """


class ConsentWording(Base):
    """The phone number and the texts of a consent entry.

    An erasure can delete this row. The entry itself stays.
    """

    __tablename__ = "consent_wording"

    entry_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("consent_entry.id"), primary_key=True
    )
    phone: Mapped[str]
    reason: Mapped[str | None]
    note: Mapped[str | None]
    text_shown: Mapped[str | None]
    """The exact text that the person read and agreed to."""
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The proof of the decision, for example the received message and how it was read."""
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The random salt of the digest of the words; None if the entry has no digest."""


class ConsentUnlinked(Base):
    """Marks a consent entry that is not yet in the hash chain (see ``ConsentLink``).

    The row is deleted when the entry gets its link of the chain. The entry itself stays.
    """

    __tablename__ = "consent_unlinked"

    entry_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("consent_entry.id"), primary_key=True
    )


class ConsentLink(Base):
    """One link of the hash chain over all consent entries; see ``chain.py`` for what is hashed.

    Rows are only added: a trigger refuses UPDATE and DELETE.
    """

    __tablename__ = "consent_link"
    __table_args__ = (UniqueConstraint("entry_id"),)

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The position in the chain. The first link has position 1; there are no gaps."""
    entry_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("consent_entry.id"))
    key_id: Mapped[str]
    """The name of the secret key with which the digest was made; it does not reveal the key."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class ReplyExample(Base):
    """A reply and the decision about it, to measure the accuracy of the reply reader.

    The row is deleted when the message is deleted or the person is erased.
    """

    __tablename__ = "reply_example"
    __table_args__ = (
        CheckConstraint(one_of("label", ExampleLabel), name="label"),
        CheckConstraint(one_of("decision", ConsentAction), name="decision"),
        Index("idx_reply_example_phone_hash", "phone_hash"),
    )

    activity_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the reply."""
    phone_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """The keyed hash of the number that sent the reply."""
    body: Mapped[str]
    previous: Mapped[str | None]
    """Our last message before the reply; None if there was none."""
    is_sale: Mapped[bool]
    """True if a user wrote the message in ``previous``."""
    read_as: Mapped[str]
    """The result of the reader (the code that reads replies) when the reply arrived; a
    ``ReplyKind``."""
    reading: Mapped[dict[str, Any]]
    """The whole reading as ``Reading.evidence`` returns it: result, scores, thresholds, model."""
    label: Mapped[str]
    """What a user decided about the reply; an ``ExampleLabel``."""
    decision: Mapped[str]
    """The last ``ConsentAction`` about the reply."""
    decided_at: Mapped[datetime]
    created_at: Mapped[datetime]
    """When the example was first stored."""


def hash_phone(phone: str, secret: bytes) -> bytes:
    """Return the HMAC-SHA256 of a phone number under the secret key of the service.

    A person without the secret cannot find the number by hashing all possible numbers.
    """
    return hmac.digest(secret, phone.encode(), "sha256")
