"""What can go wrong with webhook endpoints."""

from crm_api.domain.addresses import AddressRefusedError
from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class WebhookEndpointNotFoundError(NotFoundError):
    """No endpoint has this id."""

    code = "webhook_endpoint_not_found"
    title = "Webhook endpoint not found"


class WebhookEndpointDisabledError(ConflictError):
    """The endpoint is told nothing until it is enabled."""

    code = "webhook_endpoint_disabled"
    title = "Webhook endpoint is disabled"

    def __init__(self) -> None:
        super().__init__("The endpoint is disabled; POST to its /enable first.")


class TooManyWebhookEndpointsError(ConflictError):
    """There are as many as may be."""

    code = "too_many_webhook_endpoints"
    title = "Too many webhook endpoints"


class InvalidEndpointUrlError(InvalidError):
    """The address is none that may be told anything."""

    code = "invalid_endpoint_url"
    title = "Address not accepted"

    def __init__(self, refused: AddressRefusedError) -> None:
        detail = (
            f"{refused.detail} Give an https:// address of the public internet, without user and "
            "password; http:// on this machine is taken only beside the sandbox."
        )
        fault = FieldProblem(pointer="/url", code=refused.code, detail=detail)
        super().__init__(detail, errors=[fault])
