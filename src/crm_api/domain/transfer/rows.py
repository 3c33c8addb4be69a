"""What a row of a file becomes: people, and problems."""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class PersonRow:
    """One person of a file, ready to be stored; None is "the file does not say"."""

    line: int
    phone: str
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    company: str | None = None
    street: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None
    timezone: str | None = None
    zone_key: str = ""
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Something in a row that could not be taken.

    Attributes:
        refuses: The row made no person because of it; else only this value was left out.
    """

    line: int
    column: str | None
    value: str | None
    code: str
    reason: str
    refuses: bool


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a row held; neither people nor problems when nobody in it has a number."""

    people: list[PersonRow]
    problems: list[RowProblem]
