"""Errors of consent decisions and flags."""

from crm_api.domain.kit.errors import Example, InvalidError


class ConsentDoesNotExpireError(InvalidError):
    """An opt-out or a hold ends by a decision, not by time."""

    code = "consent_does_not_expire"
    title = "An opt-out does not expire"
    pointer = "/expires_at"
    example = Example("opted_out")

    def __init__(self, flag: str) -> None:
        detail = f"The flag {flag} ends by a decision, not by time; leave expires_at out."
        super().__init__(detail)


class NotAReplyError(InvalidError):
    """The decision names a message that this person did not send."""

    code = "not_a_reply"
    title = "Not a reply of this person"
    pointer = "/message_id"

    def __init__(self) -> None:
        detail = (
            "No received message of this contact has this id. Take one from GET "
            "/v1/contacts/{id}/timeline, or leave message_id out."
        )
        super().__init__(detail)
