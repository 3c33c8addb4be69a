"""Errors about push subscriptions."""

from crm_api.domain.kit.addresses import AddressRefusedError
from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError


class PushSubscriptionNotFoundError(NotFoundError):
    """The user has no push subscription with this id."""

    code = "push_subscription_not_found"
    title = "Push subscription not found"

    def __init__(self) -> None:
        super().__init__(
            "You have no push subscription with this id. GET /v1/push-subscriptions lists yours."
        )


class InvalidPushEndpointError(InvalidError):
    """The address of the push service is not allowed."""

    code = "invalid_push_endpoint"
    title = "Push endpoint not allowed"
    example = Example(AddressRefusedError("insecure", "The address must begin with https://."))

    def __init__(self, refused: AddressRefusedError) -> None:
        detail = (
            f"{refused.detail} Send the subscription exactly as the browser made it. With the "
            "sandbox, an http:// address on the same machine is also allowed."
        )
        fault = FieldProblem(pointer="/endpoint", code=refused.code, detail=detail)
        super().__init__(detail, errors=[fault])
