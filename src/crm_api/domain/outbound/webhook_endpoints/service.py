"""Create, list, change and delete webhook endpoints, and replace their secrets.

An endpoint has the scopes of the caller who last set its address or event types. It gets only
events that these scopes allow.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.identity.api_keys.errors import MissingScopeError
from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, parse_url
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.outbound.live_events.event_filter import EventFilter
from crm_api.domain.outbound.live_events.payloads import SCOPE_OF, WebhookEventType
from crm_api.domain.outbound.webhook_endpoints.errors import (
    InvalidEndpointUrlError,
    TooManyWebhookEndpointsError,
    WebhookEndpointNotFoundError,
)
from crm_api.domain.outbound.webhook_endpoints.models import WebhookEndpoint, WebhookSecret
from crm_api.domain.outbound.webhook_endpoints.schemas import (
    WebhookEndpointCreate,
    WebhookEndpointUpdate,
)
from crm_api.domain.outbound.webhook_endpoints.secrets import make_secret, seal_secret
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

MOST_ENDPOINTS = 50
"""Maximum number of endpoints. It limits the work, because each event adds one row per endpoint.
"""
DISABLED_ALERT = AlertKind.WEBHOOK_ENDPOINT_DISABLED
"""Kind of the alert about a disabled endpoint; its subject is the endpoint's id."""
DELIVER_JOB = Job(name=JobName.DELIVER_WEBHOOKS)
_IS_THERE = WebhookEndpoint.deleted_at.is_(None)


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The caller who sets the address or the event types of an endpoint."""

    name: str
    scopes: Collection[str]


async def create_endpoint(
    uow: UnitOfWork,
    body: WebhookEndpointCreate,
    *,
    maker: Maker,
    policy: AddressPolicy,
    key: bytes,
    now: datetime,
) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint that gets events from now on; return it with its secret.

    Args:
        maker: The caller, whose scopes limit the events.
        key: The key that encrypts the secret.

    Raises:
        InvalidEndpointUrlError: The address is not allowed.
        MissingScopeError: The scopes of the maker do not allow the event types.
        TooManyWebhookEndpointsError: There are already ``MOST_ENDPOINTS`` endpoints. Requests at
            the same moment can together exceed this number.
    """
    _check_url(body.url, policy)
    _check_types(body.event_types, maker)
    count = select(func.count()).select_from(WebhookEndpoint).where(_IS_THERE)
    if (await uow.session.execute(count)).scalar_one() >= MOST_ENDPOINTS:
        raise TooManyWebhookEndpointsError(
            f"There are {MOST_ENDPOINTS} webhook endpoints, which is the maximum. Delete one first."
        )
    endpoint = WebhookEndpoint(
        id=new_id(),
        url=body.url,
        description=body.description,
        event_types=_unique(body.event_types),
        scopes=sorted(maker.scopes),
        created_by=maker.name,
        created_at=now,
        updated_at=now,
    )
    uow.session.add(endpoint)
    await uow.session.flush()
    await uow.session.refresh(endpoint)
    secret = await add_secret(uow, endpoint.id, key=key, old_until=now, now=now)
    await note_change(uow, "create_webhook_endpoint", endpoint.id, maker.name, now, url=body.url)
    uow.after_commit(DELIVER_JOB)
    return endpoint, secret


async def get_endpoint(
    uow: UnitOfWork, endpoint_id: UUID, *, is_locked: bool = False
) -> WebhookEndpoint:
    """Return one endpoint as it is in the database now, not as the session has cached it.

    Args:
        endpoint_id: The id of the endpoint.
        is_locked: Whether to lock its row until the end of the transaction.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, _IS_THERE)
    if is_locked:
        query = query.with_for_update()
    return _found(await uow.session.scalar(query, execution_options={"populate_existing": True}))


async def list_endpoints(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[WebhookEndpoint]:
    """List endpoints, newest first.

    Raises:
        InvalidCursorError: The cursor is not from this list.
    """
    return await read_newest(
        uow.session,
        select(WebhookEndpoint).where(_IS_THERE),
        WebhookEndpoint.created_at,
        WebhookEndpoint.id,
        cursors=Cursors("webhook_endpoints"),
        cursor=cursor,
        limit=limit,
    )


async def update_endpoint(
    uow: UnitOfWork,
    changes: WebhookEndpointUpdate,
    *,
    endpoint_id: UUID,
    maker: Maker,
    policy: AddressPolicy,
    now: datetime,
) -> WebhookEndpoint:
    """Change an endpoint.

    If ``changes`` contains the address or the event types, the endpoint gets the scopes of
    ``maker``. So it gets only events that ``maker`` may read.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        InvalidEndpointUrlError: The address is not allowed.
        MissingScopeError: The scopes of the maker do not allow the event types.
    """
    given = changes.model_dump(exclude_unset=True)
    if not given:
        return await get_endpoint(uow, endpoint_id)
    values: dict[str, Any] = {**given, "updated_at": now}
    if "url" in given:
        _check_url(changes.url, policy)
        values |= {"failing_since": None, "held_until": None}  # both belong to the old address
    if "event_types" in given:
        values["event_types"] = _unique(changes.event_types)
    if {"url", "event_types"} & given.keys():
        present = await get_endpoint(uow, endpoint_id)
        types = values.get("event_types", present.event_types)
        _check_types([WebhookEventType(one) for one in types], maker)
        values["scopes"] = sorted(maker.scopes)
    changed = await change_endpoint(uow, endpoint_id, values)
    await note_change(uow, "change_webhook_endpoint", endpoint_id, maker.name, now, **given)
    return changed


async def delete_endpoint(uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime) -> None:
    """Delete an endpoint and its secrets, and stop sending to it; a job deletes its deliveries.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    await change_endpoint(uow, endpoint_id, {"deleted_at": now, "updated_at": now})
    await uow.session.execute(delete(WebhookSecret).where(WebhookSecret.endpoint_id == endpoint_id))
    await alerts.resolve_alert(uow, kind=DISABLED_ALERT, subject=str(endpoint_id), now=now)
    await note_change(uow, "delete_webhook_endpoint", endpoint_id, actor, now)


