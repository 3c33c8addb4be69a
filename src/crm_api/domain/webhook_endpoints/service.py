"""Webhook endpoints: made, changed, disabled and enabled, their secrets replaced.

An endpoint keeps the scopes of whoever said where it is and what it gets, and is told nothing
that they could not read themselves.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.access.errors import MissingScopeError
from crm_api.domain.addresses import AddressPolicy, AddressRefusedError, parse_url
from crm_api.domain.events.interest import SCOPE_OF, Interest
from crm_api.domain.events.payloads import WebhookEventType
from crm_api.domain.events.schemas import EventType
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.webhook_endpoints import queries
from crm_api.domain.webhook_endpoints.errors import (
    InvalidEndpointUrlError,
    TooManyWebhookEndpointsError,
    WebhookEndpointDisabledError,
    WebhookEndpointNotFoundError,
)
from crm_api.domain.webhook_endpoints.models import (
    DisabledReason,
    EndpointStatus,
    WebhookEndpoint,
)
from crm_api.domain.webhook_endpoints.schemas import WebhookEndpointCreate, WebhookEndpointUpdate
from crm_api.domain.webhook_endpoints.secrets import make_secret, seal_secret
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

MOST_ENDPOINTS = 50
"""Each event is a row for each of them."""
DISABLED_ALERT = AlertKind.WEBHOOK_ENDPOINT_DISABLED
"""The alert's kind; its subject is the endpoint's id."""
DELIVER = Job(name=JobName.DELIVER_WEBHOOKS)


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who says where an endpoint is and what it gets."""

    name: str
    scopes: Collection[str]


async def create(
    uow: UnitOfWork,
    body: WebhookEndpointCreate,
    *,
    maker: Maker,
    policy: AddressPolicy,
    key: bytes,
    now: datetime,
) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint; it is told what happens from now on. Returns its secret too, once.

    Args:
        key: Seals the secret.

    Raises:
        InvalidEndpointUrlError: The address may not be told anything.
        MissingScopeError: The maker may not see what it asks for.
        TooManyWebhookEndpointsError: There are enough. Two made at once may make one more.
    """
    _check_url(body.url, policy)
    _check_types(body.event_types, maker)
    if await queries.count(uow.session) >= MOST_ENDPOINTS:
        raise TooManyWebhookEndpointsError(
            f"There are {MOST_ENDPOINTS} endpoints, the most there may be; delete one first."
        )
    endpoint = await queries.add(
        uow.session,
        values={
            "id": new_id(),
            "url": body.url,
            "description": body.description,
            "event_types": _unique(body.event_types),
            "scopes": sorted(maker.scopes),
            "created_by": maker.name,
            "created_at": now,
            "updated_at": now,
        },
    )
    secret = await _replace_secret(uow, endpoint.id, key=key, old_until=now, now=now)
    await _audit(uow, "create_webhook_endpoint", endpoint.id, maker.name, now, url=body.url)
    uow.after_commit(DELIVER)
    return endpoint, secret


async def get(uow: UnitOfWork, endpoint_id: UUID) -> WebhookEndpoint:
    """Read an endpoint.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
    """
    return _found(await queries.find(uow.session, endpoint_id=endpoint_id))


async def get_active(uow: UnitOfWork, endpoint_id: UUID) -> WebhookEndpoint:
    """Read an endpoint that is told something.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
        WebhookEndpointDisabledError: It is disabled.
    """
    endpoint = await get(uow, endpoint_id)
    if endpoint.status == EndpointStatus.DISABLED:
        raise WebhookEndpointDisabledError
    return endpoint


async def has_active(uow: UnitOfWork) -> bool:
    """Say whether any endpoint is told what happens."""
    return await queries.has_active(uow.session)


async def list_endpoints(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[WebhookEndpoint]:
    """List endpoints, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("webhook_endpoints")
    rows = await queries.list_endpoints(uow.session, after=cursors.read(cursor), limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork,
    changes: WebhookEndpointUpdate,
    *,
    endpoint_id: UUID,
    maker: Maker,
    policy: AddressPolicy,
    now: datetime,
) -> WebhookEndpoint:
    """Change an endpoint; with another address or other events it gets the maker's scopes.

    Otherwise somebody could let it tell them what they may not see.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
        InvalidEndpointUrlError: The address may not be told anything.
        MissingScopeError: The maker may not see what it asks for.
    """
    given = changes.model_dump(exclude_unset=True)
    if not given:
        return await get(uow, endpoint_id)
    values: dict[str, Any] = {**given, "updated_at": now}
    if "url" in given:
        _check_url(changes.url, policy)
        values |= {"failing_since": None, "held_until": None}  # of the place before
    if "event_types" in given:
        values["event_types"] = _unique(changes.event_types)
    if {"url", "event_types"} & given.keys():
        present = await get(uow, endpoint_id)
        types = values.get("event_types", present.event_types)
        _check_types([WebhookEventType(one) for one in types], maker)
        values["scopes"] = sorted(maker.scopes)
    changed = _found(await queries.change(uow.session, endpoint_id=endpoint_id, values=values))
    await _audit(uow, "change_webhook_endpoint", endpoint_id, maker.name, now, **given)
    return changed


