"""Routes of web push: the key of this installation, and the devices of the signed-in user."""

from http import HTTPStatus
from uuid import UUID

from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.outbound.web_push import service as web_push
from crm_api.domain.outbound.web_push.push_message import public_push_key
from crm_api.domain.outbound.web_push.schemas import (
    PushKeyRead,
    PushSubscriptionCreate,
    PushSubscriptionRead,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Paging, SignedIn, State, Uow
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["preferences"])


@router.get("/push-key", openapi_extra=fails_with("user_needed"))
async def read_push_key(state: State, _caller: SignedIn) -> PushKeyRead:
    """Return the public key with which a browser subscribes to web push."""
    return PushKeyRead(public_key=public_push_key(state.secret))


@router.post(
    "/push-subscriptions",
    status_code=HTTPStatus.CREATED,
    openapi_extra=fails_with("invalid_push_endpoint", "user_needed"),
)
async def create_push_subscription(
    body: PushSubscriptionCreate, uow: Uow, state: State, caller: SignedIn
) -> PushSubscriptionRead:
    """Show your notices, such as mentions and due tasks, on a device (a browser or a phone).

    `endpoint` identifies the device. The keys of a device that is already stored are replaced. If
    you have more than 20 devices, the oldest is removed. `notices` of your preferences says which
    notices you get.
    """
    async with uow:
        stored = await web_push.subscribe(
            uow,
            body,
            user_id=caller.user_id,
            policy=AddressPolicy.for_webhooks(state.settings),
            now=clock.now(),
        )
    return PushSubscriptionRead.model_validate(stored)


@router.get("/push-subscriptions", openapi_extra=fails_with("user_needed"))
async def list_push_subscriptions(
    uow: Uow, page: Paging, caller: SignedIn
) -> PageRead[PushSubscriptionRead]:
    """List the devices that show your notices, newest first."""
    async with uow:
        found = await web_push.list_subscriptions(
            uow, user_id=caller.user_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, PushSubscriptionRead.model_validate)


@router.delete(
    "/push-subscriptions/{subscription_id}",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=fails_with("user_needed"),
)
async def delete_push_subscription(subscription_id: UUID, uow: Uow, caller: SignedIn) -> None:
    """Stop showing your notices on a device."""
    async with uow:
        await web_push.unsubscribe(uow, subscription_id=subscription_id, user_id=caller.user_id)
