"""Read the people that a row of an imported file describes, and report unusable values.

A row describes one person or two people.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq

from crm_api.domain.imports.contacts import values
from crm_api.domain.imports.contacts.formats import ATTRIBUTES, PHONE_FIELDS, SECOND
from crm_api.domain.imports.contacts.opt_outs import (
    CONSENT,
    CONSENT_FIELDS,
    DO_NOT_CONTACT,
    OptOutRow,
    read_answer,
)
from crm_api.domain.imports.contacts.rows import (
    MAX_SHOWN,
    PersonRow,
    RowProblem,
    RowResult,
    left_out,
    refused,
    surplus_values,
)
from crm_api.domain.imports.files.reader import RawRow
from crm_api.domain.kit.contact_columns import CONTACT_COLUMNS, TEXT_COLUMNS
from crm_api.domain.kit.phone import (
    InvalidPhoneError,
    is_plain,
    parse_phone,
    split_extension,
    split_numbers,
)
from crm_api.domain.kit.zones import (
    STATE_AS_WRITTEN,
    country_code,
    has_known_states,
    is_time_zone,
    state_code,
    zone_key,
)

_MAX_NAME = 200
_MAX_NUMBERS = 1_000
"""A cell with more characters than this is not split into several phone numbers."""
_MAX_ATTRIBUTE = 5_000
_MAX_ATTRIBUTES_TOGETHER = 12_000
"""Maximum number of characters in all attributes of one person. The API allows 16 KiB."""
_MAX_COUNT = 90
_MAX_TAGS = 50
_MAX_TAG = 64
_E164 = re.compile(r"\+[0-9]{7,15}")
_OWN = {"name", *PHONE_FIELDS, *(column.name for column in CONTACT_COLUMNS if column.is_own)}
"""Fields that belong only to the first person of a row with two people."""
_READ_APART = {"first_name", "last_name", "email", "state", "timezone"}
_TIDY = {"postal_code": values.postal_code, "country": country_code}
_SIMPLE_FIELDS = {
    name: _TIDY.get(name, values.squeeze) for name in TEXT_COLUMNS if name not in _READ_APART
}


@dataclass(frozen=True)
class _Plan:
    """The positions of one person's values in each row of the file."""

    phones: list[tuple[int, str]]
    names: dict[str, int]
    fields: dict[str, int]
    simple: list[tuple[str, int, Callable[[str], str]]]
    tags: list[int]
    attributes: dict[str, int]
    opt_outs: list[tuple[int, str]]
    role: str | None


