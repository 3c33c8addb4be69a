"""One list has the text columns of a contact; the table, the API and the importer agree with it."""

from dataclasses import fields

from crm_api.domain.imports.contacts.columns import BY_NAME
from crm_api.domain.imports.contacts.rows import PERSON, PersonRow
from crm_api.domain.kit.contact_columns import (
    ADDRESS_COLUMNS,
    MESSAGE_COLUMNS,
    PLAIN_COLUMNS,
    TEXT_COLUMNS,
    ContactValues,
)
from crm_api.domain.people.contacts.schemas import (
    AddressFields,
    AddressRead,
    ContactCreate,
    ContactRead,
    ContactUpdate,
)
from crm_api.domain.people.models.contacts import Contact


def test_every_nullable_text_column_of_the_table_is_in_the_list() -> None:
    texts = [
        column.name
        for column in Contact.__table__.columns
        if column.nullable and column.type.python_type is str
    ]

    assert texts == list(TEXT_COLUMNS)


def test_api_accepts_and_returns_every_column() -> None:
    for model in (ContactCreate, ContactUpdate, ContactRead):
        assert set(PLAIN_COLUMNS) <= model.model_fields.keys()
    for address in (AddressFields, AddressRead):
        assert set(ADDRESS_COLUMNS) == address.model_fields.keys()


def test_importer_stores_every_column() -> None:
    assert {field.name for field in fields(PersonRow)} >= set(TEXT_COLUMNS)
    assert set(PERSON) >= set(TEXT_COLUMNS)


def test_values_of_a_message_contain_every_column_that_messages_may_name() -> None:
    assert {field.name for field in fields(ContactValues)} == {
        *MESSAGE_COLUMNS,
        "phone",
        "attributes",
    }


def test_column_name_in_files_means_one_column() -> None:
    assert {name: BY_NAME[name] for name in ("zip", "fname", "mailcity", "tz")} == {
        "zip": "postal_code",
        "fname": "first_name",
        "mailcity": "city",
        "tz": "timezone",
    }
    assert set(BY_NAME.values()) >= set(TEXT_COLUMNS)
