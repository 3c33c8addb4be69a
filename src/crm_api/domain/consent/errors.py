"""What can go wrong with consent."""

from crm_api.domain.errors import FieldProblem, InvalidError


class ConsentDoesNotExpireError(InvalidError):
    """An opt-out or a hold ends by a decision, not by time."""

    code = "consent_does_not_expire"
    title = "An opt-out does not expire"

    def __init__(self, flag: str) -> None:
        detail = f"The flag {flag} ends by a decision, not by time; leave expires_at out."
        fault = FieldProblem(pointer="/expires_at", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])
