"""Errors of idempotency keys."""

from crm_api.domain.kit.errors import ConflictError, InvalidError


class KeyReusedError(ConflictError):
    """The key was used for another request."""

    code = "idempotency_key_reused"
    title = "Idempotency key was used before"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was sent with another method, path or body. Send a new key with "
            "each new request, and the same one only to repeat a request as it was."
        )


class KeyInUseError(ConflictError):
    """The first request with this key is not answered yet."""

    code = "idempotency_key_in_use"
    title = "Request is under way"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is still under way. Send it again in a few "
            "seconds to get its answer."
        )


class AnswerLostError(ConflictError):
    """The first answer was sealed under another secret key."""

    code = "idempotent_answer_lost"
    title = "First answer cannot be read"

    def __init__(self) -> None:
        super().__init__(
            "This request was answered before, but CRM_SECRET_KEY has changed since and the answer "
            "cannot be read. Check what the first request did; a new key sends a new request."
        )


class InvalidKeyError(InvalidError):
    """The header does not hold a valid key."""

    code = "invalid_idempotency_key"
    title = "Invalid idempotency key"
    pointer = "/Idempotency-Key"

    def __init__(self) -> None:
        detail = "An Idempotency-Key has 1 to 255 printable ASCII characters, such as a UUID."
        super().__init__(detail)
