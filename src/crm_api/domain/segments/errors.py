"""What can go wrong with segments."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class SegmentNotFoundError(NotFoundError):
    """No segment has this id."""

    code = "segment_not_found"
    title = "Segment not found"


class SegmentExistsError(ConflictError):
    """Another segment already has this name; ``segment_id`` names it."""

    code = "segment_exists"
    title = "Segment already exists"


class SegmentInUseError(ConflictError):
    """Campaigns that have yet to begin name it; ``campaign_ids`` says which."""

    code = "segment_in_use"
    title = "Segment is in use"


class InvalidFilterError(InvalidError):
    """The rules cannot be read; each fault has its pointer."""

    code = "invalid_filter"
    title = "Invalid filter"

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(
            f"The filter has {count}; the first at {errors[0].pointer}: {errors[0].detail}",
            errors=errors,
        )
