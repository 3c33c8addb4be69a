"""Flags on numbers, and the append-only consent history."""

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

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class FlagType(StrEnum):
    """Flags with a meaning of their own; other names are free.

    ``office_number`` is a label: the number reaches a desk, not a homeowner. ``recently_texted``
    counts as a text from us where a campaign looks whether somebody was contacted before; it is for
    texts that this service does not know of.
    """

    OPTED_OUT = "opted_out"
    OPT_OUT_HOLD = "opt_out_hold"
    DO_NOT_CONTACT = "do_not_contact"
    OFFICE_NUMBER = "office_number"
    RECENTLY_TEXTED = "recently_texted"


SUPPRESSING_FLAGS = (FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD, FlagType.DO_NOT_CONTACT)
"""While one of these stands and has not expired, no campaign text leaves for the number."""


class ConsentAction(StrEnum):
    """What a consent entry records."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HOLD = "hold"
    RELEASE = "release"


class ConsentSource(StrEnum):
    """By which way a consent entry came."""

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
"""An opt-out from there only repeats what is known; from anywhere else it is an act of its own."""


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
    """What is left of an erased person: the keyed hash of the number, so that it stays barred."""

    __tablename__ = "erased_number"

    phone_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    erased_at: Mapped[datetime]
    """What is older is not taken in again."""
    lifted_at: Mapped[datetime | None]
    """Since then the number may be texted again: a user took ``do_not_contact`` off."""


class ConsentEntry(Base):
    """One decision about a number, named only by its keyed hash; never changed or removed.

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
    """Who decided: ``person`` for the recipient's own text, else the API key's name."""
    activity_id: Mapped[UUID | None]
    """The message that said so, when one did."""
    occurred_at: Mapped[datetime]
    """When it was said, by the clock of whoever carried it; decides which word is the last."""
    created_at: Mapped[datetime]
    wording_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 over the wording's salt and its canonical text, so that the chain covers the words.

    Without the salt, which is erased with the words, it tells nothing. None: written by a release
    that knew no digests, while the schema was being brought up.
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
    """For example the text that was received, and the texts that were under way."""
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Random; None where the entry has no digest."""


class ConsentUnlinked(Base):
    """An entry that is in no link yet; written with the entry, removed when it is linked."""

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
    """Which secret key it was made with; it tells nothing of the key."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
