"""Classify the provider's response to a request that sends a message."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, NoReturn

import httpx
import orjson

from crm_api.domain.kit.backoff import read_http_date, read_retry_after
from crm_api.domain.provider.openphone.json_values import identity, instant, mapping
from crm_api.domain.provider.openphone.wire import parse_problem

A2P_NOT_APPROVED = "0206400"
SUBSCRIPTION_EXPIRED = "0201402"
NOT_NUMBER_USER = "0202403"
DAILY_CAP = "0204403"


class ResponseKind(StrEnum):
    """How an attempt to send a message ended.

    For every kind except UNCLEAR, it is certain whether the message was sent.
    """

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """Not sent: the provider refuses this recipient or this message."""
    ACCOUNT_REFUSED = "account_refused"
    """Not sent: the provider refuses the account, line or campaign; other messages fail too."""
    LATER = "later"
    """Not sent: the provider responded with status 429, too many requests."""
    NOT_CONNECTED = "not_connected"
    """Not sent: the request ended before its body was passed on, for example because the connection
    was refused."""
    TOO_LATE = "too_late"
    """Not sent: the request body was not sent, because too much time had passed since the gate (the
    last check before the call of the provider)."""
    UNCLEAR = "unclear"
    """Possibly sent. A look-up in the provider's list finds out whether the message was sent. Until
    then, the message is not sent again."""


Scope = Literal["line", "campaign"]


@dataclass(frozen=True, kw_only=True)
class SendResponse:
    """How one attempt to send a message ended, with facts from the provider's response.

    Attributes:
        code: An error code of the provider, such as ``0206400``, or of this service, such as
            ``timeout``.
        detail: A short reason without phone numbers; None for an accepted message.
        provider_user_id: Id of the provider's user that sent the message.
        no_id: True if an accepted message has no readable id. Such a message must never be recorded
            as not sent.
        scope: Whether the refusal stops the line or the campaign. Only for ACCOUNT_REFUSED.
        reason: Only for ACCOUNT_REFUSED: ``no_credits``, ``subscription_expired``,
            ``a2p_not_approved``, ``unauthorized``, ``daily_cap``, ``not_number_user`` or
            ``number_not_found``.
        retry_after_seconds: Only for LATER: the seconds to wait, at most our maximum; None if the
            provider has not asked for a wait.
        retry_after_asked: Only for LATER: the seconds that the provider has asked us to wait, if
            they are more than our maximum. If they are not, the value is None.
        server_date: The provider's time, from the ``Date`` header.
    """

    kind: ResponseKind
    provider_message_id: str | None = None
    provider_created_at: datetime | None = None
    provider_user_id: str | None = None
    http_status: int | None = None
    code: str | None = None
    detail: str | None = None
    no_id: bool = False
    scope: Scope | None = None
    reason: str | None = None
    retry_after_seconds: float | None = None
    retry_after_asked: float | None = None
    server_date: datetime | None = None


_ACCOUNT_REASONS: dict[tuple[int, str | None], tuple[Scope, str]] = {
    (400, A2P_NOT_APPROVED): ("line", "a2p_not_approved"),
    (402, SUBSCRIPTION_EXPIRED): ("line", "subscription_expired"),
    (403, DAILY_CAP): ("line", "daily_cap"),
    (403, NOT_NUMBER_USER): ("line", "not_number_user"),
}
_ACCOUNT_STATUSES: dict[int, tuple[Scope, str]] = {
    401: ("line", "unauthorized"),
    402: ("line", "no_credits"),
    404: ("line", "number_not_found"),
}
_ROW_STATUSES = frozenset({400, 403})
_THROTTLED = 429


def classify_send_response(response: httpx.Response) -> SendResponse:
    """Classify the response to a send request by its HTTP status and the provider's error code.

    After 400, 401, 402, 403, 404 and 429 the message was certainly not sent. After every other
    error status, it is unclear whether the provider accepted the message.

    Source: OpenPhone API description 1.0.0, "Send a text message", read 2026-11-24.
    """
    body = read_json(response)
    status, date = response.status_code, server_date(response.headers.get("date"))
    if response.is_success:
        return _accepted(status, body, date)
    problem = parse_problem(status, body)
    common: dict[str, Any] = {
        "http_status": status,
        "code": problem.code or f"http_{status}",
        "detail": problem.detail,
        "server_date": date,
    }
    if status == _THROTTLED:
        wait = read_retry_after(response.headers.get("retry-after"), now=date)
        return SendResponse(
            kind=ResponseKind.LATER,
            retry_after_seconds=wait.seconds if wait else None,
            retry_after_asked=wait.asked_seconds if wait and wait.is_cut else None,
            **common,
        )
    account = _ACCOUNT_REASONS.get((status, problem.code)) or _ACCOUNT_STATUSES.get(status)
    if account is not None:
        scope, reason = account
        return SendResponse(kind=ResponseKind.ACCOUNT_REFUSED, scope=scope, reason=reason, **common)
    if status in _ROW_STATUSES:
        return SendResponse(kind=ResponseKind.REFUSED, **common)
    return SendResponse(kind=ResponseKind.UNCLEAR, **common)


def _accepted(status: int, body: object, date: datetime | None) -> SendResponse:
    answer = mapping(body)
    message = mapping(answer.get("data")) or answer
    message_id = identity(message.get("id"))
    if message_id is None:
        return SendResponse(
            kind=ResponseKind.UNCLEAR,
            no_id=True,
            http_status=status,
            code="no_id",
            detail="OpenPhone accepted the message but returned no id.",
            server_date=date,
        )
    return SendResponse(
        kind=ResponseKind.ACCEPTED,
        provider_message_id=message_id,
        provider_created_at=instant(message.get("createdAt")),
        provider_user_id=identity(message.get("userId")),
        http_status=status,
        server_date=date,
    )


def read_json(response: httpx.Response) -> object:
    """Parse the body of a response as JSON.

    Return None if the body is not JSON, or was not read because it is too long.
    """
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        pass
    # The library orjson refuses half of a UTF-16 surrogate pair. JSON allows such a half, and
    # JavaScript writes it. So the standard library parses the response.
    try:
        return json.loads(response.content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


@lru_cache(maxsize=64)
def server_date(header: str | None) -> datetime | None:
    """Parse an HTTP date; None if it cannot be parsed.

    The result is cached, because all responses within one second have the same date.
    """
    return read_http_date(header)
