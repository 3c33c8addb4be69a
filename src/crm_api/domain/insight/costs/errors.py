"""Errors of costs."""

from crm_api.domain.kit.errors import NotFoundError


class CostNotFoundError(NotFoundError):
    """No cost has this id."""

    code = "cost_not_found"
    title = "Cost not found"

    def __init__(self) -> None:
        super().__init__("There is no cost with this id. GET /v1/costs lists the costs.")
