"""The parser accepts valid filters, and reports each fault with its pointer."""

from typing import Any

import pytest

from crm_api.domain.people.segments.errors import InvalidFilterError
from crm_api.domain.people.segments.parser import DEEPEST, MOST_RULES, read_filter
from crm_api.domain.people.segments.tree import rules_of
from crm_api.domain.people.segments.values import MOST_VALUES as MOST_OF_A_LIST

VIP = {"field": "tags", "op": "contains", "value": "vip"}


def list_faults(given: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidFilterError) as raised:
        read_filter(given)
    return [(fault.pointer, fault.code) for fault in raised.value.errors]


def make_rule(field: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        (None, "/filter", "wrong_type"),
        ([], "/filter", "wrong_type"),
        ({}, "/filter", "no_rule_nor_group"),
        ({"all": [VIP], "any": [VIP]}, "/filter", "no_rule_nor_group"),
        ({"all": [VIP], "id": 7}, "/filter", "no_rule_nor_group"),
        ({"all": []}, "/filter/all", "empty_group"),
        ({"any": VIP}, "/filter/any", "wrong_type"),
        ({"not": [VIP]}, "/filter/not", "wrong_type"),
        ({"all": [VIP, 7]}, "/filter/all/1", "wrong_type"),
        (VIP | {"id": 7}, "/filter/id", "unknown_member"),
        (make_rule("frist_name", "eq", "Ada"), "/filter/field", "unknown_field"),
        (make_rule("attributes.", "eq", "Ada"), "/filter/field", "unknown_field"),
        (make_rule("attributes." + "a" * 65, "eq", "Ada"), "/filter/field", "unknown_field"),
        (make_rule("attributes.\x00", "eq", "Ada"), "/filter/field", "unknown_field"),
        (make_rule("attributes.\ud83d", "eq", "Ada"), "/filter/field", "unknown_field"),
        ({"field": ["tags"], "op": "eq"}, "/filter/field", "unknown_field"),
        (make_rule("first_name", "gt", "Ada"), "/filter/op", "wrong_operator"),
        ({"field": "first_name"}, "/filter/op", "wrong_operator"),
        ({"field": "first_name", "op": ["eq"]}, "/filter/op", "wrong_operator"),
        (make_rule("first_name", "eq"), "/filter/value", "wrong_type"),
        (make_rule("first_name", "eq", 7), "/filter/value", "wrong_type"),
        (make_rule("first_name", "eq", " "), "/filter/value", "empty"),
        (make_rule("first_name", "eq", "a" * 201), "/filter/value", "too_long"),
        (make_rule("first_name", "eq", "a\x00"), "/filter/value", "nul_character"),
        (make_rule("first_name", "eq", "\ud83d"), "/filter/value", "not_unicode"),
        (make_rule("first_name", "in", "Ada"), "/filter/value", "wrong_type"),
        (make_rule("first_name", "in", []), "/filter/value", "wrong_length"),
        (make_rule("first_name", "in", ["Ada", 7]), "/filter/value/1", "wrong_type"),
        (make_rule("first_name", "is_empty", "Ada"), "/filter/value", "unexpected_value"),
        (make_rule("phone", "eq", "12"), "/filter/value", "invalid_phone"),
        (make_rule("tags", "contains", "a" * 65), "/filter/value", "too_long"),
        (make_rule("lists", "contains", "homeowners"), "/filter/value", "wrong_type"),
        (make_rule("flags", "contains", "a/b"), "/filter/value", "flag_name"),
        (make_rule("opted_out", "eq", "true"), "/filter/value", "wrong_type"),
        (make_rule("created_at", "before", "2026-11-01T00:00:00"), "/filter/value", "wrong_type"),
        (make_rule("created_at", "before", 1764028800), "/filter/value", "wrong_type"),
        (
            make_rule("created_at", "between", ["2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z"]),
            "/filter/value",
            "reversed",
        ),
        (make_rule("created_at", "within_last", {"months": 1}), "/filter/value", "wrong_type"),
        (
            make_rule("created_at", "within_last", {"days": 1, "hours": 1}),
            "/filter/value",
            "wrong_type",
        ),
        (make_rule("created_at", "within_last", {"days": 1.5}), "/filter/value/days", "wrong_type"),
        (make_rule("created_at", "within_last", {"days": 0}), "/filter/value/days", "out_of_range"),
        (
            make_rule("created_at", "within_last", {"days": 9_999}),
            "/filter/value/days",
            "out_of_range",
        ),
        (make_rule("campaigns", "contains", "autumn"), "/filter/value", "wrong_type"),
        (make_rule("campaigns", "contains", {}), "/filter/value/campaign_id", "missing"),
        (
            make_rule("campaigns", "contains", {"campaign_id": "x"}),
            "/filter/value/campaign_id",
            "wrong_type",
        ),
        (
            make_rule("campaigns", "contains", {"state": "sent"}),
            "/filter/value/state",
            "unknown_member",
        ),
        (make_rule("attributes.year", "gt", "1960"), "/filter/value", "wrong_type"),
        (make_rule("attributes.year", "gt", True), "/filter/value", "wrong_type"),
        (make_rule("attributes.year", "gt", float("nan")), "/filter/value", "out_of_range"),
        (make_rule("attributes.year", "gt", 10**400), "/filter/value", "out_of_range"),
        (make_rule("attributes.year", "in", [1960, "1961"]), "/filter/value/1", "wrong_type"),
        (make_rule("attributes.sold", "before", "2026-02-31"), "/filter/value", "wrong_type"),
        (make_rule("attributes.sold", "before", "20261101"), "/filter/value", "wrong_type"),
        (make_rule("attributes.year", "between", [1960]), "/filter/value", "wrong_type"),
    ],
)
def test_fault_is_reported_with_its_pointer(given: Any, pointer: str, code: str) -> None:
    assert list_faults(given) == [(pointer, code)]


