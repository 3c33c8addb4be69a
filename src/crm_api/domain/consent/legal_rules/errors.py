"""Errors of requests about legal rules."""

from crm_api.domain.kit.errors import FieldProblem, InvalidError


class EmptyRuleSpanError(InvalidError):
    """The requested period has no day, because ``to`` is not later than ``from``."""

    code = "empty_rule_span"
    title = "Empty period"

    def __init__(self) -> None:
        detail = (
            "The period from `from` to `to` has no day. Choose a `to` that is later than `from`."
        )
        super().__init__(
            detail, errors=[FieldProblem(pointer="/to", code=self.code, detail=detail)]
        )
