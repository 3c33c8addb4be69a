"""The proof of consent for one number."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.consent import proof
from crm_api.domain.consent.proof import ConsentProof
from crm_api.domain.contacts import service as contacts
from crm_api.domain.fields import PhoneNumber
from crm_api.routers.deps import Caller, State, Uow, require

router = APIRouter(prefix="/v1", tags=["consent"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]

_AS_CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/csv": {"schema": {"type": "string"}}},
        "description": "With `Accept: text/csv` a table.",
    }
}


@router.get("/consent-proof", response_model=ConsentProof, responses=_AS_CSV)
async def get_proof_by_phone(
    phone: Annotated[PhoneNumber, Query(description="Any usual writing of the number.")],
    request: Request,
    uow: Uow,
    state: State,
    _caller: Reader,
) -> ConsentProof | Response:
    """Prove what was decided about a number, also when no contact has it any more."""
    async with uow:
        found = await proof.prove(uow, phone=phone, secret=state.secret, now=clock.now())
    return _answer(request, found)


@router.get("/contacts/{contact_id}/consent-proof", response_model=ConsentProof, responses=_AS_CSV)
async def get_proof_of_contact(
    contact_id: UUID, request: Request, uow: Uow, state: State, _caller: Reader
) -> ConsentProof | Response:
    """Prove what was decided about a contact's number."""
    now: datetime = clock.now()
    async with uow:
        phone = (await contacts.get(uow, contact_id=contact_id, now=now)).contact.phone
        found = await proof.prove(uow, phone=phone, secret=state.secret, now=now)
    return _answer(request, found)


def _answer(request: Request, found: ConsentProof) -> ConsentProof | Response:
    if "text/csv" not in request.headers.get("accept", ""):
        return found
    name = f"consent-{found.phone.removeprefix('+')}.csv"
    return Response(
        proof.as_csv(found),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