async def rotate_secret(
    uow: UnitOfWork, *, endpoint_id: UUID, grace: timedelta, actor: str, key: bytes, now: datetime
) -> tuple[str, datetime]:
    """Replace an endpoint's secret; during the grace period, the old secret also signs.

    Returns:
        The new secret, and when the grace period of the old secret ends.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    # Because of this lock, two rotations of the secret cannot run at the same time.
    await get_endpoint(uow, endpoint_id, is_locked=True)
    old_until = now + grace
    secret = await add_secret(uow, endpoint_id, key=key, old_until=old_until, now=now)
    await note_change(uow, "rotate_webhook_secret", endpoint_id, actor, now)
    return secret, old_until


async def add_secret(
    uow: UnitOfWork, endpoint_id: UUID, *, key: bytes, old_until: datetime, now: datetime
) -> str:
    """Store and return a new signing secret; let an old secret expire at ``old_until``."""
    secret = make_secret()
    await uow.session.execute(
        update(WebhookSecret)
        .where(WebhookSecret.endpoint_id == endpoint_id, WebhookSecret.expires_at.is_(None))
        .values(expires_at=old_until)
    )
    sealed = seal_secret(secret, endpoint_id=endpoint_id, key=key)
    uow.session.add(
        WebhookSecret(id=new_id(), endpoint_id=endpoint_id, sealed=sealed, created_at=now)
    )
    await uow.session.flush()
    return secret


async def change_endpoint(
    uow: UnitOfWork, endpoint_id: UUID, values: dict[str, Any]
) -> WebhookEndpoint:
    """Store new values of an endpoint and return it.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    statement = (
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, _IS_THERE)
        .values(values)
        .returning(WebhookEndpoint)
    )
    return _found(
        await uow.session.scalar(statement, execution_options={"populate_existing": True})
    )


def _found(endpoint: WebhookEndpoint | None) -> WebhookEndpoint:
    if endpoint is None:
        raise WebhookEndpointNotFoundError
    return endpoint


def _check_url(address: str, policy: AddressPolicy) -> None:
    try:
        policy.check_url(parse_url(address))
    except AddressRefusedError as error:
        raise InvalidEndpointUrlError(error) from error


def _check_types(types: Collection[WebhookEventType], maker: Maker) -> None:
    """Check that the maker's scopes allow all requested event types.

    ``SCOPE_OF`` has the scope that allows each type; the scope ``admin`` allows every type. If
    ``types`` is empty, the scopes must allow at least one event type.

    Raises:
        MissingScopeError: The scopes do not allow one of the types; or ``types`` is empty, and the
            scopes allow no type.
    """
    event_filter = EventFilter.of(
        scopes=maker.scopes, types=[EventType(one) for one in types or WebhookEventType]
    )
    missing = [one for one in types if EventType(one) not in event_filter.types]
    if not types and not event_filter.types:
        missing = list(WebhookEventType)
    if missing:
        scope = SCOPE_OF[EventType(missing[0])]
        raise MissingScopeError(
            f"You need the scope {scope} to send {missing[0]} events to an endpoint. Use a key or "
            "a user that has this scope.",
            required_scope=scope.value,
        )


def _unique(types: Iterable[WebhookEventType]) -> list[str]:
    return list(dict.fromkeys(one.value for one in types))


async def note_change(
    uow: UnitOfWork, action: str, endpoint_id: UUID, actor: str, now: datetime, **detail: object
) -> None:
    """Write a change of an endpoint to the audit log."""
    await note_decision(
        uow, actor=actor, action=action, subject=str(endpoint_id), detail=detail, now=now
    )
