"""What an attempt to send came to, and how the provider's answers are told apart."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

import httpx
import orjson

from crm_api.domain.openphone.json_values import first_text, instant, mapping, text
from crm_api.domain.openphone.wire import parse_problem

A2P_NOT_APPROVED = "0206400"
SUBSCRIPTION_EXPIRED = "0201402"
NOT_NUMBER_USER = "0202403"
DAILY_CAP = "0204403"


class AnswerKind(StrEnum):
    """How a send ended; only the first five are certain about whether a text left."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """Not sent: this recipient or text will not do."""
    ACCOUNT_REFUSED = "account_refused"
    """Not sent: the account, line or campaign will not do, so no other recipient will either."""
    LATER = "later"
    """Not sent: too many requests."""
    NOT_CONNECTED = "not_connected"
    """Not sent: the request's body was never asked for."""
    TOO_LATE = "too_late"
    """Not sent: the body was asked for too long after the gate and withheld."""
    UNCLEAR = "unclear"
    """May have been sent; to be settled by asking, never by sending again."""


Scope = Literal["line", "campaign"]


@dataclass(frozen=True, kw_only=True)
class SendAnswer:
    """How one send ended.

    Attributes:
        code: The provider's, such as ``0206400``, else one of ours: ``http_400``, ``timeout``.
        detail: Short, without phone numbers; None when all went well.
        no_id: Accepted, but without an id: must never be concluded not to have been sent.
        scope: For an account's refusal: what it stops.
        reason: For an account's refusal: ``no_credits``, ``subscription_expired``,
            ``a2p_not_approved``, ``unauthorized``, ``daily_cap``, ``not_number_user`` or
            ``number_not_found``.
        server_date: The provider's clock, from the ``Date`` header.
    """

    kind: AnswerKind
    provider_message_id: str | None = None
    provider_created_at: datetime | None = None
    provider_status: str | None = None
    http_status: int | None = None
    code: str | None = None
    detail: str | None = None
    no_id: bool = False
    scope: Scope | None = None
    reason: str | None = None
    retry_after_seconds: float | None = None
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


def classify(response: httpx.Response) -> SendAnswer:
    """Tell what an answer to a send means; the status decides first, then the code.

    Certain refusals are 400, 401, 402, 403 and 404, certain "later" is 429; every other answer
    leaves it open whether the text was accepted.

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
        wait = retry_after(response.headers.get("retry-after"), date)
        return SendAnswer(kind=AnswerKind.LATER, retry_after_seconds=wait, **common)
    account = _ACCOUNT_REASONS.get((status, problem.code)) or _ACCOUNT_STATUSES.get(status)
    if account is not None:
        scope, reason = account
        return SendAnswer(kind=AnswerKind.ACCOUNT_REFUSED, scope=scope, reason=reason, **common)
    if status in _ROW_STATUSES:
        return SendAnswer(kind=AnswerKind.REFUSED, **common)
    return SendAnswer(kind=AnswerKind.UNCLEAR, **common)


def _accepted(status: int, body: object, date: datetime | None) -> SendAnswer:
    answer = mapping(body)
    message = mapping(answer.get("data")) or answer
    message_id = text(message.get("id"))
    if message_id is None:
        return SendAnswer(
            kind=AnswerKind.UNCLEAR,
            no_id=True,
            http_status=status,
            code="no_id",
            detail="Accepted without an id.",
            server_date=date,
        )
    return SendAnswer(
        kind=AnswerKind.ACCEPTED,
        provider_message_id=message_id,
        provider_created_at=instant(message.get("createdAt")),
        provider_status=first_text(message.get("status")),
        http_status=status,
        server_date=date,
    )


def read_json(response: httpx.Response) -> object:
    """Return the body as JSON, or None."""
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


@lru_cache(maxsize=64)
def server_date(header: str | None) -> datetime | None:
    """Read an HTTP date; a second's answers share it, so it is read once."""
    if not header:
        return None
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        return None


def retry_after(header: str | None, date: datetime | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date compared with the provider's own clock."""
    if not header:
        return None
    try:
        return max(float(header), 0.0)
    except ValueError:
        until = server_date(header)
    if until is None or date is None:
        return None
    return max((until - date).total_seconds(), 0.0)
