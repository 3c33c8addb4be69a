"""Many numbers opted out by one request: each a decision of its own, all in one transaction."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.contacts import batch_queries
from crm_api.domain.contacts.errors import UnknownToOptOutError
from crm_api.domain.fields import PhoneNumber
from crm_api.domain.schemas import Id, ReadModel

MOST_NUMBERS = 500


class OptOutMany(ConsentDecision):
    """Who is opted out: contacts, and numbers with or without one; why, and how that is known."""

    contact_ids: Annotated[list[Id], Field(max_length=MOST_NUMBERS)] = Field(default_factory=list)
    phones: Annotated[list[PhoneNumber], Field(max_length=MOST_NUMBERS)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _count(self) -> Self:
        if not 1 <= len(self.contact_ids) + len(self.phones) <= MOST_NUMBERS:
            raise PydanticCustomError(
                "count_of_numbers",
                "Name 1 to {limit} contacts and numbers together.",
                {"limit": MOST_NUMBERS},
            )
        return self


class OptedOut(ReadModel):
    """How many numbers were named, each once, and how many of them were not opted out before."""

    numbers: int
    newly_opted_out: int


async def opt_out_many(
    uow: UnitOfWork, body: OptOutMany, *, actor: str, now: datetime, secret: bytes
) -> OptedOut:
    """Stop every text to these numbers; each leaves an entry in its consent history.

    Raises:
        UnknownToOptOutError: Some ids are no contacts; nobody was opted out.
    """
    session = uow.session
    known = await batch_queries.people_named(
        session, contact_ids=body.contact_ids, phones=body.phones
    )
    by_id = {one.told_id: one for one in known}
    unknown = [at for at, one in enumerate(body.contact_ids) if one not in by_id]
    if unknown:
        raise UnknownToOptOutError(unknown)
    by_phone = {one.told_phone: one.contact_id for one in known}
    numbers = {phone: by_phone.get(phone) for phone in body.phones}
    numbers |= {by_id[one].phone: by_id[one].contact_id for one in body.contact_ids}
    # All at once and in order: two such requests would wait for each other crosswise.
    theirs = await batch_queries.numbers_of(session, contact_ids={one.contact_id for one in known})
    await consent.take_turns(uow, phones=theirs.union(numbers))
    new = 0
    for phone in sorted(numbers):
        act = consent.Act(
            phone=phone,
            contact_id=numbers[phone],
            source=body.source,
            actor=actor,
            reason=body.reason,
            note=body.note,
            text_shown=body.text_shown,
            evidence=body.evidence,
            now=now,
            secret=secret,
        )
        new += await consent.opt_out(uow, **act)
    return OptedOut(numbers=len(numbers), newly_opted_out=new)
