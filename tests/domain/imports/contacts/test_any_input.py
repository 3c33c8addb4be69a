"""Any file content is read or refused. No content causes a crash."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from crm_api.domain.imports.contacts.source import ImportSource, examine_file
from crm_api.domain.imports.contacts.values import person_name, split_address, split_name
from crm_api.domain.imports.files.errors import ImportFileError
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone

CELLS = st.sampled_from(
    ["6175550101", "+1 617 555 0102 x4", '"', ",", "\n", "\r\n", ";", "Ada", "é", "\x00", "=1", " "]
)


def read_all(content: bytes) -> int:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        path.write_bytes(content)
        source = ImportSource(path, examine_file(path).mapping)
        rows = 0
        while chunk := source.next_chunk(limit=3):
            rows += chunk.rows
        return rows


def rows_or_refusal(content: bytes) -> int:
    """Return the number of rows; -1 if the file is refused."""
    try:
        return read_all(content)
    except ImportFileError:
        return -1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert rows_or_refusal(content) >= -1
    assert rows_or_refusal(b"phone,name\n" + content) >= -1


@settings(max_examples=150, deadline=None)
@given(st.lists(CELLS, max_size=40).map("".join))
def test_any_mixture_of_quotes_and_breaks_is_read_or_refused(content: str) -> None:
    assert rows_or_refusal(("phone,name\n" + content).encode()) >= -1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.lists(st.sampled_from("0123456789+-() .xE"), max_size=20))
def test_any_text_is_a_number_or_refused(text: str | list[str]) -> None:
    try:
        number = parse_phone("".join(text))
    except InvalidPhoneError:
        return
    assert parse_phone(number) == number


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_split_without_an_error(text: str) -> None:
    person_name(text)
    split_name(text)
    split_address(text)
