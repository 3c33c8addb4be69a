"""Opt out many phone numbers in one transaction; each opt-out is stored as a separate decision."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, NamedTuple, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.schemas import ConsentGrounds
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.schemas import Id
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.people.contacts.errors import UnknownToOptOutError
from crm_api.platform.database import UnitOfWork

MOST_NUMBERS = 500


class OptOutMany(ConsentGrounds, DryRunRequest):
    """Contacts and phone numbers to opt out, with a reason and evidence.

    Attributes:
        contact_ids: The ids of contacts to opt out.
        phones: Phone numbers to opt out. They need not belong to a contact.
    """

    model_config = example(
        phones=["(617) 555-0123", "+16175550124"], reason="asked at the door", source="in_person"
    )

    contact_ids: Annotated[list[Id], Field(max_length=MOST_NUMBERS)] = Field(default_factory=list)
    phones: Annotated[list[PhoneNumber], Field(max_length=MOST_NUMBERS)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _count(self) -> Self:
        if not 1 <= len(self.contact_ids) + len(self.phones) <= MOST_NUMBERS:
            raise PydanticCustomError(
                "count_of_numbers",
                "Give 1 to {limit} contact ids and phone numbers in total.",
                {"limit": MOST_NUMBERS},
            )
        return self


class OptedOut(DryRunRead):
    """The result of opting out many phone numbers.

    Attributes:
        numbers: How many different phone numbers the request opts out. The numbers of the given
            contacts are included.
        newly_opted_out: How many of these phone numbers were not opted out before.
    """

    model_config = example(token=None, numbers=3, newly_opted_out=2)

    numbers: int
    newly_opted_out: int


async def opt_out_many(
    uow: UnitOfWork, body: OptOutMany, *, actor: str, now: datetime, secret: bytes
) -> OptedOut:
    """Opt out all phone numbers of a request; add each opt-out to the number's consent history.

    Raises:
        UnknownToOptOutError: Some ids do not belong to a contact; no number was opted out.
    """
    session = uow.session
    known = await people_named(session, contact_ids=body.contact_ids, phones=body.phones)
    by_id = {one.named_id: one for one in known}
    unknown = [at for at, one in enumerate(body.contact_ids) if one not in by_id]
    if unknown:
        raise UnknownToOptOutError(unknown)
    by_phone = {one.named_phone: one.contact_id for one in known}
    numbers = {phone: by_phone.get(phone) for phone in body.phones}
    numbers |= {by_id[one].phone: by_id[one].contact_id for one in body.contact_ids}
    # Lock all numbers together and in a fixed order. Otherwise, two such requests could deadlock.
    theirs = await numbers_of(session, contact_ids={one.contact_id for one in known})
    await consent.lock_decisions(uow, phones=theirs.union(numbers))
    new = 0
    for phone in sorted(numbers):
        act = consent.DecisionDetails(
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
    counts = {"numbers": len(numbers), "newly_opted_out": new}
    return OptedOut(**counts, counts=counts)


class Named(NamedTuple):
    """A contact that a request names by an id or a phone number.

    Attributes:
        named_id: The id of the named contact, which may be a merged duplicate.
        named_phone: The phone number of the named contact.
        contact_id: For a merged duplicate, the id of the contact that the duplicate was merged
            into. For every other contact, the same as ``named_id``.
        phone: The phone number of the contact ``contact_id``.
    """

    named_id: UUID
    named_phone: str
    contact_id: UUID
    phone: str


_PEOPLE_NAMED = text("""
    SELECT a.id AS named_id, a.phone AS named_phone, c.id AS contact_id, c.phone
    FROM contact a JOIN contact c ON c.id = coalesce(a.merged_into, a.id)
    WHERE (a.id = ANY(CAST(:ids AS uuid[])) OR a.phone = ANY(CAST(:phones AS text[])))
      AND c.deleted_at IS NULL
""")


async def people_named(
    session: AsyncSession, *, contact_ids: Collection[UUID], phones: Collection[str]
) -> list[Named]:
    """Fetch the contacts with these ids or phone numbers.

    If a merged duplicate has one of the ids or numbers, fetch the contact that the duplicate was
    merged into.
    """
    values = {"ids": list(contact_ids), "phones": list(phones)}
    return [Named(*row) for row in await session.execute(_PEOPLE_NAMED, values)]


_NUMBERS_OF = text("""
    SELECT phone FROM contact
    WHERE id = ANY(CAST(:ids AS uuid[])) OR merged_into = ANY(CAST(:ids AS uuid[]))
""")


async def numbers_of(session: AsyncSession, *, contact_ids: Collection[UUID]) -> set[str]:
    """Return the phone numbers of contacts and of the duplicates that were merged into them."""
    return set(await session.scalars(_NUMBERS_OF, {"ids": list(contact_ids)}))
