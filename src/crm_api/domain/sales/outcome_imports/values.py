"""Read the cells of a file of outcomes: kind, amount, currency and date."""

import re
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from crm_api.domain.sales.outcomes.models import OutcomeKind
from crm_api.domain.sales.outcomes.schemas import MOST_CENTS

EASTERN = ZoneInfo("America/New_York")
"""The time zone for times without an offset. It is a constant, so that the import of a file always
gives the same values."""
NOON = time(12)
"""The local time for a date without a time. At noon in New York, all states have the same date."""
_FIRST_YEAR, _LAST_YEAR = 1990, 2099

_WORDS = {
    **{kind.value.replace("_", " "): kind for kind in OutcomeKind},
    **dict.fromkeys(
        ("booked", "scheduled", "appointment", "appointment scheduled", "appointment set"),
        OutcomeKind.APPOINTMENT_BOOKED,
    ),
    **dict.fromkeys(("held", "attended", "appointment completed"), OutcomeKind.APPOINTMENT_HELD),
    **dict.fromkeys(
        ("quote", "estimate", "sent", "quoted", "estimate sent"), OutcomeKind.QUOTE_SENT
    ),
    **dict.fromkeys(
        (
            *("approved", "accepted", "signed", "won"),
            *("quote accepted", "estimate approved", "estimate accepted"),
        ),
        OutcomeKind.QUOTE_APPROVED,
    ),
    **dict.fromkeys(
        ("job", "done", "complete", "completed", "job complete", "job completed"),
        OutcomeKind.JOB_DONE,
    ),
    **dict.fromkeys(
        ("invoice", "paid", "payment", "paid in full", "paid invoice"), OutcomeKind.INVOICE_PAID
    ),
}
_QUOTE = {
    **dict.fromkeys(("sent", "open", "pending", "awaiting response"), OutcomeKind.QUOTE_SENT),
    **dict.fromkeys(
        ("approved", "accepted", "signed", "won", "converted"), OutcomeKind.QUOTE_APPROVED
    ),
}
_BY_STATUS = {
    "invoice": dict.fromkeys(("paid", "paid in full"), OutcomeKind.INVOICE_PAID),
    "payment": dict.fromkeys(
        ("paid", "paid in full", "complete", "completed", "received", "settled", "succeeded"),
        OutcomeKind.INVOICE_PAID,
    ),
    "quote": _QUOTE,
    "estimate": _QUOTE,
    "appointment": {
        **dict.fromkeys(("booked", "scheduled", "confirmed"), OutcomeKind.APPOINTMENT_BOOKED),
        **dict.fromkeys(("held", "attended", "completed", "done"), OutcomeKind.APPOINTMENT_HELD),
    },
    "job": dict.fromkeys(("done", "complete", "completed"), OutcomeKind.JOB_DONE),
}
"""The kind of the outcome, by the noun for the row (such as ``invoice``) and the status of the row.
An open invoice is not an outcome.
"""
_ENDED = frozenset(
    (
        *("void", "voided", "cancelled", "canceled", "refunded", "declined", "rejected"),
        *("draft", "unpaid", "overdue", "expired", "failed"),
    )
)
_AMOUNT = re.compile(
    r"(?:USD|US\$)?\s*\$?\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{0,15})(?:\.([0-9]{0,10}))?\s*(?:USD)?",
    re.IGNORECASE,
)
_MOST_CHARACTERS = 60
_DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y")
_HOUR_FORMATS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


