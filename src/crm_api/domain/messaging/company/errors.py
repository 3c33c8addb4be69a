"""Errors that requests about the company's settings can return."""

from collections.abc import Sequence

from crm_api.domain.kit.errors import ConflictError, Example


class SettingLockedError(ConflictError):
    """An environment variable sets this field, so the request cannot change it.

    ``locked`` lists all fields that environment variables set.
    """

    code = "setting_locked"
    title = "Setting is locked"
    example = Example("business_name", locked=["business_name"])

    def __init__(self, field: str, *, locked: Sequence[str]) -> None:
        super().__init__(
            f"{field} cannot be changed here, because the environment variable "
            f"CRM_{field.upper()} sets it. Change the variable and restart the service, or unset "
            "the variable, restart, and send this request again.",
            locked=list(locked),
        )
