"""Routes of contacts, their consent and their timeline."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Response
from pydantic import AfterValidator

from crm_api.domain.consent.schemas import ConsentDecision, ConsentEntryRead, FlagRead
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.contact_columns import CONTACT_COLUMNS
from crm_api.domain.kit.examples import CONTACT
from crm_api.domain.kit.fields import Line200, OptionalLine200, PhoneNumber, refuse_nul
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import decisions
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.export import contacts_csv
from crm_api.domain.people.contacts.schemas import (
    ContactCreate,
    ContactFilter,
    ContactRead,
    ContactSort,
    ContactUpdate,
    FlagCreate,
    FlagName,
)
from crm_api.domain.people.contacts.timeline import TimelineItem, TimelineParts, list_timeline
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import After, Before, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/contacts", tags=["contacts"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


async def read_filter(
    *,
    q: Annotated[
        Line200,
        Query(
            description="Words to find in the name, phone number, e-mail address or company. Every "
            "word must occur. A word with fewer than three letters or digits is found only at the "
            "beginning of a word.",
            examples=["rossi quincy"],
        ),
    ] = "",
    phone: Annotated[
        PhoneNumber | None, Query(description="Only the contact with this phone number.")
    ] = None,
    tag: Annotated[
        Line200 | None, Query(description="Only contacts with this tag.", examples=["homeowner"])
    ] = None,
    list_id: Annotated[
        UUID | None, Query(description="Only contacts on the list with this id.")
    ] = None,
    opted_out: Annotated[
        bool | None,
        Query(
            description="True: only contacts whose number is opted out; false: only contacts whose "
            "number is not opted out."
        ),
    ] = None,
    created_after: After = None,
    created_before: Before = None,
    updated_after: After = None,
    zone: QueryZone,
    state: Annotated[
        OptionalLine200, Query(description="Only contacts in this state. Give its code or name.")
    ] = None,
    city: Annotated[
        OptionalLine200,
        Query(description="Only contacts in this city. Case and accents are ignored."),
    ] = None,
    has_email: Annotated[
        bool | None,
        Query(
            description="True: only contacts with an e-mail address; false: only contacts without "
            "an e-mail address.",
            examples=[True],
        ),
    ] = None,
    flag: Annotated[
        FlagName | None,
        Query(
            description="Only contacts whose number has this flag now.", examples=["office_number"]
        ),
    ] = None,
) -> ContactFilter:
    """Read the filter from the query parameters."""
    return ContactFilter(
        q=q,
        phone=phone,
        tag=tag,
        list_id=list_id,
        opted_out=opted_out,
        created_after=start_of(created_after, zone),
        created_before=start_of(created_before, zone),
        updated_after=start_of(updated_after, zone),
        state=state,
        city=city,
        has_email=has_email,
        flag=flag,
    )


Wanted = Annotated[ContactFilter, Depends(read_filter)]


CONTACTS_AS_CSV = csv_list(
    {
        "id": CONTACT,
        "phone": "+16175550123",
        **{column.name: column.example for column in CONTACT_COLUMNS},
        "tags": "homeowner",
        "lists": "Owners in Quincy",
        "opted_out": "false",
        "opted_out_at": "",
        "opt_out_reason": "",
        "opt_out_hold": "false",
        "do_not_contact": "false",
        "flags": "",
        "source": "import",
        "created_at": "2026-11-24T16:20:00.000Z",
        "updated_at": "2026-11-30T14:05:12.000Z",
        "attributes.year_built": "1928",
    }
)


@router.post("", status_code=201, openapi_extra=fails_with("contact_exists", "invalid_attributes"))
async def create_contact(
    body: ContactCreate, uow: Uow, state: State, _caller: Writer
) -> ContactRead:
    """Create a contact. A deleted contact with this number is restored with the new fields."""
    async with uow:
        contact = await contact_changes.create_contact(
            uow, body, now=await uow.database_now(), secret=state.secret
        )
    return ContactRead.of(contact)


@router.get(
    "",
    response_model=PageRead[ContactRead],
    responses=CONTACTS_AS_CSV,
    openapi_extra=fails_with("invalid_phone", "unsearchable"),
)
async def list_contacts(
    *,
    uow: ListUow,
    state: State,
    page: Paging,
    wanted: Wanted,
    as_csv: WantsCsv,
    _caller: Reader,
    sort: Annotated[
        ContactSort,
        Query(
            description="The order of the contacts. A minus sign reverses the order.",
            examples=["-created_at"],
        ),
    ] = ContactSort.NEWEST,
) -> PageRead[ContactRead] | Response:
    """List contacts, newest first by default. A CSV response contains all matching contacts."""
    if as_csv:
        rows = await contacts_csv(state.new_list_uow, wanted, sort=sort, now=clock.now())
        return csv_answer(rows, name="contacts")
    async with uow:
        await uow.commit_each()
        found = await contacts.list_contacts(
            uow, wanted, sort=sort, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead.of(found, ContactRead.of)


@router.get(
    "/by-phone/{phone:path}", openapi_extra=fails_with("contact_not_found", "invalid_phone")
)
async def get_contact_by_phone(
    phone: Annotated[
        str,
        Path(description="The phone number, in E.164 or any usual format."),
        AfterValidator(refuse_nul),
    ],
    uow: Uow,
    _caller: Reader,
) -> ContactRead:
    """Find a contact by its phone number, in any usual format."""
    async with uow:
        await uow.commit_each()
        contact = await contacts.get_contact_by_phone(uow, phone=phone, now=clock.now())
    return ContactRead.of(contact)


@router.get("/{contact_id}")
async def get_contact(contact_id: UUID, uow: Uow, _caller: Reader) -> ContactRead:
    """Show a contact."""
    async with uow:
        await uow.commit_each()
        contact = await contacts.get_contact(uow, contact_id=contact_id, now=clock.now())
    return ContactRead.of(contact)


@router.patch("/{contact_id}", openapi_extra=fails_with("contact_exists", "invalid_attributes"))
async def update_contact(
    contact_id: UUID, body: ContactUpdate, uow: Uow, state: State, _caller: Writer
) -> ContactRead:
    """Change some fields of a contact. Null clears a field.

    In `address` and `attributes`, fields that you do not send keep their values.
    """
    async with uow:
        contact = await contact_changes.update_contact_by_hand(
            uow,
            body,
            contact_id=contact_id,
            now=await uow.database_now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.delete("/{contact_id}", status_code=204)
async def delete_contact(contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a contact. An opted-out number stays opted out."""
    async with uow:
        await contact_changes.delete_contact(
            uow, contact_id=contact_id, now=await uow.database_now()
        )


