"""Files with outcomes: columns are recognised; cells are read as amounts, kinds and dates."""

from datetime import UTC, datetime

import pytest

from crm_api.domain.imports.contacts.errors import InvalidMappingError
from crm_api.domain.imports.files.errors import ImportFileError, NoPhoneColumnError
from crm_api.domain.sales.outcome_imports.columns import detect_columns
from crm_api.domain.sales.outcome_imports.values import (
    CellError,
    read_cents,
    read_instant,
    read_kind,
    read_whole_cents,
)


@pytest.mark.parametrize(
    ("cell", "cents"),
    [
        ("$1,234.50", 123_450),
        ("1234.5", 123_450),
        ("1234.500", 123_450),
        (" $ 12 ", 1_200),
        ("USD 0.07", 7),
        ("US$1,000,000.01", 100_000_001),
        (".5", 50),
        ("90071992547.41", None),
        ("10000000000", 10**12),
        ("19.99 usd", 1_999),
        ("0", 0),
        ("", None),
        ("1,23", None),
        ("1.234,50", None),
        ("12.345", None),
        ("1e3", None),
        ("€5", None),
        ("$", None),
        ("-5", None),
        ("(5.00)", None),
        ("9" * 5_000, None),
        ("٣", None),
    ],
)
def test_amounts_are_read_as_whole_cents(cell: str, cents: int | None) -> None:
    if cents is None and cell:
        with pytest.raises(CellError):
            read_cents(cell)
    else:
        assert read_cents(cell) == cents


def test_column_of_whole_cents_accepts_only_digits() -> None:
    assert read_whole_cents("123450") == 123_450
    for cell in ("12.5", "-1", str(10**12 + 1)):
        with pytest.raises(CellError):
            read_whole_cents(cell)


@pytest.mark.parametrize(
    ("kind", "status", "noun", "found"),
    [
        ("invoice_paid", "", None, "invoice_paid"),
        ("Invoice Paid", "", None, "invoice_paid"),
        ("Estimate", "Approved", None, "quote_approved"),
        ("", "Paid", "invoice", "invoice_paid"),
        ("", "", "quote", "quote_sent"),
        ("", "Paid", None, "invoice_paid"),
        ("Appointment", "Completed", None, "appointment_held"),
        ("", "Unpaid", "invoice", None),
        ("invoice_paid", "Void", None, None),
        ("", "Open", "invoice", None),
        ("Payment", "Completed", None, "invoice_paid"),
        ("Payment", "Pending", None, None),
        ("Payment", "Failed", None, None),
        ("Invoice Paid", "Failed", None, None),
        ("referral", "", None, None),
        ("", "", None, None),
    ],
)
def test_kind_is_read_from_kind_and_status(
    kind: str, status: str, noun: str | None, found: str | None
) -> None:
    if found is None:
        with pytest.raises(CellError):
            read_kind(kind, status, noun=noun)
    else:
        assert read_kind(kind, status, noun=noun) == found


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("2026-11-20", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("7/4/2026", datetime(2026, 7, 4, 16, tzinfo=UTC)),
        ("11/20/2026 2:30 PM", datetime(2026, 11, 20, 19, 30, tzinfo=UTC)),
        ("Nov 20, 2026", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("2026-11-20T15:00:00Z", datetime(2026, 11, 20, 15, tzinfo=UTC)),
        ("20.11.2026", None),
        ("2026-02-30", None),
        ("0001-01-01", None),
        ("9999-12-31", None),
        ("", None),
        ("2026-11-20T15:00:00+99:00", None),
    ],
)
def test_dates_are_read_as_instants(cell: str, found: datetime | None) -> None:
    if found is None:
        with pytest.raises(CellError):
            read_instant(cell)
    else:
        assert read_instant(cell) == found


def test_columns_are_recognised_by_name() -> None:
    header = ("Invoice #", "Customer", "Mobile", "Invoice Date", "Paid On", "Total", "Status")

    found = detect_columns(header, [("7", "Ada", "617-555-0101", "", "", "$1", "Paid")])

    assert found.mapping == {
        "Invoice #": "external_id",
        "Customer": None,
        "Mobile": "phone",
        "Invoice Date": None,
        "Paid On": "date",
        "Total": "amount",
        "Status": "status",
    }
    assert found.notes == []


def test_phone_column_is_recognised_by_values() -> None:
    found = detect_columns(("Who", "Quote no", "Date"), [("617-555-0101", "7", "2026-11-20")])

    assert found.mapping["Who"] == "phone"
    assert len(found.notes) == 2


def test_given_mapping_overrides_the_detected_one() -> None:
    header = ("phone", "kind", "date", "signed", "total")
    row = ("617-555-0101", "job_done", "2026-11-01", "2026-11-02", "5")

    found = detect_columns(header, [row], {"signed": "date", "total": None})

    assert found.mapping == {
        "phone": "phone",
        "kind": "kind",
        "date": None,
        "signed": "date",
        "total": None,
    }


def test_invalid_mapping_is_refused() -> None:
    header = ("phone", "kind", "date")
    wrong = {"phone": "tel", "cell": "phone", "kind": "date", "date": "date"}

    with pytest.raises(InvalidMappingError) as refused:
        detect_columns(header, [], wrong)

    codes = [problem.code for problem in refused.value.errors]
    assert codes == ["unknown_field", "unknown_column", "field_twice"]


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (("kind", "date"), NoPhoneColumnError),
        (("phone", "kind"), ImportFileError),
        (("phone", "date"), ImportFileError),
        (("phone", "date", "invoice", "quote"), ImportFileError),
    ],
)
def test_file_without_required_columns_is_refused_naming_its_columns(
    header: tuple[str, ...], error: type[ImportFileError]
) -> None:
    with pytest.raises(error, match="The columns are: “"):
        detect_columns(header, [])
