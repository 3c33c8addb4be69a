"""A first message names its sender and says how to opt out."""

import pytest

from crm_api.domain.campaigns.drafts import identification
from crm_api.domain.campaigns.drafts.identification import MissingPart
from crm_api.domain.campaigns.errors import MissingIdentificationError
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.lines import Line

LINE = Line(name="Boston office", number="+16175550100")
BUSINESS = Business(name="The Granite Foundations", contact=None)


def find_missing_parts(
    body: str, *, footer: str | None = None, business: Business = BUSINESS
) -> set[MissingPart]:
    variant = CampaignVariant(name="A", body=body, weight=100)
    found = identification.find_identification_faults(
        [variant], footer=footer, business=business, line=LINE
    )
    return {finding.part for finding in found}


@pytest.mark.parametrize(
    "text",
    [
        "Hi, {{ business.name }} here",
        "Hi, the granite foundations here",
        "Hi, this is Granite.",
        "Hi, the Boston office here",
        "Hi, {{ line.name }} here",
    ],
)
def test_business_or_line_names_the_sender(text: str) -> None:
    assert find_missing_parts(text, footer="Reply STOP") == set()


@pytest.mark.parametrize("text", ["Hi {{ first_name }}", "Granites are hard", "The office here"])
def test_missing_sender_is_found(text: str) -> None:
    assert find_missing_parts(text, footer="Reply STOP") == {MissingPart.SENDER}


def test_line_is_the_sender_without_a_business() -> None:
    nameless = Business(name=None, contact=None)

    assert find_missing_parts("{{ business.name }} here. STOP ends it", business=nameless) == set()


@pytest.mark.parametrize(
    "text",
    [
        "Reply STOP to opt out",
        "STOP=end",
        "text 'stop' to end this",
        "To opt-out answer with quit",
        "Unsubscribe any time",
        "Responda STOP para no recibir más",
        "Reply no to stop receiving texts",
    ],
)
def test_opt_out_instruction_is_found(text: str) -> None:
    assert find_missing_parts("Granite here", footer=text) == set()


@pytest.mark.parametrize(
    "text", ["Can we stop by tomorrow?", "Stop the leaks!", "The season will end soon", "nonstop"]
)
def test_missing_opt_out_instruction_is_found(text: str) -> None:
    assert find_missing_parts(f"Granite here. {text}") == {MissingPart.STOP}


def test_message_is_also_checked_for_a_contact_without_values() -> None:
    body = "{% if first_name %}Granite. Reply STOP{% else %}Hello{% endif %}"

    assert find_missing_parts(body) == {MissingPart.SENDER, MissingPart.STOP}


def test_value_of_a_contact_does_not_name_the_sender() -> None:
    assert find_missing_parts("Hi {{ company }}. Reply STOP") == {MissingPart.SENDER}


def test_message_that_calculates_with_numbers_is_checked() -> None:
    body = "Granite: {{ attributes.price | times: 2 | divided_by: attributes.price }}. Reply STOP"

    assert find_missing_parts(body) == set()


def test_variant_without_weight_is_not_checked() -> None:
    variants = [
        CampaignVariant(name="A", body="Granite. Reply STOP", weight=100),
        CampaignVariant(name="B", body="Hello", weight=0),
    ]

    assert (
        identification.find_identification_faults(
            variants, footer=None, business=BUSINESS, line=LINE
        )
        == []
    )


def test_missing_part_is_reported_with_its_pointer() -> None:
    variants = [
        CampaignVariant(name="A", body="Granite. Reply STOP", weight=50),
        CampaignVariant(name="B", body="Granite here", weight=50),
    ]

    with pytest.raises(MissingIdentificationError) as caught:
        identification.require_identification(variants, footer=None, business=BUSINESS, line=LINE)

    assert [(fault.pointer, fault.code) for fault in caught.value.errors] == [
        ("/variants/1/body", "no_way_to_stop")
    ]
    assert "variant “B”" in caught.value.detail