class RowReader:
    """Reads the people from the rows of one file.

    The mapping of the file says which column contains which field of a contact.
    """

    def __init__(self, header: Sequence[str], mapping: Mapping[str, str | None]) -> None:
        self._header = tuple(header)
        self._folded = [name.casefold() for name in header]
        targets = [mapping.get(name) for name in header]
        self._plans = [self._plan(targets, prefix="")]
        if f"{SECOND}phone" in targets:
            self._plans = [
                self._plan(targets, prefix="", role="primary"),
                self._plan(targets, prefix=SECOND, role="secondary"),
            ]

    def read(self, row: RawRow) -> RowResult:
        """Read a row, and return its people, problems and opt-outs."""
        if row.fault is not None:
            return refused(row.line, "unreadable_row", row.fault)
        cells = self._cells(row)
        if cells is None:
            reason = "The row repeats the header, so it was left out."
            return refused(row.line, "repeated_header", reason)
        problems: list[RowProblem] = []
        if any(surplus := cells[len(self._header) :]):
            problems.append(surplus_values(row.line, surplus, columns=len(self._header)))
        people = []
        opt_outs: list[OptOutRow] = []
        for plan in self._plans:
            person = self._person(row.line, cells, plan, problems)
            if person is not None:
                people.append(person)
                opt_outs += self._opt_outs(person, cells, plan, problems)
        if not people and not any(problem.refuses for problem in problems):
            problems += self._without_number(row.line)
        return RowResult(people, problems, opt_outs)

    def phones(self, row: RawRow) -> list[str]:
        """Return the first phone number of each person in the row, without reading other values.

        People without a phone number are left out.
        """
        cells = self._cells(row) if row.fault is None else None
        if cells is None:
            return []
        found = (self._numbers(row.line, cells, plan, [])[0] for plan in self._plans)
        return [numbers[0] for numbers in found if numbers]

    def _cells(self, row: RawRow) -> list[str] | None:
        """Return the values of a row, with at least one value for each column of the header.

        Missing values become empty strings. Return None if the row repeats the header.
        """
        cells = [value.strip() for value in row.values]
        # ``all`` stops at the first cell that is not equal to the header. This is nearly always the
        # first cell of the row.
        folded = (cell.casefold() for cell in cells)
        if len(cells) == len(self._folded) and all(map(eq, folded, self._folded)):
            return None
        return cells + [""] * (len(self._header) - len(cells))

    def _plan(
        self, targets: Sequence[str | None], *, prefix: str, role: str | None = None
    ) -> _Plan:
        """Find which columns of the file contain the values of one person.

        A row can describe two people. The second person gets the address and attributes of the
        first person, except for values that have a separate column for the second person.
        """
        own = {
            target.removeprefix(prefix): position
            for position, target in enumerate(targets)
            if target is not None
            and target.startswith(prefix)
            and (prefix or not target.startswith(SECOND))
        }
        shared: dict[str, int] = {}
        if prefix:
            shared = {
                target: position
                for position, target in enumerate(targets)
                if target is not None and not target.startswith(prefix) and target not in _OWN
            }
        found = shared | own
        names = ("first_name", "last_name", "name")
        # An opt-out column without the prefix of the second person applies to both people.
        wanted = {*CONSENT_FIELDS, *(prefix + name for name in CONSENT_FIELDS)}
        opt_outs = [
            (position, target.removeprefix(SECOND))
            for position, target in enumerate(targets)
            if target in wanted
        ]
        tags = [at for at, target in enumerate(targets) if target in {"tags", f"{prefix}tags"}]
        fields = {
            name: position
            for name, position in found.items()
            if not name.startswith((ATTRIBUTES, CONSENT)) and name not in {*PHONE_FIELDS, "tags"}
        }
        return _Plan(
            phones=[
                (found[name], self._header[found[name]]) for name in PHONE_FIELDS if name in found
            ],
            names={name: found[name] for name in names if name in found},
            fields=fields,
            simple=[
                (name, fields[name], tidy)
                for name, tidy in _SIMPLE_FIELDS.items()
                if name in fields
            ],
            tags=tags,
            attributes={
                name.removeprefix(ATTRIBUTES): position
                for name, position in found.items()
                if name.startswith(ATTRIBUTES)
            },
            opt_outs=opt_outs,
            role=role,
        )

    def _opt_outs(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> list[OptOutRow]:
        """Return the cells that forbid, or perhaps forbid, messages to a person.

        A cell that is neither a yes nor a no perhaps forbids messages. Such a cell is also added to
        ``problems``.
        """
        found = []
        for position, target in plan.opt_outs:
            column, text = self._header[position], cells[position]
            answer = read_answer(text, column=column)
            if answer is False:
                continue
            if answer is None:
                problem = left_out(person.line, column, text, "unclear_opt_out")
                # The two people of a row share its cells. So the same problem may already be in the
                # list.
                if problem not in problems:
                    problems.append(problem)
            others = (person.attributes.get(f"phone_{copy}", "") for copy in range(2, 10))
            found.append(
                OptOutRow(
                    line=person.line,
                    phones=[person.phone, *(other for other in others if _E164.fullmatch(other))],
                    column=column,
                    value=text[:MAX_SHOWN],
                    is_do_not_contact=target == DO_NOT_CONTACT,
                    is_clear=bool(answer),
                )
            )
        return found

    def _person(
        self, line: int, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> PersonRow | None:
        numbers, extension = self._numbers(line, cells, plan, problems)
        if not numbers:
            return None
        person = PersonRow(line=line, phone=numbers[0])
        self._set_attributes(person, cells, plan, problems)
        for copy, number in enumerate(numbers[1:], start=2):
            person.attributes[f"phone_{copy}"] = number
        if extension:
            person.attributes["phone_extension"] = extension
        self._set_name(person, cells, plan, problems)
        self._set_other_fields(person, cells, plan, problems)
        person.zone_key = zone_key(
            timezone=person.timezone,
            state=person.state or person.attributes.get(STATE_AS_WRITTEN),
            postal_code=person.postal_code,
            phone=person.phone,
        )
        return person

    def _numbers(
        self, line: int, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> tuple[list[str], str | None]:
        """Return a person's phone numbers, and the extension of the first number if it has one.

        Invalid numbers are added to ``problems``. The person is not imported if no number is valid.
        """
        numbers: list[str] = []
        extension: str | None = None
        bad: list[tuple[str, str, str]] = []
        for position, column in plan.phones:
            text = cells[position]
            if not text:
                continue
            is_alone = is_plain(text) or len(text) > _MAX_NUMBERS
            parts = [text] if is_alone else split_numbers(text)
            for part in parts:
                try:
                    number = parse_phone(part)
                except InvalidPhoneError as error:
                    bad.append((column, part, error.detail))
                    continue
                if not numbers and not is_alone:
                    extension = split_extension(part)[1]
                if number not in numbers:
                    numbers.append(number)
        problems += [
            RowProblem(
                line=line,
                column=column,
                value=text[:MAX_SHOWN],
                code=InvalidPhoneError.code,
                reason=reason,
                refuses=not numbers,
            )
            for column, text, reason in bad
        ]
        return numbers, extension

    def _set_name(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> None:
        parts = {name: cells[at] for name, at in plan.names.items()}
        person.first_name = values.person_name(parts.get("first_name", "")) or None
        person.last_name = values.person_name(parts.get("last_name", "")) or None
        if parts.get("name") and not (person.first_name and person.last_name):
            name = values.split_name(parts["name"])
            person.first_name = person.first_name or name.first
            person.last_name = person.last_name or name.last
            person.company = name.company
            if name.middle:
                person.attributes.setdefault("middle_name", name.middle)
        for which in ("first_name", "last_name"):
            text = getattr(person, which)
            if text is not None and len(text) > _MAX_NAME:
                setattr(person, which, None)
                column = self._header[plan.fields.get(which, plan.fields.get("name", 0))]
                problems.append(left_out(person.line, column, text, "too_long", _MAX_NAME))

    def _set_other_fields(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> None:
        address = plan.fields.get("address")
        if address is not None and cells[address]:
            found = values.split_address(cells[address])
            person.street, person.city, person.state = found.street, found.city, found.state
            person.postal_code, person.country = found.postal_code, found.country
        for name, position, tidy in plan.simple:
            if not cells[position]:
                continue
            text = tidy(cells[position])
            if len(text) > _MAX_NAME:
                column = self._header[position]
                problems.append(left_out(person.line, column, text, "too_long", _MAX_NAME))
            else:
                setattr(person, name, text)
        self._set_state(person, cells, plan, problems)
        self._set_email(person, cells, plan, problems)
        zone = plan.fields.get("timezone")
        if zone is not None and cells[zone]:
            if is_time_zone(cells[zone]):
                person.timezone = cells[zone]
            else:
                column = self._header[zone]
                problems.append(left_out(person.line, column, cells[zone], "invalid_timezone"))
        tags = [(at, tag) for at in plan.tags for tag in values.tag_names(cells[at])]
        for at, tag in tags[:_MAX_TAGS]:
            if len(tag) > _MAX_TAG:
                column = self._header[at]
                problems.append(left_out(person.line, column, tag, "too_long", _MAX_TAG))
            elif tag not in person.tags:
                person.tags.append(tag)

    def _set_state(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> None:
        """Set the state code of a person. Store an unknown state as an attribute of the person.

        While a contact has this attribute, messages are sent only at hours that all states allow.
        """
        position = plan.fields.get("state")
        if position is None or not cells[position]:
            return
        column, text = self._header[position], values.squeeze(cells[position])
        if code := state_code(text):
            person.state = code
        elif len(text) > _MAX_NAME:
            problems.append(left_out(person.line, column, text, "too_long", _MAX_NAME))
        elif not has_known_states(person.country):
            person.state = text
        else:
            problem = left_out(person.line, column, text, "unknown_state")
            # The two people of a row share its address. So the same problem may already be in the
            # list.
            if problem not in problems:
                problems.append(problem)
            if person.state is None:
                person.attributes[STATE_AS_WRITTEN] = text

    def _set_email(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> None:
        position = plan.fields.get("email")
        if position is None or not cells[position]:
            return
        person.email = values.email_address(cells[position])
        if person.email is None:
            column, text = self._header[position], cells[position]
            problems.append(left_out(person.line, column, text, "invalid_email"))

    def _set_attributes(
        self, person: PersonRow, cells: list[str], plan: _Plan, problems: list[RowProblem]
    ) -> None:
        room = _MAX_ATTRIBUTES_TOGETHER
        for name, position in plan.attributes.items():
            text = cells[position]
            if not text:
                continue
            size = len(name) + len(text)
            if len(text) > _MAX_ATTRIBUTE or size > room or len(person.attributes) >= _MAX_COUNT:
                column = self._header[position]
                problems.append(
                    left_out(person.line, column, text, "too_long", min(_MAX_ATTRIBUTE, room))
                )
                continue
            room -= size
            person.attributes[name] = text
        if plan.role:
            person.attributes["owner_role"] = plan.role

    def _without_number(self, line: int) -> list[RowProblem]:
        """Return the problem of a row in which no person has a phone number.

        In a file with columns for two people, such a row is not reported, so the result is empty.
        """
        if len(self._plans) > 1:
            return []
        columns = " / ".join(column for _, column in self._plans[0].phones)
        reason = "The row has no phone number."
        return [
            RowProblem(
                line=line, column=columns, value=None, code="no_phone", reason=reason, refuses=True
            )
        ]
