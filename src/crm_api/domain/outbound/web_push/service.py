"""Store, list and delete the push subscriptions of users."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, parse_url
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.outbound.web_push.errors import (
    InvalidPushEndpointError,
    PushSubscriptionNotFoundError,
)
from crm_api.domain.outbound.web_push.models import PushSubscription
from crm_api.domain.outbound.web_push.schemas import PushSubscriptionCreate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

MOST_SUBSCRIPTIONS = 20
"""Maximum number of subscriptions of a user. A new one replaces the oldest."""


async def subscribe(
    uow: UnitOfWork,
    body: PushSubscriptionCreate,
    *,
    user_id: UUID,
    policy: AddressPolicy,
    now: datetime,
) -> PushSubscription:
    """Store a subscription of a user.

    If the endpoint is already stored, its keys are replaced. If another user had the endpoint, it
    now belongs to this user, because a browser shows the notices of the user who is signed in.

    Raises:
        InvalidPushEndpointError: The address is not allowed.
    """
    try:
        policy.check_url(parse_url(body.endpoint))
    except AddressRefusedError as error:
        raise InvalidPushEndpointError(error) from error
    statement = insert(PushSubscription).values(
        id=new_id(),
        user_id=user_id,
        endpoint=body.endpoint,
        p256dh=body.keys.p256dh,
        auth=body.keys.auth,
        created_at=now,
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["endpoint"],
        set_={"user_id": new.user_id, "p256dh": new.p256dh, "auth": new.auth},
    )
    stored = (
        await uow.session.scalars(
            statement.returning(PushSubscription), execution_options={"populate_existing": True}
        )
    ).one()
    newest = (
        select(PushSubscription.id)
        .where(PushSubscription.user_id == user_id, PushSubscription.id != stored.id)
        .order_by(PushSubscription.created_at.desc(), PushSubscription.id.desc())
        .offset(MOST_SUBSCRIPTIONS - 1)
    )
    await uow.session.execute(delete(PushSubscription).where(PushSubscription.id.in_(newest)))
    return stored


def subscriptions_statement(
    *, user_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Select[PushSubscription]:
    """Return the statement that reads one page of a user's subscriptions, newest first."""
    statement = select(PushSubscription).where(PushSubscription.user_id == user_id)
    if after is not None:
        statement = statement.where(
            tuple_(PushSubscription.created_at, PushSubscription.id) < after
        )
    return statement.order_by(PushSubscription.created_at.desc(), PushSubscription.id.desc()).limit(
        limit
    )


async def list_subscriptions(
    uow: UnitOfWork, *, user_id: UUID, cursor: str | None, limit: int
) -> Page[PushSubscription]:
    """Return a page of a user's subscriptions, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("push subscriptions", user_id=user_id)
    statement = subscriptions_statement(
        user_id=user_id, after=cursors.read(cursor), limit=limit + 1
    )
    rows = (await uow.session.scalars(statement)).all()
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def unsubscribe(uow: UnitOfWork, *, subscription_id: UUID, user_id: UUID) -> None:
    """Delete a subscription of a user.

    Raises:
        PushSubscriptionNotFoundError: The user has no subscription with this id.
    """
    statement = delete(PushSubscription).where(
        PushSubscription.id == subscription_id, PushSubscription.user_id == user_id
    )
    if await uow.session.scalar(statement.returning(PushSubscription.id)) is None:
        raise PushSubscriptionNotFoundError
