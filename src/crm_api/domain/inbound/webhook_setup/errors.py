"""Errors of webhook registration."""

from crm_api.domain.kit.errors import ConflictError, InvalidError


class AddressNotPublicError(InvalidError):
    """The real provider cannot reach this address."""

    code = "address_not_public"
    title = "Address not public"


class WebhookMissingError(ConflictError):
    """No webhook of ours exists for this operation."""

    code = "webhook_missing"
    title = "Webhook missing"


class KeyNotShownError(ConflictError):
    """The provider made a webhook or a key and did not return the key."""

    code = "webhook_key_not_shown"
    title = "Webhook key not shown"


class SampleNotReceivedError(ConflictError):
    """The provider's sample did not arrive in time."""

    code = "sample_not_received"
    title = "Sample not received"
