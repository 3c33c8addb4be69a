"""Each type of validation error that a request can cause has a sentence that says what to do."""

from typing import get_args

from pydantic_core.core_schema import ErrorType

from crm_api.domain.kit.validation_errors import _SENTENCES

OWN_SENTENCE = {"extra_forbidden", "string_too_long", "string_too_short", "value_error"}
IMPOSSIBLE = {
    # Of types, constraints and options that no request model has.
    *("arguments_type", "assertion_error", "bytes_invalid_encoding", "bytes_too_long"),
    *("bytes_too_short", "bytes_type", "callable_type", "complex_str_parsing", "complex_type"),
    *("counter_type", "dataclass_exact_type", "dataclass_type", "date_future", "date_past"),
    *("datetime_future", "datetime_past", "default_factory_not_called", "deque_type"),
    *("ellipsis_error", "fraction_parsing", "fraction_type", "frozen_dict_type", "frozen_field"),
    *("frozen_instance", "frozen_set_type", "is_subclass_of", "missing_argument"),
    *("missing_keyword_only_argument", "missing_positional_only_argument"),
    *("missing_sentinel_error", "multiple_argument_values", "named_tuple_type"),
    *("ordered_dict_type", "set_item_not_hashable", "set_type", "string_not_ascii"),
    *("timezone_naive", "timezone_offset", "tuple_type", "unexpected_keyword_argument"),
    *("unexpected_positional_argument", "url_parsing", "url_scheme", "url_syntax_violation"),
    *("url_too_long", "url_type"),
    # Of Python objects. A request has only values of JSON and texts.
    *("get_attribute_error", "invalid_key", "is_instance_of", "iterable_type", "iteration_error"),
    *("json_type", "mapping_type", "needs_python_object", "no_such_attribute", "recursion_loop"),
    "recursion_depth_exceeded",
}


def test_every_type_of_error_has_a_sentence_or_cannot_occur() -> None:
    known = {*_SENTENCES, *OWN_SENTENCE}

    assert known | IMPOSSIBLE == set(get_args(ErrorType))
    assert known & IMPOSSIBLE == set()
