"""Detect the kind of an imported file, and the field to which each column belongs.

The kind is shown to the user. It says which program wrote the file, or which columns the file has.
Usually, the name of a column decides the field. If the name is not known, the values of the column
can decide. For files from PropertyRadar, a separate table of names is used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crm_api.domain.imports.contacts.columns import (
    BY_NAME,
    EXPORT_SIGNS,
    MAJORITY,
    NOT_READ_BACK,
    PHONE_RANK,
    PROPERTY_RADAR,
    PROPERTY_RADAR_SIGNS,
    ColumnBasis,
    ColumnGuess,
    has_no_phones,
    is_phone,
    map_by_value,
    rate_column,
    share_at,
)
from crm_api.domain.imports.contacts.errors import InvalidMappingError
from crm_api.domain.imports.contacts.opt_outs import CONSENT, CONSENT_FIELDS, consent_field
from crm_api.domain.imports.files.errors import NoPhoneColumnError
from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.errors import FieldProblem, pointer_to

SECOND = "second."
"""Prefix of fields that belong to the second person of a row, such as ``second.phone``."""
ATTRIBUTES = "attributes."
PHONE_FIELDS = ("phone", "phone_2", "phone_3", "phone_4")
FIELDS = frozenset(
    (
        *PHONE_FIELDS,
        *TEXT_COLUMNS,
        *("name", "address", "tags"),
        *CONSENT_FIELDS,
    )
)
_REPEATABLE = frozenset({"tags", *CONSENT_FIELDS, *(SECOND + name for name in CONSENT_FIELDS)})
_USER_ATTRIBUTE = re.compile(r"^(?:second\.)?attributes\.[a-z0-9_]{1,60}$")

_MIN_SIGNS = 4
_SCRAPED_NAME = re.compile(
    r"^(?:css-|jsx-|mb-\d|uk-|sc-|agent-card|elementor)|__|--", re.IGNORECASE
)
_SECOND_PERSON = re.compile(r"secondary|second|owner2|person2|spouse|coowner")


@dataclass(frozen=True, kw_only=True)
class Detected:
    """The kind of a file and the fields of its columns.

    Attributes:
        mapping: The field of each column; None leaves the column out.
        columns: The field that was found for each column, with its confidence.
        notes: Sentences for the user, for example about a column recognised by its values.
    """

    format_name: str
    mapping: dict[str, str | None]
    columns: list[ColumnGuess] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def detect_format(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    overrides: Mapping[str, str | None] | None = None,
) -> Detected:
    """Detect the kind of a file and the field of each column.

    Args:
        header: The unique names of the columns.
        sample: The first rows of data.
        overrides: The user's mapping, which has priority.

    Raises:
        InvalidMappingError: The overrides contain an unknown column, an unknown field, or one field
            for two columns.
        NoPhoneColumnError: No column contains phone numbers.
    """
    overrides = overrides or {}
    check_mapping(header, overrides)
    kinds = {name: _key(name) for name in header}
    format_name = _format_of(header, kinds)
    notes: list[str] = []
    mapping: dict[str, str | None] = dict(overrides)
    if format_name == "export":
        _map_export(header, mapping)
    _map_opt_outs(header, sample, mapping)
    if format_name == "propertyradar":
        mapping |= {
            name: PROPERTY_RADAR[key]
            for name, key in kinds.items()
            if key in PROPERTY_RADAR and name not in overrides and not _is_taken(key, overrides)
        }
    else:
        _map_by_name(kinds, mapping)
        _map_phones(header, kinds, sample, mapping, notes, overrides=overrides)
        if format_name in {"scraped", "generic"}:
            map_by_value(header, sample, mapping, notes)
    _map_other_columns(header, mapping)
    if not {"phone", "second.phone"} & set(mapping.values()):
        raise NoPhoneColumnError(
            "No column with phone numbers was found. The columns are: "
            + ", ".join(f"“{name}”" for name in header[:20])
            + ". Name the phone column in `mapping` of an import, for example "
            '{"Contact": "phone"}, or in `column` of a do-not-contact upload.'
        )
    notes += [
        f"A yes in the column “{name}” sets {target.removeprefix(SECOND)}, which stops messages. "
        "If the column means something else, map it to an attribute or to null."
        for name, target in mapping.items()
        if name not in overrides and target is not None and _is_consent(target)
    ]
    ordered = {name: mapping[name] for name in header}
    return Detected(
        format_name=format_name,
        mapping=ordered,
        columns=[
            rate_column(
                name,
                mapping[name],
                _basis_of(name, mapping[name], kinds[name], overrides, format_name),
                [row[position] for row in sample if position < len(row)],
            )
            for position, name in enumerate(header)
        ],
        notes=notes,
    )


def check_mapping(header: Sequence[str], mapping: Mapping[str, str | None]) -> None:
    """Check a user's mapping of the columns of a file to fields.

    A column is wrong in these cases:

    - The column is not in the file.
    - The field of the column does not exist.
    - The field already has another column. A few fields, such as ``tags``, may have several
      columns.

    Raises:
        InvalidMappingError: ``errors`` has one problem for each column that is wrong.
    """
    problems = []
    taken: dict[str, str] = {}
    for column, target in mapping.items():
        pointer = pointer_to(["mapping", column])
        if column not in header:
            detail = "The file has no column with this name. Its columns are: "
            detail += ", ".join(header[:20])
            problems.append(FieldProblem(pointer=pointer, code="unknown_column", detail=detail))
        elif target is not None and not _is_field(target):
            detail = "No field has this name. Use attributes.<name> or one of: "
            detail += ", ".join(sorted(FIELDS))
            problems.append(FieldProblem(pointer=pointer, code="unknown_field", detail=detail))
        elif target in taken and target not in _REPEATABLE:
            detail = (
                f"The column “{taken[target]}” is already mapped to this field. Use another field."
            )
            problems.append(FieldProblem(pointer=pointer, code="field_twice", detail=detail))
        elif target is not None:
            taken[target] = column
    if problems:
        raise InvalidMappingError(
            "The mapping does not fit the file. `errors` names the columns to correct.",
            errors=problems,
        )


def slug(column: str) -> str:
    """Return the attribute name for a column: ``Est Equity %`` becomes ``est_equity_percent``."""
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
    """Map the attribute columns of a file that this service exported.

    Columns in ``NOT_READ_BACK`` are mapped to None, so that they are not imported again.
    """
    for name in header:
        if name in mapping:
            continue
        if name in NOT_READ_BACK:
            mapping[name] = None
        elif name.startswith(ATTRIBUTES):
            mapping[name] = name


def _map_opt_outs(
    header: Sequence[str], sample: Sequence[Sequence[str]], mapping: dict[str, str | None]
) -> None:
    """Find the columns that say who must not get messages, and map them to consent fields.

    The consent fields of a person are ``OPTED_OUT`` and ``DO_NOT_CONTACT``. The columns are found
    by their names. A column is skipped if at least half of its values are phone numbers.
    """
    for position, name in enumerate(header):
        target = None if name in mapping else consent_field(name)
        if target is None or share_at(sample, position, is_phone) >= MAJORITY:
            continue
        is_second = bool(_SECOND_PERSON.match(_key(name)))
        mapping[name] = SECOND + target if is_second else target


def _is_taken(key: str, overrides: Mapping[str, str | None]) -> bool:
    target = PROPERTY_RADAR[key]
    return target not in _REPEATABLE and target in overrides.values()


def _is_consent(target: str) -> bool:
    return target.removeprefix(SECOND).startswith(CONSENT)


def _map_by_name(kinds: Mapping[str, str], mapping: dict[str, str | None]) -> None:
    taken = set(mapping.values())
    for column, key in kinds.items():
        target = BY_NAME.get(key)
        if column in mapping or target is None or (target in taken and target != "tags"):
            continue
        mapping[column] = target
        taken.add(target)
    if "address" in taken and "street" not in taken and taken & {"city", "postal_code", "state"}:
        # If a file has a column for the city, state or ZIP code, its column "Address" contains only
        # the street.
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
    *,
    overrides: Mapping[str, str | None],
) -> None:
    """Assign the phone fields (``phone``, ``phone_2`` and so on) to up to four phone columns.

    The first group that has a column is used:

    1. Columns named in ``PHONE_RANK``, mobile phones first, if they contain phone numbers or are
       empty.
    2. Other columns whose values are mostly phone numbers, if no column has the field ``phone``
       yet.
    3. All columns named in ``PHONE_RANK``.
    """
    named = [name for name in header if name not in mapping and kinds[name] in PHONE_RANK]
    named.sort(key=lambda name: PHONE_RANK[kinds[name]])
    shares = {
        name: share_at(sample, position, is_phone)
        for position, name in enumerate(header)
        if mapping.get(name) not in set(PHONE_FIELDS)
    }
    likely = [name for name in named if not has_no_phones(sample, header.index(name))]
    by_value = [
        name for name in header if name not in named and name in shares and shares[name] >= MAJORITY
    ]
    columns = likely or named
    if not likely and "phone" not in mapping.values():
        found = [
            name
            for name in by_value
            if name not in overrides and (name not in mapping or not named)
        ]
        notes += [
            f"The column “{name}” was recognised by its values: phone numbers." for name in found
        ]
        columns = found or named
    free = [target for target in PHONE_FIELDS if target not in mapping.values()]
    mapping.update(zip(columns, free, strict=False))


def _map_other_columns(header: Sequence[str], mapping: dict[str, str | None]) -> None:
    """Map every column that has no field yet to an attribute with the name of the column."""
    taken = set(mapping.values())
    for column in header:
        if column in mapping:
            continue
        target, copy = ATTRIBUTES + slug(column), 2
        while target in taken:
            target, copy = f"{ATTRIBUTES}{slug(column)}_{copy}", copy + 1
        mapping[column] = target
        taken.add(target)


def _basis_of(
    column: str,
    target: str | None,
    kind: str,
    overrides: Mapping[str, str | None],
    format_name: str,
) -> ColumnBasis:
    if column in overrides:
        return ColumnBasis.USER
    if format_name == "propertyradar" and kind in PROPERTY_RADAR:
        return ColumnBasis.FORMAT
    if target is not None and target.startswith(ATTRIBUTES):
        return ColumnBasis.NOTHING
    is_named = kind in BY_NAME or kind in PHONE_RANK or (target and _is_consent(target))
    return ColumnBasis.NAME if is_named else ColumnBasis.VALUES
