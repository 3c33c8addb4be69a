"""Errors of idempotency keys."""

from crm_api.domain.kit.errors import ConflictError, InvalidError


class KeyReusedError(ConflictError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"
    title = "Idempotency key already used"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was already used with another method, path or body. Use a new "
            "key for each new request, and repeat a key only with the same request."
        )


class KeyInUseError(ConflictError):
    """The first request with this idempotency key is still being processed."""

    code = "idempotency_key_in_use"
    title = "Request is still being processed"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is still being processed. Send it again in a few "
            "seconds to get its response."
        )


class AnswerLostError(ConflictError):
    """The response to the first request cannot be decrypted: ``CRM_SECRET_KEY`` has changed."""

    code = "idempotent_answer_lost"
    title = "Stored answer cannot be read"

    def __init__(self) -> None:
        super().__init__(
            "This request already got a response. CRM_SECRET_KEY has changed since then, so the "
            "stored response cannot be read. Check what the first request did before you send the "
            "request with a new key."
        )


class InvalidKeyError(InvalidError):
    """The Idempotency-Key header is not a valid key."""

    code = "invalid_idempotency_key"
    title = "Invalid idempotency key"
    pointer = "/Idempotency-Key"

    def __init__(self) -> None:
        detail = "An Idempotency-Key has 1 to 255 printable ASCII characters, such as a UUID."
        super().__init__(detail)
