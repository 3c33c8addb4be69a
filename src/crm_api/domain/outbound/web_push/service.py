"""Store, list and delete the push subscriptions of users."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, parse_url
from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.outbound.web_push.schemas import PushSubscriptionCreate
from crm_api.platform.database import Base, UnitOfWork
from crm_api.platform.ids import new_id


class PushSubscriptionNotFoundError(NotFoundError):
    """The user has no push subscription with this id."""

    code = "push_subscription_not_found"
    title = "Push subscription not found"
    detail = "You have no push subscription with this id. GET /v1/push-subscriptions lists yours."


class InvalidPushEndpointError(InvalidError):
    """The address of the push service is not allowed."""

    code = "invalid_push_endpoint"
    title = "Push endpoint not allowed"
    example = Example(AddressRefusedError("insecure", "The address must begin with https://."))

    def __init__(self, refused: AddressRefusedError) -> None:
        detail = (
            f"{refused.detail} Send the subscription exactly as the browser made it. With the "
            "sandbox, an http:// address on the same machine is also allowed."
        )
        fault = FieldProblem(pointer="/endpoint", code=refused.code, detail=detail)
        super().__init__(detail, errors=[fault])


class PushSubscription(Base):
    """A browser that shows notices to a user, with the address of its push service.

    A row is deleted when the push service reports that the subscription is over.
    """

    __tablename__ = "push_subscription"
    __table_args__ = (
        Index("uq_push_subscription_endpoint", "endpoint", unique=True),
        Index("idx_push_subscription_user", "user_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    endpoint: Mapped[str]
    """The address at the push service, which accepts only requests that our key has signed."""
    p256dh: Mapped[str]
    """The public key of the browser, in base64url."""
    auth: Mapped[str]
    """The authentication secret of the browser, in base64url. With ``p256dh`` and ``auth``, a
    message can be encrypted, but not decrypted."""
    created_at: Mapped[datetime]
    last_success_at: Mapped[datetime | None]
    """When the push service last accepted a message."""


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

    A stored subscription with the same endpoint gets the new keys and the new user. If the user
    then has more than ``MOST_SUBSCRIPTIONS`` subscriptions, the oldest ones are deleted. The
    subscription of this request is never deleted.

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


async def list_subscriptions(
    uow: UnitOfWork, *, user_id: UUID, cursor: str | None, limit: int
) -> Page[PushSubscription]:
    """Return a page of a user's subscriptions, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    return await read_newest(
        uow.session,
        select(PushSubscription).where(PushSubscription.user_id == user_id),
        PushSubscription.created_at,
        PushSubscription.id,
        cursors=Cursors("push subscriptions", user_id=user_id),
        cursor=cursor,
        limit=limit,
    )


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
