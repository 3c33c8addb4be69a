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
    """No webhook endpoint has this id."""

    code = "webhook_endpoint_not_found"
    title = "Webhook endpoint not found"
    detail = "No webhook endpoint has this id. GET /v1/webhook-endpoints lists the endpoints."


class WebhookEndpointDisabledError(ConflictError):
    """The webhook endpoint is disabled, so it gets no events until it is enabled."""

    code = "webhook_endpoint_disabled"
    title = "Webhook endpoint is disabled"
    detail = "The endpoint is disabled. Enable it first: POST /v1/webhook-endpoints/{id}/enable."


class TooManyWebhookEndpointsError(ConflictError):
    """The maximum number of webhook endpoints already exists."""

    code = "too_many_webhook_endpoints"
    title = "Too many webhook endpoints"
    example = Example("There are 50 webhook endpoints, which is the maximum. Delete one first.")


class InvalidEndpointUrlError(InvalidError):
    """The address of the endpoint is not allowed."""

    code = "invalid_endpoint_url"
    title = "Endpoint address not allowed"
    example = Example(AddressRefusedError("insecure", "The address must begin with https://."))

    def __init__(self, refused: AddressRefusedError) -> None:
        detail = (
            f"{refused.detail} Give a public https:// address without user name and password. With "
            "the sandbox, an http:// address on the same machine is also allowed."
        )
        fault = FieldProblem(pointer="/url", code=refused.code, detail=detail)
        super().__init__(detail, errors=[fault])
