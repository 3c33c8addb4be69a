"""SQL on the signing keys of our webhooks."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.ids import new_id

_LIVE_KEYS = text("""
    SELECT webhook_id, scheme, sealed, retire_at
      FROM webhook_key
     WHERE retire_at IS NULL OR retire_at > :now
     ORDER BY created_at, id
""")

_RETIRE = text("""
    UPDATE webhook_key SET retire_at = :until
     WHERE webhook_id = :webhook_id AND retire_at IS NULL
""")

_ADD = text("""
    INSERT INTO webhook_key (id, webhook_id, scheme, sealed, created_at)
    VALUES (:id, :webhook_id, :scheme, :sealed, :now)
""")

_FORGET = text("DELETE FROM webhook_key WHERE retire_at <= :now")

# A sample has the same event id each time, and an event is stored once.
_SET_ASIDE = text("""
    WITH freed AS (
        DELETE FROM webhook_event_key WHERE provider_event_id = :event_id RETURNING event_id
    ), renamed AS (
        UPDATE webhook_event SET provider_event_id = provider_event_id || ':' || id
          FROM freed WHERE id = freed.event_id
    )
    SELECT event_id FROM freed
""")

_IS_STORED = text("""
    SELECT EXISTS (SELECT FROM webhook_event_key WHERE provider_event_id = :event_id)
""")

_LINE_IDS = text("SELECT phone_number_id FROM line ORDER BY phone_number_id")


async def live_keys(
    session: AsyncSession, *, now: datetime
) -> Sequence[Row[tuple[str, str, bytes, datetime | None]]]:
    """Fetch the keys that are accepted, the oldest first."""
    return (await session.execute(_LIVE_KEYS, {"now": now})).all()


async def retire_key(session: AsyncSession, *, webhook_id: str, until: datetime) -> None:
    """Let a webhook's present key end at an instant."""
    await session.execute(_RETIRE, {"webhook_id": webhook_id, "until": until})


async def add_key(
    session: AsyncSession, *, webhook_id: str, scheme: str, sealed: bytes, now: datetime
) -> None:
    """Add a webhook's present key; the one before is retired already."""
    await session.execute(
        _ADD,
        {
            "id": new_id(),
            "webhook_id": webhook_id,
            "scheme": scheme,
            "sealed": sealed,
            "now": now,
        },
    )


async def forget_retired(session: AsyncSession, *, now: datetime) -> None:
    """Remove the keys whose time is over."""
    await session.execute(_FORGET, {"now": now})


async def set_aside(session: AsyncSession, *, event_id: str) -> bool:
    """Let an event's id be free again; False when no event has it."""
    return (await session.execute(_SET_ASIDE, {"event_id": event_id})).first() is not None


async def is_stored(session: AsyncSession, *, event_id: str) -> bool:
    """Tell whether an event with this id is stored."""
    stored: bool = (await session.execute(_IS_STORED, {"event_id": event_id})).scalar_one()
    return stored


async def line_ids(session: AsyncSession) -> Sequence[str]:
    """Fetch the provider's ids of all lines; a workspace has a few."""
    return (await session.scalars(_LINE_IDS)).all()
