"""What can go wrong while the sandbox is steered."""

from crm_api.domain.errors import NotFoundError, TransientError


class SandboxOnlyError(NotFoundError):
    """A real API key is set: time, people and the provider are what they are."""

    code = "sandbox_only"
    title = "Only with the sandbox"

    def __init__(self) -> None:
        super().__init__(
            "This service has a real OpenPhone API key, so there is no sandbox to steer. "
            "Start one without CRM_OPENPHONE_API_KEY to play."
        )


class SandboxAwayError(TransientError):
    """The sandbox's process does not answer."""

    code = "sandbox_away"
    title = "The sandbox does not answer"
