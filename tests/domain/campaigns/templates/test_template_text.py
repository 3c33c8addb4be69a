"""A message body is checked when it is saved, and rendered for each contact."""

import pytest

from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.templates.template_text import (
    MAX_TEXT,
    compile_body,
    find_template_faults,
    remove_unsendable,
    render_body,
    render_message,
)

CONTEXT: dict[str, object] = {
    "first_name": "Ada",
    "last_name": "Stone",
    "company": None,
    "email": "",
    "city": "   ",
    "line": {"name": "Main line", "number": "+16175550100"},
    "business": {"name": "Granite Foundations", "contact": "+16175550100"},
    "attributes": {"street": "1 Main St", "Owner Name": "STONE ADA", "score": 7, "spaces": " "},
}


def render(body: str) -> str:
    return render_body(compile_body(body), CONTEXT)


def list_faults(body: str) -> list[tuple[str, str]]:
    return [
        (fault.code, fault.detail)
        for fault in find_template_faults(body, pointer="/variants/0/body")
    ]


@pytest.mark.parametrize(
    "body",
    [
        "Hello, no markup here",
        "100% }} literal { braces }",
        'Hi {{ first_name | default: "there" }}',
        "{{ attributes.roof_age }} and {{ attributes['Owner Name'] }} {{ attributes.a.b }}",
        "{{ line.name }} {{ line.number }} {{ business.name }} {{ business.contact }}",
        "{% if company %}{{ company }}{% else %}you{% endif %}",
        "{% assign who = first_name | default: 'you' %}{{ who }}",
        "{% for word in attributes.words %}{{ word }}{{ forloop.index }}{% endfor %}",
        "{{ attributes.price | divided_by: 2 | round }}",
        "{{ attributes['Owner Name'] | split: ' ' | first | capitalize }}",
        "{% raw %}{{ untouched }}{% endraw %}",
    ],
)
def test_valid_body_has_no_fault(body: str) -> None:
    assert list_faults(body) == []


@pytest.mark.parametrize(
    ("body", "code", "position"),
    [
        ("Hi {{ first_name", "template_syntax", "line 1, column 4"),
        ("Hi\n  {% if company %}", "template_syntax", "line 2, column 19"),
        ("{% bogus %}", "template_syntax", "line 1, column 4"),
        ("{{ }}", "template_syntax", "line 1, column 6"),
        ("{% include 'other' %}", "template_syntax", "line 1, column 4"),
        ("{% render 'other' %}", "template_syntax", "line 1, column 4"),
        ("Hi\n{{ firstname }}", "unknown_variable", "line 2, column 4"),
        ("{{ first_name.size }}", "unknown_variable", "line 1, column 4"),
        ("{{ attributes }}", "unknown_variable", "line 1, column 4"),
        ("{{ attributes[first_name] }}", "unknown_variable", "line 1, column 4"),
        ("{{ line.phone_number_id }}", "unknown_variable", "line 1, column 4"),
        ("{{ line[first_name] }}", "unknown_variable", "line 1, column 4"),
        ("{{ x }}{% assign x = 1 %}", "unknown_variable", "line 1, column 4"),
        ("{{ first_name | shout }}", "unknown_filter", "line 1, column 17"),
        ("{{ 'a' | divided_by: 0 }}", "template_fails", "line 1, column 10"),
        ("{{ 'now' | date: '%Y' }}", "template_fails", ""),
        ("{% for i in (1..1000000000) %}x{% endfor %}", "template_fails", ""),
    ],
)
def test_fault_is_reported_with_its_position(body: str, code: str, position: str) -> None:
    found = list_faults(body)

    assert found[0][0] == code
    assert found[0][1].startswith(position)


def test_fault_has_the_pointer_of_its_field() -> None:
    (fault,) = find_template_faults("{{ nope }}", pointer="/variants/2/body")

    assert fault.pointer == "/variants/2/body"
    assert "nope" in fault.detail


