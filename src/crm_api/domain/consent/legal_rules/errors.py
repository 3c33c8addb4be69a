"""Errors of questions about legal rules."""

from crm_api.domain.kit.errors import FieldProblem, InvalidError


class EmptyRuleSpanError(InvalidError):
    """The span of days ends before it begins."""

    code = "empty_rule_span"
    title = "No day is between from and to"

    def __init__(self) -> None:
        detail = "`to` is the day after the last one, so it must be later than `from`."
        super().__init__(
            detail, errors=[FieldProblem(pointer="/to", code=self.code, detail=detail)]
        )
