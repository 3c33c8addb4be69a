"""Which column means what: by the file's kind, by the columns' names, by their values.

The kinds are those that users bring. All but PropertyRadar are read by the same table of names; the
kind is shown to the user, and says where a name alone would mislead.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from crm_api.domain.errors import FieldProblem
from crm_api.domain.transfer.columns import (
    BY_NAME,
    EXPORT_SIGNS,
    NOT_READ_BACK,
    PHONE_RANK,
    PROPERTY_RADAR,
    PROPERTY_RADAR_SIGNS,
)
from crm_api.domain.transfer.confidence import (
    ColumnGuess,
    ToldBy,
    guess,
    is_email,
    is_name,
    is_phone,
    share,
)
from crm_api.domain.transfer.errors import InvalidMappingError, NoPhoneColumnError

SECOND = "second."
"""Prefix of the fields of a row's second person."""
ATTRIBUTES = "attributes."
PHONE_FIELDS = ("phone", "phone_2", "phone_3", "phone_4")
FIELDS = frozenset(
    (
        *PHONE_FIELDS,
        *("first_name", "last_name", "name", "email", "company"),
        *("street", "city", "state", "postal_code", "country", "address", "timezone", "tags"),
    )
)
_REPEATABLE = frozenset({"tags"})
_USER_ATTRIBUTE = re.compile(r"^(?:second\.)?attributes\.[a-z0-9_]{1,60}$")

_MIN_SIGNS = 4
_SCRAPED_NAME = re.compile(
    r"^(?:css-|jsx-|mb-\d|uk-|sc-|agent-card|elementor)|__|--", re.IGNORECASE
)
_MAJORITY = 0.5
_HARDLY_ANY = 0.1
_LOCAL_DIGITS = 7


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What a file is taken for.

    Attributes:
        mapping: Column to field; None leaves the column out.
        confidence: ``high`` for a known kind, ``medium`` by names, ``low`` when values told.
        columns: What each column is taken for, and how surely.
        notes: Sentences for the user, such as a column that was told by its values.
    """

    format_name: str
    mapping: dict[str, str | None]
    confidence: str
    columns: list[ColumnGuess] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def detect(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    overrides: Mapping[str, str | None] | None = None,
) -> Detected:
    """Tell which column means what.

    Args:
        header: The columns' names, each once.
        sample: Some rows.
        overrides: The user's mapping; a column that it names means what it says.

    Raises:
        InvalidMappingError: The overrides name an unknown column or field, or a field twice.
        NoPhoneColumnError: No column holds phone numbers.
    """
    overrides = overrides or {}
    check_mapping(header, overrides)
    kinds = {name: _key(name) for name in header}
    format_name = _format_of(header, kinds)
    notes: list[str] = []
    mapping: dict[str, str | None] = dict(overrides)
    if format_name == "propertyradar":
        mapping |= {
            name: PROPERTY_RADAR[key]
            for name, key in kinds.items()
            if key in PROPERTY_RADAR and name not in overrides
        }
    else:
        if format_name == "export":
            _map_export(header, mapping)
        _map_by_name(kinds, mapping)
        _map_phones(header, kinds, sample, mapping, notes)
        if format_name in {"scraped", "generic"}:
            _map_by_value(header, sample, mapping, notes)
    _keep_the_rest(header, mapping)
    if not {"phone", "second.phone"} & set(mapping.values()):
        raise NoPhoneColumnError(
            "No column holds phone numbers. Columns found: "
            + ", ".join(f"“{name}”" for name in header[:20])
            + ". Name the right one in `mapping`, for example {“Contact”: “phone”}."
        )
    named = "high" if format_name != "generic" else "medium"
    ordered = {name: mapping[name] for name in header}
    return Detected(
        format_name=format_name,
        mapping=ordered,
        confidence="low" if notes else named,
        columns=[
            guess(
                name,
                mapping[name],
                _told_by(name, mapping[name], kinds[name], overrides, format_name),
                [row[position] for row in sample if position < len(row)],
            )
            for position, name in enumerate(header)
        ],
        notes=notes,
    )


def check_mapping(header: Sequence[str], mapping: Mapping[str, str | None]) -> None:
    """Check a user's mapping against the columns and the fields.

    Raises:
        InvalidMappingError: With one problem for each fault.
    """
    problems = []
    taken: dict[str, str] = {}
    for column, target in mapping.items():
        pointer = f"/mapping/{column.replace('~', '~0').replace('/', '~1')}"
        if column not in header:
            detail = "The file has no such column; it has: " + ", ".join(header[:20])
            problems.append(FieldProblem(pointer=pointer, code="unknown_column", detail=detail))
        elif target is not None and not _is_field(target):
            detail = "No such field; known are attributes.<name> and " + ", ".join(sorted(FIELDS))
            problems.append(FieldProblem(pointer=pointer, code="unknown_field", detail=detail))
        elif target in taken and target not in _REPEATABLE:
            detail = f"The column “{taken[target]}” is mapped to this field already."
            problems.append(FieldProblem(pointer=pointer, code="field_twice", detail=detail))
        elif target is not None:
            taken[target] = column
    if problems:
        raise InvalidMappingError("The mapping does not fit the file.", errors=problems)


def slug(column: str) -> str:
    """Make a column's name the name of an attribute: ``Est Equity %`` gives est_equity_percent."""
    text = column.casefold().replace("%", " percent ")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:60] or "column"


def _is_field(target: str) -> bool:
    return target.removeprefix(SECOND) in FIELDS or bool(_USER_ATTRIBUTE.match(target))


