"""Errors of consent decisions and flags."""

from crm_api.domain.kit.errors import Example, InvalidError


class ConsentDoesNotExpireError(InvalidError):
    """The request gives an expiry to a flag that only a person's decision can end."""

    code = "consent_does_not_expire"
    title = "An opt-out does not expire"
    pointer = "/expires_at"
    example = Example("opted_out")

    def __init__(self, flag: str) -> None:
        detail = (
            f"The flag {flag} cannot expire, because only a decision ends it. Leave expires_at out."
        )
        super().__init__(detail)


class NotAReplyError(InvalidError):
    """No message with the id ``message_id`` was received from the contact."""

    code = "not_a_reply"
    title = "Message not from this person"
    pointer = "/message_id"

    def __init__(self) -> None:
        detail = (
            "This contact has sent no message with this id. Use the id of a received message from "
            "GET /v1/contacts/{id}/timeline, or leave message_id out."
        )
        super().__init__(detail)
