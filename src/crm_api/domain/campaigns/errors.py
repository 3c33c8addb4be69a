"""Errors of campaigns and templates."""

from collections.abc import Sequence
from uuid import UUID

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import CAMPAIGN, example_id


class CampaignNotFoundError(NotFoundError):
    """No campaign has this id."""

    code = "campaign_not_found"
    title = "Campaign not found"
    example = Example(UUID(CAMPAIGN))

    def __init__(self, campaign_id: UUID) -> None:
        super().__init__(f"The campaign {campaign_id} does not exist.")


class RecipientNotFoundError(NotFoundError):
    """The contact is not a recipient of this campaign."""

    code = "recipient_not_found"
    title = "Recipient not found"
    example = Example("This campaign has no such recipient.")


class CampaignNotEditableError(ConflictError):
    """Content can be changed, and a campaign removed, only while it is a draft."""

    code = "campaign_not_editable"
    title = "Campaign can no longer be changed"
    example = Example("The campaign is scheduled; only a draft can be changed or removed.")


class NotInReviewError(ConflictError):
    """Only a campaign that is scheduled, running, paused or blocked has recipients in review."""

    code = "not_in_review"
    title = "No recipients in review"
    example = Example("The campaign is draft. It has no recipients before its start.")


class NotReconciledError(ConflictError):
    """After a restore, it is not yet known which messages were sent since the backup."""

    code = "not_reconciled"
    title = "Messages since the backup are not known"


class AudienceLostError(ConflictError):
    """The backup was made while the campaign's audience was being stored."""

    code = "audience_lost"
    title = "Audience not in the backup"


class InvalidTransitionError(ConflictError):
    """The campaign's status does not allow this action; ``allowed`` lists the possible ones."""

    code = "invalid_transition"
    title = "Move not allowed"
    example = Example("start", status="paused", allowed=["resume", "cancel"])

    def __init__(self, action: str, *, status: str, allowed: Sequence[str]) -> None:
        options = ", ".join(allowed) or "nothing"
        super().__init__(
            f"A campaign that is {status} cannot {action}; it can: {options}.",
            allowed=list(allowed),
        )


class EmptyAudienceError(InvalidError):
    """No one in the audience may get messages."""

    code = "empty_audience"
    title = "No recipients"
    pointer = "/audience"
    example = Example("Nobody in the audience may be texted: it is empty, or all have opted out.")


class InvalidCampaignError(InvalidError):
    """The content of a campaign has faults; each is named by its pointer."""

    code = "invalid_campaign"
    title = "Invalid campaign"
    example = Example(
        [
            FieldProblem(
                pointer="/schedule/window",
                code="window",
                detail="The window must end later in the day than it starts.",
            )
        ]
    )

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(f"The campaign has {count}.", errors=errors)


class MissingIdentificationError(InvalidError):
    """A first message must name its sender and say how to opt out."""

    code = "missing_identification"
    title = "Sender or opt-out instruction missing"
    example = Example(
        "The text of variant Short does not name the sender; write Granite Foundations into "
        "it, for example as {{ business.name }}.",
        errors=[
            FieldProblem(
                pointer="/variants/0/body",
                code="sender_not_named",
                detail="The text of variant Short does not name the sender.",
            )
        ],
    )


class NotOwnNumberError(InvalidError):
    """The number is neither another own line nor in `test_numbers` of the settings."""

    code = "not_own_number"
    title = "Not an own number"
    pointer = "/to"
    example = Example(
        "A test message goes to another own line or to a number in test_numbers of "
        "/v1/settings. Add this number there with PATCH /v1/settings."
    )


class TestsTooOftenError(ConflictError):
    """A legal limit allows no further message to the test number; see `next_allowed_at`."""

    __test__ = False

    code = "legal_frequency"
    title = "Legal limit of messages reached"
    example = Example(
        "The law of the number's state allows no further message for now. Use another test "
        "number, or wait.",
        next_allowed_at="2026-12-01T13:00:00.000Z",
    )


class TemplateNotFoundError(NotFoundError):
    """No template has this id."""

    code = "template_not_found"
    title = "Template not found"


class TemplateExistsError(ConflictError):
    """Another template has this name; ``template_id`` is its id."""

    code = "template_exists"
    title = "Template already exists"
    example = Example(
        "A template with this name exists; choose another name, or change that one.",
        template_id=example_id("template"),
    )


class InvalidTemplateError(InvalidError):
    """The body has faults; each is reported with its line and column."""

    code = "invalid_template"
    title = "Invalid template"
    example = Example(
        [
            FieldProblem(
                pointer="/body",
                code="unknown_variable",
                detail="line 2, column 8: unknown variable nope.",
            )
        ]
    )

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(f"The text has {count}; mend them and save again.", errors=errors)


class MissingValueError(InvalidError):
    """A contact lacks a value that the body needs without a default."""

    code = "missing_value"
    title = "Value missing"
    example = Example("The contact has no value for first_name.", variable="first_name")


class TextFailedError(InvalidError):
    """The message could not be rendered for this contact, for example because it grew too long."""

    code = "text_failed"
    title = "Message could not be rendered"
    example = Example("The text cannot be made: divided_by: can't divide by 0.")
