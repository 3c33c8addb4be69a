"""Contacts, consent, timeline."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.consent.schemas import ConsentDecision, ConsentEntryRead, FlagRead
from crm_api.domain.contacts import arriving, decisions
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.exporting import contacts_csv
from crm_api.domain.contacts.schemas import (
    ContactCreate,
    ContactFilter,
    ContactRead,
    ContactSort,
    ContactUpdate,
    FlagCreate,
    FlagName,
)
from crm_api.domain.contacts.timeline import TimelineItem, timeline
from crm_api.domain.fields import Line200, OptionalLine200, PhoneNumber, RequestInstant
from crm_api.domain.schemas import PageRead
from crm_api.routers.csv_answers import CSV_RESPONSE, WantsCsv, csv_answer
from crm_api.routers.deps import Caller, ListUow, Paging, State, Uow, require

router = APIRouter(prefix="/v1/contacts", tags=["contacts"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


async def read_filter(
    *,
    q: Annotated[
        Line200,
        Query(
            description="Any part of name, phone, e-mail or company; every word must occur, "
            "one of fewer than three letters or digits as the beginning of a word."
        ),
    ] = "",
    phone: Annotated[PhoneNumber | None, Query(description="One number exactly.")] = None,
    tag: Annotated[Line200 | None, Query()] = None,
    list_id: Annotated[UUID | None, Query()] = None,
    opted_out: Annotated[bool | None, Query()] = None,
    created_after: Annotated[RequestInstant | None, Query(description="Exclusive.")] = None,
    created_before: Annotated[RequestInstant | None, Query(description="Exclusive.")] = None,
    updated_after: Annotated[RequestInstant | None, Query(description="Exclusive.")] = None,
    state: Annotated[OptionalLine200, Query(description="A code or a name.")] = None,
    city: Annotated[OptionalLine200, Query()] = None,
    has_email: Annotated[bool | None, Query()] = None,
    flag: Annotated[FlagName | None, Query(description="Stands on the number now.")] = None,
) -> ContactFilter:
    """Read which contacts are wanted."""
    return ContactFilter(
        q=q,
        phone=phone,
        tag=tag,
        list_id=list_id,
        opted_out=opted_out,
        created_after=created_after,
        created_before=created_before,
        updated_after=updated_after,
        state=state,
        city=city,
        has_email=has_email,
        flag=flag,
    )


Wanted = Annotated[ContactFilter, Depends(read_filter)]


@router.post("", status_code=201)
async def create_contact(
    body: ContactCreate, uow: Uow, state: State, _caller: Writer
) -> ContactRead:
    """Add a contact; one that was deleted comes back under its old id, with fresh fields."""
    async with uow:
        contact = await arriving.create(uow, body, now=clock.now(), secret=state.secret)
    return ContactRead.of(contact)


@router.get("", response_model=PageRead[ContactRead], responses=CSV_RESPONSE)
async def list_contacts(
    *,
    uow: ListUow,
    state: State,
    page: Paging,
    wanted: Wanted,
    as_csv: WantsCsv,
    _caller: Reader,
    sort: ContactSort = ContactSort.NEWEST,
) -> PageRead[ContactRead] | Response:
    """List contacts, newest first or in another order; as CSV all of them."""
    if as_csv:
        rows = await contacts_csv(state.new_list_uow, wanted, sort=sort, now=clock.now())
        return csv_answer(rows, name="contacts")
    async with uow:
        await uow.commit_each()
        found = await contacts.list_contacts(
            uow, wanted, sort=sort, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead(data=[ContactRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.get("/by-phone/{phone:path}")
async def get_contact_by_phone(phone: str, uow: Uow, _caller: Reader) -> ContactRead:
    """Find a contact by its number, in any usual writing."""
    async with uow:
        await uow.commit_each()
        contact = await contacts.get_by_phone(uow, phone=phone, now=clock.now())
    return ContactRead.of(contact)


@router.get("/{contact_id}")
async def get_contact(contact_id: UUID, uow: Uow, _caller: Reader) -> ContactRead:
    """Show a contact."""
    async with uow:
        await uow.commit_each()
        contact = await contacts.get(uow, contact_id=contact_id, now=clock.now())
    return ContactRead.of(contact)


@router.patch("/{contact_id}")
async def update_contact(
    contact_id: UUID, body: ContactUpdate, uow: Uow, state: State, _caller: Writer
) -> ContactRead:
    """Change some fields; null clears one, `address` and `attributes` are merged."""
    async with uow:
        contact = await arriving.update(
            uow, body, contact_id=contact_id, now=clock.now(), secret=state.secret
        )
    return ContactRead.of(contact)


@router.delete("/{contact_id}", status_code=204)
async def delete_contact(contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Forget a person; an opt-out stays with the number."""
    async with uow:
        await contacts.delete(uow, contact_id=contact_id, now=clock.now())


