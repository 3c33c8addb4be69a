"""Errors of webhook registration."""

from crm_api.domain.kit.errors import ConflictError, InvalidError


class AddressNotPublicError(InvalidError):
    """The provider cannot reach the address of this service from the internet."""

    code = "address_not_public"
    title = "Address not public"


class WebhookMissingError(ConflictError):
    """The provider has no webhook that points to this service."""

    code = "webhook_missing"
    title = "Webhook missing"


class KeyNotShownError(ConflictError):
    """The provider created a webhook or a key, but did not return a usable key."""

    code = "webhook_key_not_shown"
    title = "Webhook key not shown"


class SampleNotReceivedError(ConflictError):
    """The provider's sample event did not arrive in time."""

    code = "sample_not_received"
    title = "Sample event not received"