@pytest.mark.timeout(5)
@pytest.mark.parametrize("growth", ["append: x", "replace: 'a', x"])
def test_body_that_grows_without_bound_is_refused_at_once(growth: str) -> None:
    start = "{% assign x = 'aaaaaaaaaaaaaaaa' %}"
    loop = "{% for i in (1..60) %}{% assign x = x | " + growth + " %}{% endfor %}"

    assert list_faults(start + loop)[0][0] == "template_fails"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("No markup }} at all", "No markup }} at all"),
        ("Hi {{ first_name }}", "Hi Ada"),
        ('Hi {{ company | default: "there" }}', "Hi there"),
        ('Hi {{ email | default: "there" }}', "Hi there"),
        ('Hi {{ city | default: "there" }}', "Hi there"),
        ('Hi {{ attributes.spaces | default: "there" }}', "Hi there"),
        ('Hi {{ attributes.none | default: "there" }}', "Hi there"),
        ("{{ attributes.street }}: {{ attributes.score }}", "1 Main St: 7"),
        ("{{ attributes['Owner Name'] | split: ' ' | last | capitalize }}", "Ada"),
        ("{% if company %}a{% else %}b{% endif %}", "b"),
        ("{% unless company %}a{% endunless %}", "a"),
        ("{{ business.name }} {{ line.name }}", "Granite Foundations Main line"),
    ],
)
def test_body_is_rendered_for_the_contact(body: str, text: str) -> None:
    assert render(body) == text


@pytest.mark.parametrize(
    "body",
    [
        "Hi {{ company }}",
        "Hi {{ email }}",
        "Hi {{ city }}",
        "Hi {{ attributes.none }}",
        "Hi {{ attributes.none.deeper }}",
        "Hi {{ company | upcase }}",
        "Hi {{ 'Mr ' | append: last_initial }}",
        "{{ attributes.sale_date | date: '%B' }}",
        '{{ company | default: "" }}',
    ],
)
def test_missing_value_without_default_is_refused(body: str) -> None:
    with pytest.raises(MissingValueError) as caught:
        render(body)

    assert caught.value.code == "missing_value"


def test_missing_value_is_named() -> None:
    with pytest.raises(MissingValueError, match=r"attributes\.roof"):
        render("Hi {{ attributes.roof }}")


def test_value_with_liquid_is_inserted_as_text() -> None:
    context = {"first_name": "{{ line.number }}{% assign x = 1 %}"}

    assert render_body(compile_body("Hi {{ first_name }}"), context) == (
        "Hi {{ line.number }}{% assign x = 1 %}"
    )


def test_right_to_left_text_and_emoji_are_not_changed() -> None:
    context = {"first_name": "\u05e9\u05dc\u05d5\u05dd \U0001f600"}

    assert (
        render_body(compile_body("{{ first_name }}!"), context)
        == "\u05e9\u05dc\u05d5\u05dd \U0001f600!"
    )


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x00b\x1bc\x7fd\x85e", "abcde"),
        ("a\r\nb\tc\nd", "a\nb c\nd"),
        ("a\ud800b\udfffc", "abc"),
        ("\ufeffa\uffff", "a"),
        ("\u202ea\u202db\u202c \u200f\u05d0", "ab\u202c \u200f\u05d0"),
        ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
    ],
)
def test_unsendable_characters_are_removed(text: str, cleaned: str) -> None:
    assert remove_unsendable(text) == cleaned
    assert render_body(compile_body("{{ first_name }}"), {"first_name": text}) == cleaned
    assert render_body(compile_body(text), {}) == cleaned


def test_filter_that_cannot_use_the_value_raises_text_failed() -> None:
    compiled = compile_body("{{ 100 | divided_by: attributes.n }}")

    with pytest.raises(TextFailedError) as caught:
        render_body(compiled, {"attributes": {"n": 0}})

    assert caught.value.code == "text_failed"


def test_invalid_body_raises_text_failed() -> None:
    with pytest.raises(TextFailedError):
        compile_body("{{ first_name")


def test_footer_is_on_its_own_line() -> None:
    compiled = compile_body("Hi {{ first_name }}")

    assert (
        render_message(compiled, CONTEXT, footer="Reply STOP to end.")
        == "Hi Ada\nReply STOP to end."
    )
    assert render_message(compiled, CONTEXT, footer=None) == "Hi Ada"


def test_message_longer_than_the_provider_accepts_fails() -> None:
    compiled = compile_body("{{ attributes.story }}")

    with pytest.raises(TextFailedError, match=str(MAX_TEXT)):
        render_message(compiled, {"attributes": {"story": "a" * MAX_TEXT}}, footer="STOP to end")


def test_body_is_compiled_once() -> None:
    assert compile_body("Hi {{ first_name }}") is compile_body("Hi {{ first_name }}")
