"""What can go wrong with deliveries."""

from crm_api.domain.errors import NotFoundError


class WebhookDeliveryNotFoundError(NotFoundError):
    """The endpoint has no delivery with this id."""

    code = "webhook_delivery_not_found"
    title = "Webhook delivery not found"
