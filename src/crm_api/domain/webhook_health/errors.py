"""What can go wrong when webhook health is looked at."""

from crm_api.domain.errors import ConflictError, NotFoundError


class WebhookHealthCheckNotFoundError(NotFoundError):
    """No check has this id."""

    code = "webhook_health_check_not_found"
    title = "Webhook health check not found"


class WebhookHealthCheckOffError(ConflictError):
    """Nobody said between which lines the test text goes."""

    code = "webhook_health_check_off"
    title = "Webhook health check is off"
