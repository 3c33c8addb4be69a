"""What can go wrong with the provider: its answers, its lists, its webhooks."""

from typing import Any

from crm_api.domain.errors import (
    ConflictError,
    InvalidError,
    TransientError,
    UnauthenticatedError,
)
from crm_api.domain.retrying import BusyError


class SignatureError(UnauthenticatedError):
    """The webhook is not proved to come from the provider; nothing of it may be used."""

    code = "signature_invalid"
    title = "Webhook signature not accepted"


class MissingSignatureError(SignatureError):
    """No signature header of either scheme, or only a part of one."""

    code = "signature_missing"
    title = "Webhook signature missing"


class MalformedSignatureError(SignatureError):
    """There is a signature header, but it cannot be read."""

    code = "signature_malformed"
    title = "Webhook signature malformed"


class MismatchedSignatureError(SignatureError):
    """No key that is configured gives this signature for this body."""

    code = "signature_mismatch"
    title = "Webhook signature does not match"


class StaleSignatureError(SignatureError):
    """The signature is right, but was made too long ago or too far ahead."""

    code = "signature_stale"
    title = "Webhook signature outside its time window"


class UnreadableEventError(InvalidError):
    """A signed event, or an item of an answer, lacks what is needed to use it."""

    code = "unreadable_event"
    title = "Provider event cannot be read"


class OpenPhoneBusyError(BusyError):
    """The provider is away, overloaded or limits us; trying again later can help."""

    code = "openphone_busy"
    title = "OpenPhone is not available"


class OpenPhoneDownError(OpenPhoneBusyError):
    """The provider has not answered lately, and is not asked until it does."""

    code = "openphone_down"
    title = "OpenPhone is down"


class OpenPhoneRefusedError(ConflictError):
    """The provider said no; asking again will not help.

    Attributes:
        status: The HTTP status.
        provider_code: The provider's own code, for example ``0200404``, when it gave one.
    """

    code = "openphone_refused"
    title = "OpenPhone refused the request"

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
    """A list did not come to its end: the same page again, or pages without end.

    What was read so far is not the whole list and must not be taken for it.
    """

    code = "openphone_list_incomplete"
    title = "OpenPhone list could not be read to its end"
