"""Find out which field each column of a file of outcomes, quotes or invoices contains."""

import re
from collections.abc import Mapping, Sequence

from crm_api.domain.imports.contacts.columns import (
    MAJORITY,
    PHONE_RANK,
    ColumnBasis,
    has_no_phones,
    is_phone,
    rate_column,
    share_at,
)
from crm_api.domain.imports.contacts.errors import InvalidMappingError
from crm_api.domain.imports.contacts.formats import Detected
from crm_api.domain.imports.files.errors import ImportFileError, NoPhoneColumnError
from crm_api.domain.kit.errors import FieldProblem, pointer_to

_NAMES = {
    "kind": "kind outcome outcomekind outcometype type event eventtype",
    "status": "status invoicestatus quotestatus estimatestatus appointmentstatus jobstatus "
    "paymentstatus stage",
    "amount": "amount amountpaid invoiceamount quoteamount estimateamount invoicetotal quotetotal "
    "estimatetotal totalamount grandtotal total amountusd price value revenue",
    "amount_cents": "amountcents cents",
    "currency": "currency currencycode",
    "date": "occurredat occurredon date paidat paidon datepaid paiddate paymentdate approvedat "
    "approvedon approvaldate sentat senton sentdate invoicedate quotedate estimatedate "
    "appointmentdate jobdate completedat completedon when created createdat createdon",
    "external_id": "externalid invoicenumber invoiceno invoiceid invoice quotenumber quoteno "
    "quoteid quote estimatenumber estimateno estimateid estimate appointmentid jobnumber jobid "
    "reference referencenumber ref transactionid paymentid id",
    "name": "name outcomename",
}
"""The known column names of each field, the best name first. The names are in lower case, without
spaces or punctuation."""
FIELDS = ("phone", *_NAMES)
_RANKS = {field: {name: at for at, name in enumerate(n.split())} for field, n in _NAMES.items()}
_NOUNS = ("invoice", "quote", "estimate", "appointment")


def detect_columns(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    overrides: Mapping[str, str | None] | None = None,
) -> Detected:
    """Find out from the column names which field each column contains.

    The phone column is also found by the values in ``sample``.

    Args:
        sample: The first rows of the file.
        overrides: The user's choice: maps a column name to a field. The value None means that the
            column is not imported.

    Raises:
        InvalidMappingError: The overrides name an unknown column or field, or use a field twice.
        NoPhoneColumnError: No column contains phone numbers.
        ImportFileError: No column has the date of the outcomes, or no column says what happened.
    """
    overrides = overrides or {}
    _check_mapping(header, overrides)
    found: dict[str, str | None] = dict(overrides)
    notes: list[str] = []
    for field, ranks in _RANKS.items():
        named = [name for name in header if name not in found and _key(name) in ranks]
        if named and field not in found.values():
            found[min(named, key=lambda name: ranks[_key(name)])] = field
    _find_phone(header, sample, found, notes)
    _check_fields(header, found)
    noun = noun_of(header, found)
    if noun is not None and not {"kind", "status"} & set(found.values()):
        notes.append(
            f"No column says what happened. Each row counts as: {noun}. "
            "If that is wrong, add a column `kind`."
        )
    return Detected(
        format_name="outcomes",
        mapping={name: found.get(name) for name in header},
        columns=[
            rate_column(
                name,
                found.get(name),
                _basis_of(name, found.get(name), overrides),
                [row[at] for row in sample if at < len(row)],
            )
            for at, name in enumerate(header)
        ],
        notes=notes,
    )


def noun_of(header: Sequence[str], mapping: Mapping[str, str | None]) -> str | None:
    """Find out from the column names what each row of a file describes.

    Returns:
        ``invoice``, ``quote``, ``estimate`` or ``appointment``, if column names begin with this
        word. None if no name begins with such a word, if names begin with different words, or if
        a column contains the kind of each outcome.
    """
    if "kind" in mapping.values():
        return None
    keys = [_key(name) for name in header]
    named = [noun for noun in _NOUNS if any(key.startswith(noun) for key in keys)]
    return named[0] if len(named) == 1 else None


def _find_phone(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    found: dict[str, str | None],
    notes: list[str],
) -> None:
    if "phone" in found.values():
        return
    free = [name for name in header if name not in found]
    named = [
        name
        for name in free
        if _key(name) in PHONE_RANK and not has_no_phones(sample, header.index(name))
    ]
    if named:
        found[min(named, key=lambda name: PHONE_RANK[_key(name)])] = "phone"
        return
    for name in free:
        if share_at(sample, header.index(name), is_phone) >= MAJORITY:
            found[name] = "phone"
            notes.append(f"The column “{name}” was recognised by its values: phone numbers.")
            return


def _check_fields(header: Sequence[str], found: Mapping[str, str | None]) -> None:
    fields = set(found.values())
    columns = "The columns are: " + ", ".join(f"“{name}”" for name in header[:20]) + "."
    if "phone" not in fields:
        raise NoPhoneColumnError(
            f"No column with phone numbers was found. {columns} Name the right column in "
            '`mapping`, for example {"Contact": "phone"}.'
        )
    if "date" not in fields:
        raise ImportFileError(
            f"No column with the date of the outcomes was found. {columns} Name the right column "
            'in `mapping`, for example {"Day": "date"}.'
        )
    if not {"kind", "status"} & fields and noun_of(header, found) is None:
        raise ImportFileError(
            f"No column says what happened. {columns} Name the right column in `mapping`, for "
            'example {"Result": "kind"}, or add a column `kind` with values such as invoice_paid.'
        )


def _check_mapping(header: Sequence[str], mapping: Mapping[str, str | None]) -> None:
    problems = []
    taken: dict[str, str] = {}
    for column, field in mapping.items():
        code = None
        if column not in header:
            code = "unknown_column"
            detail = "The file has no column with this name. Its columns are: "
            detail += ", ".join(header[:20])
        elif field is not None and field not in FIELDS:
            code = "unknown_field"
            detail = f"No field of an outcome has this name. Use one of: {', '.join(FIELDS)}"
        elif field is not None and field in taken:
            code = "field_twice"
            detail = f"The column “{taken[field]}” already has this field. Use another field."
        elif field is not None:
            taken[field] = column
        if code is not None:
            pointer = pointer_to(["mapping", column])
            problems.append(FieldProblem(pointer=pointer, code=code, detail=detail))
    if problems:
        raise InvalidMappingError(
            "The mapping does not fit the file. `errors` names the columns to correct.",
            errors=problems,
        )


def _basis_of(column: str, field: str | None, overrides: Mapping[str, str | None]) -> ColumnBasis:
    if column in overrides:
        return ColumnBasis.USER
    if field is None:
        return ColumnBasis.NOTHING
    is_named = field != "phone" or _key(column) in PHONE_RANK
    return ColumnBasis.NAME if is_named else ColumnBasis.VALUES


def _key(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", column.casefold())
