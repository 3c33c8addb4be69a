"""List and resolve entries of the provider's stop list, and compare them with our opt-outs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.models.number_failures import ProviderStopStatus
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows


class ProviderStopNotFoundError(NotFoundError):
    """No entry of the provider's stop list has this id."""

    code = "provider_stop_not_found"
    title = "Provider stop not found"
    detail = (
        "No entry of the provider's stop list has this id. GET /v1/provider-stops lists the "
        "entries."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStop:
    """An entry of the provider's stop list: a phone number that the provider refuses.

    Attributes:
        error_code: The provider's error code for the last message that it refused.
        message_id: The last message that the provider refused.
        failures: The number of messages that the provider refused.
        contact_id: The contact with the number; None if there is none.
        status: ``open``, ``agreed`` (the number is opted out in this service too), ``recovered`` (a
            later message was delivered) or ``resolved`` (a user resolved the entry).
    """

    id: UUID
    phone: str
    line_id: UUID
    error_code: str
    message_id: UUID
    failures: int
    first_failed_at: datetime
    last_failed_at: datetime
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    contact_id: UUID | None
    status: str


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
) -> Page[ListedStop]:
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
    found = typed_rows(ListedStop, await uow.session.execute(LIST_STOPS, values))
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
) -> ListedStop:
    """Resolve an entry of the provider's stop list, the list of numbers that the provider refuses.

    A user resolves an entry when the provider sends to the number again. If the number is opted out
    in this service, it stays opted out. If the provider refuses the number again, a new entry is
    created. If the entry is already resolved, it does not change.

    Raises:
        ProviderStopNotFoundError: No entry has this id.
    """
    values = {"id": stop_id, "actor": actor, "note": note, "now": now}
    is_ended = (await uow.session.execute(END_STOP, values)).first() is not None
    found = (await uow.session.execute(FIND_STOP, {"id": stop_id})).one_or_none()
    stop = typed_row(ListedStop, found)
    if stop is None:
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
    return stop