class CellError(Exception):
    """A cell has no usable value; ``reason`` is a sentence for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_kind(kind: str, status: str, *, noun: str | None) -> OutcomeKind:
    """Return the kind of outcome that a row describes, from two values (cells) of the row.

    Args:
        kind: The value in the column for the kind; may be empty.
        status: The value in the column for the status; may be empty.
        noun: What the rows describe, such as ``invoice``; None if unknown. It is used if ``kind``
            is empty.

    Raises:
        CellError: The row does not describe an outcome. For example, an invoice is unpaid.
    """
    word, state = _tidy(kind) or (noun or ""), _tidy(status)
    if state in _ENDED:
        raise CellError(f"Rows with the status “{status.strip()[:60]}” are not outcomes.")
    if state and word in _BY_STATUS:
        found = _BY_STATUS[word].get(state)
        if found is None:
            raise CellError(
                f"The status “{status.strip()[:60]}” of this {word} is not an outcome. Use one of: "
                + ", ".join(_BY_STATUS[word])
                + "."
            )
        return found
    found = _WORDS.get(word or state)
    if found is None:
        raise CellError(
            "The row does not say what happened. Use one of: " + ", ".join(OutcomeKind) + "."
        )
    return found


def read_cents(cell: str) -> int | None:
    """Convert an amount in dollars, such as ``$1,234.50``, to cents; None for an empty cell.

    Raises:
        CellError: The cell is not an amount from 0 to 10,000,000,000 dollars in whole cents.
    """
    written = cell.strip()
    if not written:
        return None
    if written.startswith(("-", "(", "\N{MINUS SIGN}", "$-")):
        raise CellError(
            "The amount is negative. To correct an outcome, reverse it: POST "
            "/v1/outcomes/{id}/reverse."
        )
    found = _AMOUNT.fullmatch(written) if len(written) <= _MOST_CHARACTERS else None
    dollars, fraction = found.groups() if found else ("", "")
    part = (fraction or "").rstrip("0")
    if not (dollars or fraction) or len(part) > 2:  # noqa: PLR2004 - cents have two digits
        raise CellError("This is not an amount in dollars and cents, such as 1,234.50.")
    return _bounded(int(dollars.replace(",", "") or "0") * 100 + int(part.ljust(2, "0")))


def read_whole_cents(cell: str) -> int | None:
    """Return an amount that is written in cents; None for an empty cell.

    Raises:
        CellError: The cell is not a whole number from 0 to 10^12.
    """
    written = cell.strip()
    if not written:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", written):
        raise CellError("This is not a whole number of cents, such as 123450.")
    return _bounded(int(written))


def _bounded(cents: int) -> int:
    if cents > MOST_CENTS:
        raise CellError("The amount is above 10,000,000,000 dollars. Correct it.")
    return cents


def check_currency(cell: str) -> None:
    """Check that a cell with a currency is empty or names the US dollar.

    Raises:
        CellError: The cell names another currency.
    """
    if cell.strip().upper() not in {"", "USD", "US$", "$"}:
        raise CellError("Amounts are in USD. Convert the amount before you import it.")


def read_instant(cell: str) -> datetime:
    """Return the instant in UTC of a date, with or without a time of day.

    A date without a time means noon in New York. A time without an offset is New York time.

    Raises:
        CellError: The cell is not a date from 1990 to 2099.
    """
    written = " ".join(cell.split())
    found = _parse(written) if len(written) <= _MOST_CHARACTERS else None
    if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise CellError(
            "This is not a date from 1990 to 2099. Write 2026-11-30, 11/30/2026 or "
            "2026-11-30T14:00:00Z."
        )
    return (found if found.tzinfo else found.replace(tzinfo=EASTERN)).astimezone(UTC)


def _parse(written: str) -> datetime | None:
    if re.match(r"[0-9]{4}-", written):
        try:
            read = datetime.fromisoformat(written)
        except ValueError:
            return None
        has_hour = ":" in written or "T" in written
        return read if has_hour else datetime.combine(read.date(), NOON)
    for day in _DATE_FORMATS:
        for hour in _HOUR_FORMATS:
            try:
                read = datetime.strptime(written, day + hour)  # noqa: DTZ007 - the zone follows
            except ValueError:
                continue
            return read if hour else datetime.combine(read.date(), NOON)
    return None


def _tidy(cell: str) -> str:
    return " ".join(cell.casefold().replace("_", " ").replace("-", " ").split())
