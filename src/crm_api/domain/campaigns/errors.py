"""Errors of campaigns, their recipients and message templates."""

from collections.abc import Sequence
from uuid import UUID

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import CAMPAIGN, example_id

NO_RECIPIENTS = (
    "No contact of the audience may get a message: the audience is empty, or a rule excludes "
    "every contact. Change the audience; a preview shows how many contacts each rule excludes."
)


class CampaignNotFoundError(NotFoundError):
    """No campaign has this id."""

    code = "campaign_not_found"
    title = "Campaign not found"
    example = Example(UUID(CAMPAIGN))

    def __init__(self, campaign_id: UUID) -> None:
        super().__init__(
            f"The campaign {campaign_id} does not exist. GET /v1/campaigns lists all campaigns."
        )


class RecipientNotFoundError(NotFoundError):
    """The contact is not a recipient of this campaign."""

    code = "recipient_not_found"
    title = "Recipient not found"
    detail = (
        "This contact is not a recipient of the campaign, or the recipients are not stored yet. "
        "GET /v1/campaigns/{id}/recipients lists the recipients."
    )


class CampaignNotEditableError(ConflictError):
    """The campaign is not a draft, but the request is possible only for a draft."""

    code = "campaign_not_editable"
    title = "Campaign is not a draft"
    example = Example(
        "The campaign is scheduled. Only a draft can be deleted. If a campaign is not a draft, "
        "only `name`, `archived` and `recurrence` can be changed. Clone the campaign to get a "
        "draft with the same content."
    )


class NotInReviewError(ConflictError):
    """The campaign is a draft, completed or cancelled, so it has no recipients in review."""

    code = "not_in_review"
    title = "No recipients in review"
    example = Example("The campaign is a draft and has no recipients yet. Start it first.")


class NotReconciledError(ConflictError):
    """The campaign was restored from a backup, and the reconciliation has not completed yet.

    The reconciliation reads from the provider which messages were sent after the backup. Until the
    reconciliation completes, some of these messages may be missing in the database.
    """

    code = "not_reconciled"
    title = "Reconciliation after the restore is not complete"
    example = Example(
        "The reconciliation is not completed. It finds the messages that were sent after the "
        "backup. GET /v1/reconciliation-runs shows its progress. Resume the campaign when the "
        "reconciliation is completed."
    )


class AudienceLostError(ConflictError):
    """The campaign was restored from a backup, but the backup has only a part of its recipients."""

    code = "audience_lost"
    title = "Incomplete audience after a restore"
    detail = (
        "The backup has only a part of this campaign's recipients. Cancel the campaign, and start "
        "a clone of it with `previously_contacted` set to `skip` or `review`."
    )


class InvalidTransitionError(ConflictError):
    """The campaign's status does not allow the action. ``allowed`` lists the allowed actions."""

    code = "invalid_transition"
    title = "Action not allowed in this status"
    example = Example("start", status="paused", allowed=["resume", "cancel"])

    def __init__(self, action: str, *, status: str, allowed: Sequence[str]) -> None:
        options = ", ".join(allowed) or "none"
        super().__init__(
            f"The campaign has the status `{status}`, so the action `{action}` is not possible. "
            f"Possible actions: {options}.",
            allowed=list(allowed),
        )


class EmptyAudienceError(InvalidError):
    """No contact of the audience may get a message."""

    code = "empty_audience"
    title = "No recipients"
    pointer = "/audience"
    detail = NO_RECIPIENTS


class InvalidCampaignError(InvalidError):
    """The campaign or the request has faults. ``errors`` lists them, each with a JSON pointer."""

    code = "invalid_campaign"
    title = "Invalid campaign"
    example = Example(
        [
            FieldProblem(
                pointer="/schedule/window",
                code="window",
                detail="The window must end later in the day than it starts. Change start or end.",
            )
        ]
    )

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(
            f"The campaign or the request has {count}. Correct what `errors` lists, "
            "then repeat the request.",
            errors=errors,
        )


class MissingIdentificationError(InvalidError):
    """The first message does not name its sender, or does not say how to opt out."""

    code = "missing_identification"
    title = "Sender or opt-out instruction missing"
    example = Example(
        "The message of the variant “Short” does not name the sender. Add Granite Foundations to "
        "the body, for example as {{ business.name }}.",
        errors=[
            FieldProblem(
                pointer="/variants/0/body",
                code="sender_not_named",
                detail="The message of the variant “Short” does not name the sender. Add Granite "
                "Foundations to the body, for example as {{ business.name }}.",
            )
        ],
    )