def test_fault_in_a_membership_has_a_pointer() -> None:
    campaign = "22222222-2222-4222-8222-222222222220"
    value: dict[str, Any] = {"campaign_id": campaign, "status": ["sent", "send"]}

    assert list_faults(make_rule("campaigns", "contains", value)) == [
        ("/filter/value/status/1", "wrong_type")
    ]
    value = {"campaign_id": campaign, "replied": "no"}
    assert list_faults(make_rule("campaigns", "contains", value)) == [
        ("/filter/value/replied", "wrong_type")
    ]
    value = {"campaign_id": campaign, "step": -1}
    assert list_faults(make_rule("campaigns", "contains", value)) == [
        ("/filter/value/step", "wrong_type")
    ]


def test_all_faults_are_reported_in_order() -> None:
    given = {"all": [make_rule("x", "eq", 1), {"any": [VIP, {"not": make_rule("city", "eq", 7)}]}]}

    assert list_faults(given) == [
        ("/filter/all/0/field", "unknown_field"),
        ("/filter/all/1/any/1/not/value", "wrong_type"),
    ]


def make_nested(depth: int) -> dict[str, Any]:
    given: dict[str, Any] = VIP
    for _ in range(depth):
        given = {"not": given}
    return given


def test_depth_is_limited() -> None:
    read_filter(make_nested(DEEPEST - 1))

    assert list_faults(make_nested(1_000)) == [("/filter" + "/not" * DEEPEST, "too_deep")]


def test_number_of_rules_is_limited_over_all_groups() -> None:
    half = {"any": [VIP] * (MOST_RULES // 2)}
    read_filter({"all": [half, half]})

    assert ("/filter", "too_many_rules") in list_faults({"all": [half, half, VIP]})
    assert list_faults({"all": [VIP] * 10_000}) == [("/filter/all", "too_many_rules")]


def test_number_of_values_is_limited() -> None:
    many = make_rule("city", "in", [f"City {position}" for position in range(MOST_OF_A_LIST)])
    read_filter({"all": [many, many]})

    assert list_faults({"all": [many, many, VIP]}) == [("/filter", "too_many_values")]
    longer = make_rule("city", "in", ["Boston"] * (MOST_OF_A_LIST + 1))
    assert list_faults(longer) == [("/filter/value", "wrong_length")]


def test_number_of_reported_faults_is_limited() -> None:
    given = {"all": [make_rule("x", "eq", 1)] * 90}

    assert len(list_faults(given)) == 20


def test_given_operator_and_value_are_kept() -> None:
    (read,) = rules_of(read_filter(make_rule("phone", "ne", "(617) 555-0123")))

    assert (read.op, read.is_negated, read.given) == ("eq", True, "ne")
    assert (read.value, read.given_value) == ("+16175550123", "(617) 555-0123")