@router.get("/{contact_id}/timeline")
async def get_timeline(
    contact_id: UUID, uow: Uow, state: State, page: Paging, caller: Reader
) -> PageRead[TimelineItem]:
    """List messages, calls, consent decisions, campaign steps and notes of a contact, newest first.

    With the scope `sales:read`, the list also has quotes, invoices and appointments. The time of an
    appointment is its start. With `insight:read`, the list also has outcomes.
    """
    shows = TimelineParts(
        sales=caller.may(Scope.SALES_READ), outcomes=caller.may(Scope.INSIGHT_READ)
    )
    async with uow:
        await uow.commit_each()
        found = await list_timeline(
            uow,
            contact_id=contact_id,
            secret=state.secret,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
            shows=shows,
        )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.post(
    "/{contact_id}/opt-out",
    openapi_extra=fails_with("not_a_reply") | shows(opted_out=True, flags=["opted_out"]),
)
async def opt_out(
    contact_id: UUID, body: ConsentDecision, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Opt out this contact's number: it gets no more messages.

    A hold (no campaign messages until a user decides) becomes an opt-out.
    """
    async with uow:
        contact = await decisions.opt_out(
            uow,
            contact_id=contact_id,
            decision=body,
            actor=caller.name,
            now=await uow.database_now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.post("/{contact_id}/opt-in", openapi_extra=fails_with("not_a_reply"))
async def opt_in(
    contact_id: UUID, body: ConsentDecision, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Opt in this contact's number: it may get messages again.

    A hold (no campaign messages until a user decides) is released.
    """
    async with uow:
        contact = await decisions.opt_in(
            uow,
            contact_id=contact_id,
            decision=body,
            actor=caller.name,
            now=await uow.database_now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.get("/{contact_id}/flags")
async def list_flags(
    contact_id: UUID, uow: Uow, page: Paging, _caller: Reader
) -> PageRead[FlagRead]:
    """List the flags of this contact's number with reason and expiry, ordered by flag name."""
    async with uow:
        found = await decisions.list_flags(uow, contact_id=contact_id, now=clock.now())
    part = Cursors("flags", contact_id=str(contact_id)).part(
        found, cursor=page.cursor, limit=page.limit, name=lambda flag: flag.flag_type
    )
    return PageRead.of(part, FlagRead.model_validate)


@router.post(
    "/{contact_id}/flags",
    status_code=201,
    openapi_extra=fails_with("consent_does_not_expire", "expiry_in_the_past")
    | shows(flags=["office_number"]),
)
async def add_flag(
    contact_id: UUID, body: FlagCreate, uow: Uow, state: State, caller: Writer
) -> ContactRead:
    """Set a flag on this contact's number. Setting `opted_out` opts the number out."""
    async with uow:
        contact = await decisions.add_flag(
            uow,
            body,
            contact_id=contact_id,
            actor=caller.name,
            now=await uow.database_now(),
            secret=state.secret,
        )
    return ContactRead.of(contact)


@router.delete(
    "/{contact_id}/flags/{flag}",
    status_code=204,
    openapi_extra=fails_with("contact_not_found", "flag_not_found"),
)
async def remove_flag(
    contact_id: UUID,
    flag: Annotated[
        FlagName, Path(description="The name of the flag.", examples=["office_number"])
    ],
    uow: Uow,
    state: State,
    caller: Writer,
) -> None:
    """Remove a flag from this contact's number. Removing `opted_out` opts the number in."""
    async with uow:
        await decisions.remove_flag(
            uow,
            contact_id=contact_id,
            flag=flag,
            actor=caller.name,
            now=await uow.database_now(),
            secret=state.secret,
        )


@router.get("/{contact_id}/consent-history")
async def get_consent_history(
    contact_id: UUID, uow: Uow, state: State, page: Paging, _caller: Reader
) -> PageRead[ConsentEntryRead]:
    """List the consent decisions about this contact's number, newest first."""
    async with uow:
        found = await decisions.consent_history(
            uow,
            contact_id=contact_id,
            secret=state.secret,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
        )
    return PageRead.of(found, lambda row: ConsentEntryRead.of(*row))
