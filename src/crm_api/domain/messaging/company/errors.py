"""Errors of the company's settings."""

from collections.abc import Sequence

from crm_api.domain.kit.errors import ConflictError, Example


class SettingLockedError(ConflictError):
    """The environment sets this field; ``locked`` lists all such fields."""

    code = "setting_locked"
    title = "Setting is locked"
    example = Example("business_name", locked=["business_name"])

    def __init__(self, field: str, *, locked: Sequence[str]) -> None:
        super().__init__(
            f"The environment variable CRM_{field.upper()} sets {field}. Change the variable and "
            "restart, or unset it and set the field here.",
            locked=list(locked),
        )
