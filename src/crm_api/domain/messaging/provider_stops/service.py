"""List and resolve entries of the provider's stop list, and compare them with our opt-outs."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import text

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.messaging.models.number_failures import ProviderStopStatus
from crm_api.platform.database import UnitOfWork

NoteText = Annotated[str, Text(shortest=1, longest=1000, has_lines=True)]


class ProviderStopResolve(RequestModel):
    """Why an entry of the provider's stop list is resolved."""

    model_config = example(note="The person texted START.")

    note: NoteText | None = Field(
        default=None,
        description="Why the provider sends to the number again, for example because the person "
        "sent START.",
    )


class ProviderStopRead(ReadModel):
    """A number to which the provider refuses to send, because the person opted out at the provider.

    The provider's API does not list these numbers. This service creates an entry when the provider
    refuses a message for that reason.
    """

    model_config = example(
        error_code="21610",
        failures=1,
        first_failed_at="2026-11-20T15:04:11.000Z",
        last_failed_at="2026-11-20T15:04:11.000Z",
    )

    id: Id
    phone: str = Field(description="The phone number that the provider refuses, in E.164.")
    contact_id: Id | None = Field(
        description="The contact with this phone number; null if there is none."
    )
    status: ProviderStopStatus = Field(
        description="`open`: the provider refuses the number, but the number is not opted out in "
        "this service. `agreed`: the number is opted out in this service too. `recovered`: a later "
        "message to the number was delivered. `resolved`: a user resolved the entry."
    )
    line_id: Id = Field(description="The line of the last message that the provider refused.")
    message_id: Id = Field(description="The last message that the provider refused.")
    error_code: str = Field(
        description="The provider's error code for the last message that it refused."
    )
    failures: int = Field(
        description="How many messages to this phone number the provider refused."
    )
    first_failed_at: Instant = Field(
        description="When the provider refused the first message to this phone number."
    )
    last_failed_at: Instant = Field(
        description="When the provider refused the last message to this phone number."
    )
    created_at: Instant = Field(description="When this service created the entry.")
    resolved_at: Instant | None = Field(
        description="When a user resolved the entry; null if no user has resolved it."
    )
    resolved_by: str | None = Field(
        description="The name of the user or API key that resolved the entry; null if unresolved."
    )
    note: str | None = Field(description="Why the entry was resolved; null if no reason was given.")


class ProviderStopNotFoundError(NotFoundError):
    """No entry of the provider's stop list has this id."""

    code = "provider_stop_not_found"
    title = "Provider stop not found"
    detail = (
        "No entry of the provider's stop list has this id. GET /v1/provider-stops lists the "
        "entries."
    )


_LISTED = """
    SELECT s.id, s.phone, s.line_id, s.code AS error_code, s.message_id, s.failures,
           s.first_failed_at, s.last_failed_at, s.created_at, s.resolved_at, s.resolved_by, s.note,
           (SELECT coalesce(c.merged_into, c.id) FROM contact c WHERE c.phone = s.phone)
               AS contact_id,
           CASE WHEN s.resolved_at IS NOT NULL THEN 'resolved'
                WHEN EXISTS (
                    SELECT 1 FROM send_attempt a
                    WHERE a.phone = s.phone AND a.created_at > s.last_failed_at
                      AND a.status = 'delivered') THEN 'recovered'
                WHEN EXISTS (
                    SELECT 1 FROM contact_flag f
                    WHERE f.phone = s.phone AND f.flag_type = 'opted_out') THEN 'agreed'
                ELSE 'open' END AS status
    FROM provider_stop s
"""

LIST_STOPS = text(f"""
    SELECT * FROM ({_LISTED}
        WHERE CAST(:phone AS text) IS NULL OR s.phone = CAST(:phone AS text)
    ) shown
    WHERE shown.status = :status
      AND (CAST(:after_at AS timestamptz) IS NULL OR (shown.created_at, shown.id)
           < (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY shown.created_at DESC, shown.id DESC LIMIT :limit
""")


async def list_provider_stops(
    uow: UnitOfWork,
    *,
    status: ProviderStopStatus,
    phone: str | None,
    cursor: str | None,
    limit: int,
) -> Page[ProviderStopRead]:
    """List the entries of the provider's stop list that have this status, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("provider_stops", status=status, phone=phone)
    after = cursors.read(cursor)
    values = {
        "status": status,
        "phone": phone,
        "after_at": after[0] if after else None,
        "after_id": after[1] if after else None,
        "limit": limit + 1,
    }
    rows = await uow.session.execute(LIST_STOPS, values)
    found = [ProviderStopRead.model_validate(row) for row in rows]
    return cursors.page(found, limit=limit, position=lambda stop: (stop.created_at, stop.id))


FIND_STOP = text(f"{_LISTED} WHERE s.id = :id")

END_STOP = text("""
    UPDATE provider_stop
    SET resolved_at = :now, resolved_by = :actor, note = :note, updated_at = :now
    WHERE id = :id AND resolved_at IS NULL
    RETURNING id
""")


async def resolve_provider_stop(
    uow: UnitOfWork, *, stop_id: UUID, note: str | None, actor: str, now: datetime
) -> ProviderStopRead:
    """Resolve an entry of the provider's stop list, the list of numbers that the provider refuses.

    An opt-out of the number in this service stays. An entry that is already resolved does not
    change. If the provider refuses the number again, a new entry is created.

    Raises:
        ProviderStopNotFoundError: No entry has this id.
    """
    values = {"id": stop_id, "actor": actor, "note": note, "now": now}
    is_ended = (await uow.session.execute(END_STOP, values)).first() is not None
    found = (await uow.session.execute(FIND_STOP, {"id": stop_id})).one_or_none()
    if found is None:
        raise ProviderStopNotFoundError
    if is_ended:
        await note_decision(
            uow,
            actor=actor,
            action="resolve_provider_stop",
            subject=str(stop_id),
            detail={},
            now=now,
        )
    return ProviderStopRead.model_validate(found)