class NotOwnNumberError(InvalidError):
    """The phone number cannot get a test message of this campaign.

    A test message can be sent to a number in the setting `test_numbers` or to a line of the
    company, but not to the line that sends the message.
    """

    code = "not_own_number"
    title = "Not a test number"
    pointer = "/to"
    example = Example(
        "A test message can be sent only to another line of the company or to a number in "
        "`test_numbers`. Add this number to `test_numbers` with PATCH /v1/settings."
    )


class TestsTooOftenError(ConflictError):
    """The test number has already got as many messages as the law of its US state allows."""

    __test__ = False

    code = "legal_frequency"
    title = "Legal limit of messages reached"
    example = Example(
        "This test number has already got as many messages as the law of its state allows. Use "
        "another test number, or try again at `next_allowed_at`.",
        next_allowed_at="2026-12-01T13:00:00.000Z",
    )


class TemplateNotFoundError(NotFoundError):
    """No template has this id."""

    code = "template_not_found"
    title = "Template not found"
    example = Example(UUID(example_id("template")))

    def __init__(self, template_id: UUID) -> None:
        super().__init__(
            f"The template {template_id} does not exist. GET /v1/templates lists all templates."
        )


class TemplateExistsError(ConflictError):
    """Another template has this name. ``template_id`` is the id of that template."""

    code = "template_exists"
    title = "Template already exists"
    example = Example(
        "Another template already has this name. Choose another name, or change the template "
        "whose id is in `template_id`.",
        template_id=example_id("template"),
    )


class InvalidTemplateError(InvalidError):
    """The body of the template has faults. ``errors`` lists them with line and column."""

    code = "invalid_template"
    title = "Invalid template"
    example = Example(
        [
            FieldProblem(
                pointer="/body",
                code="unknown_variable",
                detail="line 2, column 8: the variable `nope` does not exist.",
            )
        ]
    )

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(
            f"The body has {count}. Correct what `errors` lists, then save the template again.",
            errors=errors,
        )


class TemplateNotSubmittedError(ConflictError):
    """Only a submitted version of a template can be approved or rejected."""

    code = "template_not_submitted"
    title = "Template not submitted"
    example = Example("draft")

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The newest version of the template is {status}, not submitted. Its author submits it "
            "with POST /v1/templates/{id}/submit."
        )


class TemplateChangedError(ConflictError):
    """The version that the request names is not the newest one."""

    code = "template_changed"
    title = "Template changed"
    example = Example(2, newest=3)

    def __init__(self, version: int, *, newest: int) -> None:
        super().__init__(
            f"Version {version} is not the newest version of the template; the newest version is "
            f"{newest}. Read the template again, then decide about the newest version.",
            version=newest,
        )


class OwnApprovalError(ForbiddenError):
    """The caller wrote the content, so another person must approve it."""

    code = "own_approval"
    title = "Own work cannot be approved"
    example = Example("template")

    def __init__(self, thing: str) -> None:
        super().__init__(
            f"You wrote this {thing}, so you cannot approve it. Ask another person to approve it."
        )


class ApprovalNeededError(ConflictError):
    """The company requires an approval by another person, and the campaign has none."""

    code = "approval_needed"
    title = "Approval needed"
    example = Example(UUID(CAMPAIGN), texts=["the variant “Short”"])

    def __init__(self, campaign_id: UUID, *, texts: Sequence[str]) -> None:
        verb = "is" if len(texts) == 1 else "are"
        super().__init__(
            f"The campaign needs an approval, because {', '.join(texts)} {verb} not an approved "
            "version of a template. Ask another person to POST "
            f"/v1/campaigns/{campaign_id}/approve."
        )


class MissingValueError(InvalidError):
    """The contact has no value for a variable in the body, and the body has no default for it."""

    code = "missing_value"
    title = "Value missing"
    example = Example(
        "The contact has no value for first_name. Add the value to the contact, or a default to "
        "the body of the message.",
        variable="first_name",
    )


class TextFailedError(InvalidError):
    """The message could not be rendered for this contact, for example because it is too long."""

    code = "text_failed"
    title = "Message could not be rendered"
    example = Example(
        "The message cannot be rendered for this contact: divided_by: can't divide by 0. Correct "
        "the body, or the values of the contact."
    )
