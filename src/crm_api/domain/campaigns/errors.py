"""What can go wrong with a campaign."""

from collections.abc import Sequence
from uuid import UUID

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class CampaignNotFoundError(NotFoundError):
    """No campaign has this id."""

    code = "campaign_not_found"
    title = "Campaign not found"

    def __init__(self, campaign_id: UUID) -> None:
        super().__init__(f"There is no campaign {campaign_id}.")


class RecipientNotFoundError(NotFoundError):
    """The contact is no recipient of this campaign."""

    code = "recipient_not_found"
    title = "Recipient not found"


class CampaignNotEditableError(ConflictError):
    """Content changes, and removal, are possible only while the campaign is a draft."""

    code = "campaign_not_editable"
    title = "Campaign can no longer be changed"


class NotInReviewError(ConflictError):
    """A campaign that has not begun, or is over, has nobody in review."""

    code = "not_in_review"
    title = "Nobody in review"


class NotReconciledError(ConflictError):
    """After a restore, nobody knows yet what has left since the backup."""

    code = "not_reconciled"
    title = "What was sent since the backup is not known"


class AudienceLostError(ConflictError):
    """A restored campaign whose audience was still being written down."""

    code = "audience_lost"
    title = "Audience not in the backup"


class InvalidTransitionError(ConflictError):
    """The campaign's status does not allow this move; ``allowed`` names those it does."""

    code = "invalid_transition"
    title = "Move not allowed"

    def __init__(self, action: str, *, status: str, allowed: Sequence[str]) -> None:
        options = ", ".join(allowed) or "nothing"
        super().__init__(
            f"A campaign that is {status} cannot {action}; it can: {options}.",
            allowed=list(allowed),
        )


class EmptyAudienceError(InvalidError):
    """Nobody in the audience may be texted."""

    code = "empty_audience"
    title = "Nobody to send to"


class InvalidCampaignError(InvalidError):
    """The content of a campaign has faults; each is named by its pointer."""

    code = "invalid_campaign"
    title = "Invalid campaign"

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(f"The campaign has {count}.", errors=errors)


class MissingIdentificationError(InvalidError):
    """A first text must name its sender and say how to stop."""

    code = "missing_identification"
    title = "Sender or way to stop not named"


class NotOwnNumberError(InvalidError):
    """A test text goes to another line of one's own and to nobody else."""

    code = "not_own_number"
    title = "Not an own number"


class MissingValueError(InvalidError):
    """A contact lacks a value that the text needs, and the text has no default for it."""

    code = "missing_value"
    title = "Value missing"


class TextFailedError(InvalidError):
    """The text could not be made for this contact, for example because it grew too long."""

    code = "text_failed"
    title = "Text could not be made"
