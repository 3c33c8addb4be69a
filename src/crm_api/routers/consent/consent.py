"""Routes of the consent proof: decisions about a phone number, and whether one was changed."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.messaging.consent_decisions import proof
from crm_api.domain.messaging.consent_decisions.schemas import ConsentProof
from crm_api.domain.people.contacts import service as contacts
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import csv_response
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1", tags=["consent"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]

_AS_CSV = csv_response(
    "The consent proof as JSON, or as a CSV table with `Accept: text/csv`.",
    {
        "entry_id": "1204",
        "occurred_at": "2026-11-30T15:04:05.000Z",
        "stored_at": "2026-11-30T15:04:06.000Z",
        "action": "opt_out",
        "source": "message",
        "actor": "person",
        "reason": "STOP",
        "note": "",
        "text_shown": "",
        "evidence": "{'text': 'STOP please'}",
        "message": "STOP please",
        "wording_digest": "ed7fe8eb03a349e799c96a7ba5cd7cc10dc821d68731adbbe6b595dbc48171a1",
        "position": "1204",
        "link_digest": "636d41fedaafd0477d12396aa9b731c9699b679a3303d3f4ef66ed5d6e1cd254",
        "verified": "yes",
        "claimed_at": "2026-11-30T15:04:05.000Z",
    },
)


@router.get("/consent-proof", response_model=ConsentProof, responses=_AS_CSV)
async def get_proof_by_phone(
    phone: Annotated[
        PhoneNumber,
        Query(description="The phone number for which you want the proof, in any usual format."),
    ],
    request: Request,
    uow: Uow,
    state: State,
    _caller: Reader,
) -> ConsentProof | Response:
    """Return all consent decisions about a phone number.

    The response also shows whether a stored decision was changed later. The number may belong to a
    contact that was deleted, or to no contact.
    """
    async with uow:
        found = await proof.build_consent_proof(
            uow, phone=phone, secret=state.secret, now=clock.now()
        )
    return _answer(request, found)


@router.get("/contacts/{contact_id}/consent-proof", response_model=ConsentProof, responses=_AS_CSV)
async def get_proof_of_contact(
    contact_id: UUID, request: Request, uow: Uow, state: State, _caller: Reader
) -> ConsentProof | Response:
    """Return all consent decisions about the phone number of a contact.

    The response also shows whether a stored decision was changed later.
    """
    now: datetime = clock.now()
    async with uow:
        phone = (await contacts.get_contact(uow, contact_id=contact_id, now=now)).contact.phone
        found = await proof.build_consent_proof(uow, phone=phone, secret=state.secret, now=now)
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
