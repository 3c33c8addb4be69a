"""Does a first text name its sender and say how to stop."""

import pytest

from crm_api.domain.campaigns import identification
from crm_api.domain.campaigns.errors import MissingIdentificationError
from crm_api.domain.campaigns.identification import Lack
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.lines.models import Line

LINE = Line(name="Boston office", number="+16175550100")
BUSINESS = Business(name="The Granite Foundations", contact=None)


def lacks(body: str, *, footer: str | None = None, business: Business = BUSINESS) -> set[Lack]:
    variant = CampaignVariant(name="A", body=body, weight=100)
    found = identification.find_lacks([variant], footer=footer, business=business, line=LINE)
    return {finding.lack for finding in found}


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
def test_sender_is_named_by_business_or_line(text: str) -> None:
    assert lacks(text, footer="Reply STOP") == set()


@pytest.mark.parametrize("text", ["Hi {{ first_name }}", "Granites are hard", "The office here"])
def test_sender_is_not_named(text: str) -> None:
    assert lacks(text, footer="Reply STOP") == {Lack.SENDER}


def test_without_a_business_the_line_is_the_sender() -> None:
    nameless = Business(name=None, contact=None)

    assert lacks("{{ business.name }} here. STOP ends it", business=nameless) == set()


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
def test_way_to_stop_is_told(text: str) -> None:
    assert lacks("Granite here", footer=text) == set()


@pytest.mark.parametrize(
    "text", ["Can we stop by tomorrow?", "Stop the leaks!", "The season will end soon", "nonstop"]
)
def test_way_to_stop_is_not_told(text: str) -> None:
    assert lacks(f"Granite here. {text}") == {Lack.STOP}


def test_text_is_looked_at_for_somebody_without_values_too() -> None:
    body = "{% if first_name %}Granite. Reply STOP{% else %}Hello{% endif %}"

    assert lacks(body) == {Lack.SENDER, Lack.STOP}


def test_value_that_a_contact_brings_does_not_name_the_sender() -> None:
    assert lacks("Hi {{ company }}. Reply STOP") == {Lack.SENDER}


def test_text_that_wants_numbers_is_looked_at() -> None:
    body = "Granite: {{ attributes.price | times: 2 | divided_by: attributes.price }}. Reply STOP"

    assert lacks(body) == set()


def test_wording_that_nobody_gets_is_not_looked_at() -> None:
    variants = [
        CampaignVariant(name="A", body="Granite. Reply STOP", weight=100),
        CampaignVariant(name="B", body="Hello", weight=0),
    ]

    assert identification.find_lacks(variants, footer=None, business=BUSINESS, line=LINE) == []


def test_each_fault_is_refused_by_its_pointer() -> None:
    variants = [
        CampaignVariant(name="A", body="Granite. Reply STOP", weight=50),
        CampaignVariant(name="B", body="Granite here", weight=50),
    ]

    with pytest.raises(MissingIdentificationError) as caught:
        identification.require(variants, footer=None, business=BUSINESS, line=LINE)

    assert [(fault.pointer, fault.code) for fault in caught.value.errors] == [
        ("/variants/1/body", "no_way_to_stop")
    ]
    assert "variant B" in caught.value.detail