def _key(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", column.casefold())


def _format_of(header: Sequence[str], kinds: Mapping[str, str]) -> str:
    names = set(kinds.values())
    raw = {name.casefold() for name in header}
    is_property = len(names & PROPERTY_RADAR_SIGNS) >= _MIN_SIGNS and names & {
        "primaryname",
        "primarymobilephone1",
    }
    signs = {
        "export": raw >= EXPORT_SIGNS,
        "propertyradar": is_property,
        "campaign_history": "openphonemessageid" in names
        or {"phonenumber", "messagesentat"} <= names,
        "scraped": any(_SCRAPED_NAME.search(name) for name in header),
        "twophones": {"phonenumber1", "phonenumber2"} <= names,
        "openphone": {"first name", "phone number"} <= raw,
        "cell": {"cell", "firstname"} <= names,
        "realtor": {"first name", "last name", "phone"} <= raw,
        "standard": {"firstname", "lastname"} <= names and names & PHONE_RANK.keys(),
    }
    return next((name for name, is_met in signs.items() if is_met), "generic")


def _map_export(header: Sequence[str], mapping: dict[str, str | None]) -> None:
    """Read a file that this service wrote: attributes by their own names, no consent."""
    for name in header:
        if name in mapping:
            continue
        if name in NOT_READ_BACK:
            mapping[name] = None
        elif name.startswith(ATTRIBUTES):
            mapping[name] = name


def _map_by_name(kinds: Mapping[str, str], mapping: dict[str, str | None]) -> None:
    taken = set(mapping.values())
    for column, key in kinds.items():
        target = BY_NAME.get(key)
        if column in mapping or target is None or (target in taken and target != "tags"):
            continue
        mapping[column] = target
        taken.add(target)
    if "address" in taken and "street" not in taken and taken & {"city", "postal_code", "state"}:
        # Beside a column for the city, "Address" is the street alone.
        for column, mapped in mapping.items():
            if mapped == "address":
                mapping[column] = "street"
    if "name" in taken and "last_name" in taken and "first_name" not in taken:
        for column, mapped in mapping.items():
            if mapped == "name":
                mapping[column] = "first_name"


def _map_phones(
    header: Sequence[str],
    kinds: Mapping[str, str],
    sample: Sequence[Sequence[str]],
    mapping: dict[str, str | None],
    notes: list[str],
) -> None:
    """Give the phone columns their order; by values where no name speaks of a phone."""
    named = [name for name in header if name not in mapping and kinds[name] in PHONE_RANK]
    named.sort(key=lambda name: PHONE_RANK[kinds[name]])
    shares = {
        name: _share(sample, position, is_phone)
        for position, name in enumerate(header)
        if mapping.get(name) not in set(PHONE_FIELDS)
    }
    telling = [name for name in named if not _denies_phones(sample, header.index(name))]
    by_value = [
        name
        for name in header
        if name not in named and name in shares and shares[name] >= _MAJORITY
    ]
    columns = telling or named
    if not telling and "phone" not in mapping.values():
        found = [name for name in by_value if name not in mapping or not named]
        notes += [f"The column “{name}” was told by its values: phone numbers." for name in found]
        columns = found or named
    free = [target for target in PHONE_FIELDS if target not in mapping.values()]
    mapping.update(zip(columns, free, strict=False))


def _map_by_value(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    mapping: dict[str, str | None],
    notes: list[str],
) -> None:
    """Find an e-mail and the names among columns whose names mean nothing."""
    positions = {name: position for position, name in enumerate(header) if name not in mapping}
    for name, position in positions.items():
        if "email" not in mapping.values() and _share(sample, position, is_email) >= _MAJORITY:
            mapping[name] = "email"
            notes.append(f"The column “{name}” was told by its values: e-mail addresses.")
    mapped = set(mapping.values())
    if {"first_name", "name"} & mapped:
        return
    for name, position in positions.items():
        if name not in mapping and _share(sample, position, is_name) >= 1 - _HARDLY_ANY:
            mapping[name] = "first_name" if "last_name" in mapped else "name"
            notes.append(f"The column “{name}” was told by its values: names.")
            return


def _keep_the_rest(header: Sequence[str], mapping: dict[str, str | None]) -> None:
    """Every other column becomes an attribute of its own."""
    taken = set(mapping.values())
    for column in header:
        if column in mapping:
            continue
        target, copy = ATTRIBUTES + slug(column), 2
        while target in taken:
            target, copy = f"{ATTRIBUTES}{slug(column)}_{copy}", copy + 1
        mapping[column] = target
        taken.add(target)


def _told_by(
    column: str,
    target: str | None,
    kind: str,
    overrides: Mapping[str, str | None],
    format_name: str,
) -> ToldBy:
    if column in overrides:
        return ToldBy.USER
    if format_name == "propertyradar" and kind in PROPERTY_RADAR:
        return ToldBy.FORMAT
    if target is not None and target.startswith(ATTRIBUTES):
        return ToldBy.NOTHING
    return ToldBy.NAME if kind in BY_NAME or kind in PHONE_RANK else ToldBy.VALUES


def _share(sample: Sequence[Sequence[str]], position: int, test: Callable[[str], bool]) -> float:
    values = [row[position].strip() for row in sample if position < len(row)]
    return share([value for value in values if value], test)


def _denies_phones(sample: Sequence[Sequence[str]], position: int) -> bool:
    """Tell whether a column has values, of which hardly any is long enough for a number."""
    is_filled = _share(sample, position, bool) > 0
    return is_filled and _share(sample, position, _has_digits) < _HARDLY_ANY


def _has_digits(value: str) -> bool:
    return sum(character.isdigit() for character in value) >= _LOCAL_DIGITS
