"""Errors of the provider's answers, lists and webhooks."""

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
    """The webhook is not proved to come from the provider, so none of it is used."""

    code = "signature_invalid"
    title = "Webhook signature not accepted"


class MissingSignatureError(SignatureError):
    """The request has no signature header of either scheme, or only a part of one."""

    code = "signature_missing"
    title = "Webhook signature missing"
    example = Example("The request carries no webhook signature.")


class MalformedSignatureError(SignatureError):
    """The signature header cannot be read."""

    code = "signature_malformed"
    title = "Webhook signature malformed"
    example = Example("openphone-signature is not hmac;1;<milliseconds>;<base64>.")


class MismatchedSignatureError(SignatureError):
    """None of the configured keys gives this signature for this body."""

    code = "signature_mismatch"
    title = "Webhook signature does not match"
    example = Example("No signing key gives this signature.")


class StaleSignatureError(SignatureError):
    """The signature is correct, but its time is too far in the past or in the future."""

    code = "signature_stale"
    title = "Webhook signature outside its time window"
    example = Example("The signature is too old.")


class UnreadableEventError(InvalidError):
    """A signed event, or an item of an answer, lacks a value that it needs."""

    code = "unreadable_event"
    title = "Provider event cannot be read"


class OpenPhoneBusyError(BusyError):
    """The provider is down, overloaded or limits our calls; trying again later can help."""

    code = "openphone_busy"
    title = "OpenPhone is not available"


class OpenPhoneDownError(OpenPhoneBusyError):
    """The provider did not answer recent calls; no calls are made until a test call succeeds."""

    code = "openphone_down"
    title = "OpenPhone is down"


class OpenPhoneHeldError(OpenPhoneDownError):
    """The provider asked for a pause that is not over.

    Attributes:
        until: When the next call may begin.
    """

    code = "openphone_held"
    title = "OpenPhone asked for a pause"
    example = Example(
        "The next call to OpenPhone may begin at 2026-11-30 14:05:00 UTC.",
        until=datetime(2026, 11, 30, 14, 5, tzinfo=UTC),
    )

    def __init__(self, detail: str, *, until: datetime) -> None:
        super().__init__(detail)
        self.until = until


class OpenPhoneRefusedError(ConflictError):
    """The provider refused the request; repeating it will not help.

    Attributes:
        status: The HTTP status.
        provider_code: The provider's code, for example ``0200404``; None if it gave none.
    """

    code = "openphone_refused"
    title = "OpenPhone refused the request"
    example = Example("The provider refused the request; repeating it will not help.", status=400)

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
    """A list has no end: a page is repeated, or there are too many pages.

    The items read so far are not the complete list.
    """

    code = "openphone_list_incomplete"
    title = "OpenPhone list could not be read to its end"
    example = Example("The list gave the same page token again.")
