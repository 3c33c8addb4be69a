"""Errors that requests about the provider's stop list can return."""

from crm_api.domain.kit.errors import NotFoundError


class ProviderStopNotFoundError(NotFoundError):
    """No entry of the provider's stop list has this id."""

    code = "provider_stop_not_found"
    title = "Provider stop not found"