@router.get("/{contact_id}/timeline")
async def get_timeline(
    contact_id: UUID, uow: Uow, state: State, page: Paging, _caller: Reader
) -> PageRead[TimelineItem]:
    """List messages, calls, opt-outs, campaign steps and notes of a contact, newest first."""
    async with uow:
        await uow.commit_each()
        found = await timeline(
            uow,
            contact_id=contact_id,
            secret=state.secret,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
        )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.post("/{contact_id}/opt-out")
async def opt_out(
    contact_id: UUID, body: ConsentDecision, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Stop every text to this contact's number; a hold on it is thereby confirmed."""
    async with uow:
        contact = await decisions.opt_out(
            uow,
            contact_id=contact_id,
            decision=body,
            actor=caller.name,
            now=clock.now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.post("/{contact_id}/opt-in")
async def opt_in(
    contact_id: UUID, body: ConsentDecision, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Allow texts to this contact's number again; a hold on it is released."""
    async with uow:
        contact = await decisions.opt_in(
            uow,
            contact_id=contact_id,
            decision=body,
            actor=caller.name,
            now=clock.now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.get("/{contact_id}/flags")
async def list_flags(contact_id: UUID, uow: Uow, _caller: Reader) -> PageRead[FlagRead]:
    """List the flags that stand on this contact's number, with reason and end; all on one page."""
    async with uow:
        found = await decisions.list_flags(uow, contact_id=contact_id, now=clock.now())
    return PageRead(data=[FlagRead.model_validate(one) for one in found], next_cursor=None)


@router.post("/{contact_id}/flags", status_code=201)
async def add_flag(
    contact_id: UUID, body: FlagCreate, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Put a flag on this contact's number; `opted_out` is an opt-out with all that it does."""
    async with uow:
        contact = await decisions.add_flag(
            uow,
            body,
            contact_id=contact_id,
            actor=caller.name,
            now=clock.now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.delete("/{contact_id}/flags/{flag}", status_code=204)
async def remove_flag(
    contact_id: UUID, flag: FlagName, uow: Uow, state: State, caller: Writer
) -> None:
    """Take a flag off this contact's number; for `opted_out` that is an opt-in."""
    async with uow:
        await decisions.remove_flag(
            uow,
            contact_id=contact_id,
            flag=flag,
            actor=caller.name,
            now=clock.now(),
            secret=state.secret,
        )


@router.get("/{contact_id}/consent-history")
async def get_consent_history(
    contact_id: UUID, uow: Uow, state: State, page: Paging, _caller: Reader
) -> PageRead[ConsentEntryRead]:
    """List the decisions about this contact's number, newest first; none is ever changed."""
    async with uow:
        found = await decisions.consent_history(
            uow,
            contact_id=contact_id,
            secret=state.secret,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
        )
    return PageRead(
        data=[ConsentEntryRead.of(*row) for row in found.data], next_cursor=found.next_cursor
    )
