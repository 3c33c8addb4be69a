"""Errors of segments."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import CAMPAIGN, SEGMENT


class SegmentNotFoundError(NotFoundError):
    """No segment has this id."""

    code = "segment_not_found"
    title = "Segment not found"
    detail = "No segment has this id. GET /v1/segments lists the segments."


class SegmentExistsError(ConflictError):
    """Another segment already has this name; ``segment_id`` is its id."""

    code = "segment_exists"
    title = "Segment already exists"
    example = Example(
        "Another segment has this name. Change that segment, or choose another name.",
        segment_id=SEGMENT,
    )


class SegmentInUseError(ConflictError):
    """Campaigns still need the segment to find their recipients; ``campaign_ids`` lists them."""

    code = "segment_in_use"
    title = "Segment is in use"
    example = Example(
        "Campaigns still need this segment to find their recipients; `campaign_ids` lists these "
        "campaigns. Give each of them another audience, or cancel it.",
        campaign_ids=[CAMPAIGN],
    )


class InvalidFilterError(InvalidError):
    """Some rules are not valid; ``errors`` lists them, each with a JSON pointer."""

    code = "invalid_filter"
    title = "Invalid filter"
    example = Example(
        [
            FieldProblem(
                pointer="/filter/all/1/field",
                code="unknown_field",
                detail="No field has this name. GET /v1/segments/fields lists the fields.",
            )
        ]
    )

    def __init__(self, errors: list[FieldProblem]) -> None:
        first = f"{errors[0].pointer}: {errors[0].detail}"
        where = (
            f"a fault at {first}"
            if len(errors) == 1
            else f"{len(errors)} faults. The first is at {first}"
        )
        super().__init__(f"The filter has {where}", errors=errors)
