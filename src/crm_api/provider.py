"""Makes the provider's client that the settings ask for."""

from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.sends.dispatch import CONCURRENCY
from crm_api.settings import Settings

SANDBOX_KEY = "sandbox"
"""The sandbox takes any key that is not empty."""


def open_provider(settings: Settings) -> OpenPhoneClient:
    """Make a client for OpenPhone, or for the sandbox when there is no API key."""
    key = settings.openphone_api_key
    return OpenPhoneClient(
        base_url=settings.provider_url,
        api_key=key.get_secret_value() if key is not None else SANDBOX_KEY,
        # A call that passed the gate must not wait for a connection.
        max_connections=CONCURRENCY,
        is_ours=settings.uses_sandbox,
    )
