"""Errors of webhook registration."""

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError


class AddressNotPublicError(InvalidError):
    """The provider cannot reach the address of this service from the internet."""

    code = "address_not_public"
    title = "Address not public"
    example = Example("http://localhost:8000/webhooks/openphone")

    def __init__(self, url: str) -> None:
        super().__init__(
            f"The provider cannot reach {url}. Set CRM_PUBLIC_URL to the https address at which "
            "this service can be reached from the internet."
        )


class WebhookMissingError(ConflictError):
    """The provider has no webhook that points to this service."""

    code = "webhook_missing"
    title = "Webhook missing"
    example = Example(
        "No webhook points to https://crm.example.com/webhooks/openphone. Create one with "
        "`crm-api webhooks register`."
    )


class KeyNotShownError(ConflictError):
    """The provider created a webhook or a key, but did not return a usable key."""

    code = "webhook_key_not_shown"
    title = "Webhook key not shown"
    example = Example(
        "The provider did not return the new key of webhook WHk3v9. Run `crm-api webhooks rotate` "
        "again."
    )


class SampleNotReceivedError(ConflictError):
    """The provider's sample event did not arrive in time."""

    code = "sample_not_received"
    title = "Sample event not received"
    example = Example(
        "The sample event did not arrive within 30 s. The provider's log gives no reason. Run the "
        "command again, with a longer --seconds."
    )
