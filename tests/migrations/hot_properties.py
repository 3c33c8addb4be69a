"""Queries on properties (buildings of contacts) that must use an index."""

from tests.conftest import NOW
from tests.migrations.filling import made_id, phone_of
from tests.migrations.hot import CONTACT, PLACE, Hot, use_case

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.models.properties import PropertyRole
from crm_api.domain.people.properties import import_properties, property_contacts, service

PROPERTY = made_id("property", 7)
IMPORT = made_id("import", 0)
CHUNK = range(5_000, 5_200)

PROPERTIES = [
    Hot(
        "property with an address",
        {"uq_property_address_key"},
        lambda s: service.id_of_key(s, address_key="7 main st|02169"),
        is_generic=True,
    ),
    Hot(
        "properties by the beginning of the address",
        {"uq_property_address_key"},
        lambda s: service.fetch_by_address(
            s, beginning="71 ma", after="71 main st|02169", limit=51
        ),
        is_generic=True,
    ),
    Hot(
        "properties, newest first",
        {"idx_property_created"},
        use_case(
            lambda u: service.list_properties(
                u, q="", cursor=Cursors("properties", q="").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "properties of a contact",
        {"idx_property_contact_contact", "pk_property"},
        lambda s: service.fetch_of_contact(s, contact_id=CONTACT, after=PLACE, limit=51),
        is_generic=True,
    ),
    Hot(
        "people of a page of properties",
        {"pk_property_contact", "pk_contact"},
        lambda s: property_contacts.fetch_occupants(
            s, property_ids=[made_id("property", i) for i in range(1, 51)]
        ),
    ),
    Hot(
        "people attached to a property",
        {"pk_contact", "pk_property_contact"},
        lambda s: property_contacts.attach_contacts(
            s, property_id=PROPERTY, people=[(CONTACT, PropertyRole.PRIMARY)], now=NOW
        ),
    ),
    Hot(
        "properties of a chunk of a file",
        {"uq_property_address_key", "uq_contact_phone|idx_contact_phone_hash"},
        lambda s: import_properties.write_properties(
            s,
            rows=[
                {"id": made_id("new", i), "address_key": f"{i} main st|02169", "street": "x"}
                for i in CHUNK
            ],
            people=[
                {"address_key": f"{i} main st|02169", "phone": phone_of(i), "role": "primary"}
                for i in CHUNK
            ],
            import_id=IMPORT,
            now=NOW,
        ),
    ),
    Hot(
        "people that an import attached",
        {"idx_property_contact_import", "pk_property_contact"},
        lambda s: import_properties.undo_people(s, import_id=IMPORT, limit=50),
    ),
    Hot(
        "properties that an import created",
        {"idx_property_import", "pk_property_contact"},
        lambda s: import_properties.undo_properties(s, import_id=IMPORT, limit=50),
    ),
]
