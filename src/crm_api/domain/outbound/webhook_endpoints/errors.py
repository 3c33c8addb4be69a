"""Errors about webhook endpoints."""

from crm_api.domain.kit.addresses import AddressRefusedError
from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)


class WebhookEndpointNotFoundError(NotFoundError):
    """No endpoint has this id."""

    code = "webhook_endpoint_not_found"
    title = "Webhook endpoint not found"


class WebhookEndpointDisabledError(ConflictError):
    """The endpoint gets no events until it is enabled."""

    code = "webhook_endpoint_disabled"
    title = "Webhook endpoint is disabled"

    def __init__(self) -> None:
        super().__init__("The endpoint is disabled; POST to its /enable path first.")


class TooManyWebhookEndpointsError(ConflictError):
    """The maximum number of endpoints exists."""

    code = "too_many_webhook_endpoints"
    title = "Too many webhook endpoints"


class InvalidEndpointUrlError(InvalidError):
    """Events may not be sent to this address."""

    code = "invalid_endpoint_url"
    title = "Address not accepted"
    example = Example(AddressRefusedError("insecure", "The address must begin with https://."))

    def __init__(self, refused: AddressRefusedError) -> None:
        detail = (
            f"{refused.detail} Give an https:// address of the public internet, without user and "
            "password; http:// on this machine is taken only beside the sandbox."
        )
        fault = FieldProblem(pointer="/url", code=refused.code, detail=detail)
        super().__init__(detail, errors=[fault])
