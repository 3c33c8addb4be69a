"""Errors in the provider's responses, lists and webhooks."""

from datetime import UTC, datetime
from typing import Any

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    InvalidError,
    TransientError,
    UnauthenticatedError,
)
from crm_api.domain.kit.retrying import BusyError


class SignatureError(UnauthenticatedError):
    """The webhook is refused: its signature does not prove that the provider sent it."""

    code = "signature_invalid"
    title = "Webhook signature not accepted"
    is_abstract = True


class MissingSignatureError(SignatureError):
    """The request has no signature header, or lacks a header that the signature scheme needs."""

    code = "signature_missing"
    title = "Webhook signature missing"
    example = Example(
        "The request has no webhook signature. Send the header `openphone-signature`, or the "
        "headers `webhook-id`, `webhook-timestamp` and `webhook-signature`."
    )


class MalformedSignatureError(SignatureError):
    """The signature header cannot be parsed."""

    code = "signature_malformed"
    title = "Webhook signature malformed"
    example = Example(
        "The header `openphone-signature` is not in the form `hmac;1;<milliseconds>;<base64>`. "
        "Send it in this form."
    )


class MismatchedSignatureError(SignatureError):
    """No signing key of this service gives this signature for the body of the request."""

    code = "signature_mismatch"
    title = "Webhook signature does not match"
    detail = (
        "The signature does not match the body under any signing key of this service. Run `crm-api "
        "webhooks list` to see for which webhooks this service has a key."
    )


class StaleSignatureError(SignatureError):
    """The signature is correct, but its time is too far in the past or in the future."""

    code = "signature_stale"
    title = "Webhook signature outside its time window"
    detail = "The signature is too old. Sign the request again."


class UnreadableEventError(InvalidError):
    """An event or a list item from the provider lacks a required value."""

    code = "unreadable_event"
    title = "Provider event cannot be read"
    detail = "The event has no type."


class OpenPhoneBusyError(BusyError):
    """The provider is down, is overloaded or limits our requests; a later retry can succeed."""

    code = "openphone_busy"
    title = "OpenPhone is not available"
    example = Example("OpenPhone did not respond (ReadTimeout).")


class OpenPhoneDownError(OpenPhoneBusyError):
    """The provider stopped responding, so only test requests are sent until one succeeds."""

    code = "openphone_down"
    title = "OpenPhone is down"
    detail = (
        "OpenPhone has not responded to recent requests. The service will try this request "
        "again later."
    )


class OpenPhoneHeldError(OpenPhoneDownError):
    """The provider asked for a pause, and the pause has not ended.

    Attributes:
        until: When the next request may begin.
    """

    code = "openphone_held"
    title = "OpenPhone asked for a pause"
    example = Example(
        "The next request to OpenPhone may begin at 2026-11-30 14:05:00 UTC.",
        until=datetime(2026, 11, 30, 14, 5, tzinfo=UTC),
    )

    def __init__(self, detail: str, *, until: datetime) -> None:
        super().__init__(detail)
        self.until = until


class OpenPhoneRefusedError(ConflictError):
    """The provider refused the request; repeating it will not help.

    Attributes:
        status: The HTTP status.
        provider_code: The provider's error code, for example ``0200404``; None if the response has
            no code.
    """

    code = "openphone_refused"
    title = "OpenPhone refused the request"
    example = Example(
        "OpenPhone responded with HTTP 400: The phone number is not valid.", status=400
    )

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        provider_code: str | None = None,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
        self.status = status
        self.provider_code = provider_code


class OpenPhoneListError(TransientError):
    """A list was not read to its end: a page came twice or has no data, or the list is too long.

    The items that were read are not the complete list.
    """

    code = "openphone_list_incomplete"
    title = "OpenPhone list could not be read to its end"
    detail = (
        "OpenPhone returned the same page token twice, so the list could not be read completely. "
        "Try again later."
    )
