"""The tags and filters of Liquid that message bodies may use.

Tags and filters are left out if they load other templates, read the clock, or can produce output of
unlimited length.
"""

from collections.abc import Callable
from typing import Any

from liquid import Environment, Undefined
from liquid.exceptions import FilterArgumentError, LiquidError
from liquid.filter import with_environment

from crm_api.domain.campaigns.errors import MissingValueError

_FILTERS = (
    "default",
    "upcase",
    "downcase",
    "capitalize",
    "strip",
    "lstrip",
    "rstrip",
    "strip_newlines",
    "squish",
    "truncate",
    "truncatewords",
    "replace",
    "replace_first",
    "remove",
    "remove_first",
    "append",
    "prepend",
    "split",
    "first",
    "last",
    "slice",
    "size",
    "plus",
    "minus",
    "times",
    "divided_by",
    "modulo",
    "round",
    "ceil",
    "floor",
    "abs",
    "at_least",
    "at_most",
    "date",
)
_REMOVED_TAGS = ("include", "render", "tablerow")
_OUTPUT_LIMIT = 16_000
"""The maximum size of a rendered text, in bytes. This is much more than the length of a message.
Rendering stops at this size, so a template with too much output cannot use much time."""
FAULTS = (LiquidError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""The exceptions that the library raises when a filter cannot process a value."""


class _Missing(Undefined):
    """A value that the contact does not have.

    In a condition, such a value counts as false. The filter ``default`` replaces the value. A body
    that writes the value into the message causes an error, because otherwise people would get
    messages such as "Hi , …".
    """

    force_liquid_default = True

    def __str__(self) -> str:
        """Raise an error, because a missing value must not be written into a message.

        Raises:
            MissingValueError: Always. The error has the name of the value.
        """
        hint = (self.hint or self.name).removesuffix(" is undefined").strip("'")
        raise MissingValueError(
            f"The contact has no value for {hint}. Add the value to the contact, or a default to "
            "the body of the message.",
            variable=hint,
        )


class _TextEnvironment(Environment):
    loop_iteration_limit = 1_000
    output_stream_limit = _OUTPUT_LIMIT
    local_namespace_limit = 100_000

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register only the tags and filters that message bodies may use."""
        super().setup_tags_and_filters(extra=extra)
        for tag in _REMOVED_TAGS:
            del self.tags[tag]
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters["date"] = _known_date(self.filters["date"])
        self.filters["replace"] = _bounded_replace(self.filters["replace"])


def _known_date(original: Callable[..., Any]) -> Callable[..., Any]:
    def date(value: object, *arguments: object, **options: object) -> object:
        if isinstance(value, Undefined):
            str(value)
        if value in ("now", "today"):
            raise FilterArgumentError(
                "a message body cannot use the current time; write the date", token=None
            )
        return original(value, *arguments, **options)

    return with_environment(date)


def _bounded_replace(original: Callable[..., Any]) -> Callable[..., Any]:
    def replace(value: object, search: object = "", new: object = "") -> object:
        text, grown = str(value), str(new)
        if len(text) + text.count(str(search)) * len(grown) > _OUTPUT_LIMIT:
            raise FilterArgumentError("the result would be too long", token=None)
        return original(text, str(search), grown)

    return replace


ENVIRONMENT = _TextEnvironment(undefined=_Missing)
