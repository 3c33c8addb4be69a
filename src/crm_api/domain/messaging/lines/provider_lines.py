"""Read the phone numbers of our workspace at the provider, and store each as a line."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.messaging.lines.errors import LinesUnreadableError
from crm_api.domain.messaging.lines.schemas import CountedLine
from crm_api.domain.messaging.lines.service import count_today
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.provider.openphone.facts import OwnNumber
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


class LineSource(Protocol):
    """A client that can list the phone numbers of the provider's workspace."""

    async def list_phone_numbers(self) -> Sequence[OwnNumber]:
        """Return all phone numbers of the workspace."""


async def read_provider_numbers(source: LineSource) -> list[OwnNumber]:
    """Request all phone numbers of the workspace from the provider.

    Call this outside of a transaction, because it waits for the network.

    Raises:
        LinesUnreadableError: The provider is unreachable or busy, it refuses the request, or its
            response is unreadable.
    """
    try:
        return list(await source.list_phone_numbers())
    except OpenPhoneRefusedError as error:
        raise LinesUnreadableError(
            f"OpenPhone refused to list its phone numbers (HTTP {error.status}). Check the API "
            "key of OpenPhone in CRM_OPENPHONE_API_KEY."
        ) from error
    except (OpenPhoneBusyError, OpenPhoneListError) as error:
        raise LinesUnreadableError from error
    except UnreadableEventError as error:
        raise LinesUnreadableError(
            "OpenPhone returned a phone number that this service cannot read. No line was added "
            "or changed. Add the lines one by one with POST /v1/lines."
        ) from error


async def store_lines(
    uow: UnitOfWork,
    numbers: Sequence[OwnNumber],
    *,
    resend_unclear: bool,
    times: SendTimes,
    now: datetime,
) -> list[CountedLine]:
    """Add the provider's phone numbers as lines.

    If a line already exists, only its phone number is updated. Lines that are not in ``numbers``
    do not change.

    Returns:
        The lines of these numbers, newest first.
    """
    rows = {
        one.phone_number_id: {
            "phone_number_id": one.phone_number_id,
            "number": one.number,
            "name": one.name or one.number,
            "resend_unclear": resend_unclear,
        }
        for one in numbers
    }
    if not rows:
        return []
    stored = await _upsert_lines(uow, [rows[key] for key in sorted(rows)], now=now)
    return await count_today(uow, stored, times=times, now=now)


async def _upsert_lines(
    uow: UnitOfWork, rows: Sequence[dict[str, Any]], *, now: datetime
) -> list[Line]:
    """Add lines; if a line's provider id is already stored, update only the line's number.

    Returns:
        All these lines, newest first.
    """
    statement = insert(Line).values(
        [{"id": new_id(), "created_at": now, "updated_at": now, **row} for row in rows]
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["phone_number_id"],
        set_={"number": new.number, "updated_at": new.updated_at},
    )
    ids = list(await uow.session.scalars(statement.returning(Line.id)))
    found = select(Line).where(Line.id.in_(ids)).order_by(Line.created_at.desc(), Line.id.desc())
    return list(await uow.session.scalars(found.execution_options(populate_existing=True)))