async def delete(uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime) -> None:
    """Remove an endpoint with its secrets; nothing more is sent, its history goes by and by.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
    """
    removed = await queries.change(
        uow.session, endpoint_id=endpoint_id, values={"deleted_at": now, "updated_at": now}
    )
    _found(removed)
    await queries.remove_secrets(uow.session, endpoint_id=endpoint_id)
    await operations.resolve_alert(uow, kind=DISABLED_ALERT, subject=str(endpoint_id), now=now)
    await _audit(uow, "delete_webhook_endpoint", endpoint_id, actor, now)


async def rotate_secret(
    uow: UnitOfWork, *, endpoint_id: UUID, grace: timedelta, actor: str, key: bytes, now: datetime
) -> tuple[str, datetime]:
    """Give an endpoint another secret; until the grace is over, the old one signs beside it.

    Returns:
        The new secret, once, and until when the old one signs.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
    """
    # The lock lets one rotation follow on the other.
    _found(await queries.find(uow.session, endpoint_id=endpoint_id, is_locked=True))
    old_until = now + grace
    secret = await _replace_secret(uow, endpoint_id, key=key, old_until=old_until, now=now)
    await _audit(uow, "rotate_webhook_secret", endpoint_id, actor, now)
    return secret, old_until


async def enable(
    uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime
) -> WebhookEndpoint:
    """Tell an endpoint what happens from now on; what waited for it when it was disabled goes too.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
    """
    present = _found(await queries.find(uow.session, endpoint_id=endpoint_id, is_locked=True))
    if present.status == EndpointStatus.ACTIVE:
        return present
    enabled = await queries.enable(uow.session, endpoint_id=endpoint_id, now=now)
    await operations.resolve_alert(uow, kind=DISABLED_ALERT, subject=str(endpoint_id), now=now)
    await _audit(uow, "enable_webhook_endpoint", endpoint_id, actor, now)
    uow.after_commit(DELIVER)
    return _found(enabled)


async def disable(
    uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime
) -> WebhookEndpoint:
    """Tell an endpoint nothing more until it is enabled; what waits for it waits on.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
    """
    present = _found(await queries.find(uow.session, endpoint_id=endpoint_id, is_locked=True))
    if present.status == EndpointStatus.DISABLED:
        return present
    disabled = await queries.change(
        uow.session,
        endpoint_id=endpoint_id,
        values={
            "status": EndpointStatus.DISABLED,
            "disabled_reason": DisabledReason.REQUESTED,
            "disabled_at": now,
            "updated_at": now,
        },
    )
    await _audit(uow, "disable_webhook_endpoint", endpoint_id, actor, now)
    return _found(disabled)


async def _replace_secret(
    uow: UnitOfWork, endpoint_id: UUID, *, key: bytes, old_until: datetime, now: datetime
) -> str:
    secret = make_secret()
    await queries.replace_secret(
        uow.session,
        endpoint_id=endpoint_id,
        sealed=seal_secret(secret, endpoint_id=endpoint_id, key=key),
        old_until=old_until,
        now=now,
    )
    return secret


def _found(endpoint: WebhookEndpoint | None) -> WebhookEndpoint:
    if endpoint is None:
        raise WebhookEndpointNotFoundError("There is no webhook endpoint with this id.")
    return endpoint


def _check_url(address: str, policy: AddressPolicy) -> None:
    try:
        policy.check_url(parse_url(address))
    except AddressRefusedError as error:
        raise InvalidEndpointUrlError(error) from error


def _check_types(types: Collection[WebhookEventType], maker: Maker) -> None:
    """Refuse what the maker may not see: each that is named, or all when none is.

    Those of a campaign, which ``campaigns:read`` may see too, do not count for a named type: it
    would get some of them and miss the rest.
    """
    interest = Interest.of(
        scopes=maker.scopes, types=[EventType(one) for one in types or WebhookEventType]
    )
    missing = [one for one in types if EventType(one) not in interest.types]
    if not types and not interest.types:
        missing = list(WebhookEventType)
    if missing:
        scope = SCOPE_OF[EventType(missing[0])]
        raise MissingScopeError(
            f"To be told of {missing[0]}, an endpoint's maker needs the scope {scope}.",
            required_scope=scope.value,
        )


def _unique(types: Iterable[WebhookEventType]) -> list[str]:
    return list(dict.fromkeys(one.value for one in types))


async def _audit(
    uow: UnitOfWork, action: str, endpoint_id: UUID, actor: str, now: datetime, **detail: object
) -> None:
    await operations.audit(
        uow, actor=actor, action=action, subject=str(endpoint_id), detail=detail, now=now
    )
