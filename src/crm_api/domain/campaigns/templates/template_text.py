"""Check, compile and render message bodies in Liquid.

An example of a body:

    Hi {{ first_name | default: "there" }}, this is {{ business.name }} about {{ street }}.

Liquid in a contact's value is not evaluated. ``dialect.py`` lists the tags and filters that a body
may use.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from liquid import BoundTemplate
from liquid.exceptions import LiquidError
from liquid.static_analysis import TemplateAnalysis, Variable

from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.templates.dialect import ENVIRONMENT, FAULTS
from crm_api.domain.kit.contact_columns import MESSAGE_COLUMNS
from crm_api.domain.kit.errors import FieldProblem

MAX_TEXT = 1600
"""The maximum number of characters in a message.

Source: OpenPhone API reference, "Send a text message".
"""
ATTRIBUTES = "attributes"
CONTACT_FIELDS = frozenset({*MESSAGE_COLUMNS, "phone"})
OwnFields = Mapping[str, frozenset[str]]
OWN_FIELDS: OwnFields = {
    "line": frozenset({"name", "number"}),
    "business": frozenset({"name", "contact"}),
}

_UNSENDABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff\ufeff\ufff9-\uffff]"
)
_SAMPLES = ("7", "Ada")
"""Values with which a body is rendered for a test when it is saved. The first is a number, because
some filters accept only numbers."""


@dataclass(frozen=True)
class CompiledBody:
    """A message body that is ready to be rendered.

    Attributes:
        body: The body as it was saved.
        template: The compiled template; None if the body has no variables and no tags.
        roots: The top-level variables in the body. Rendering reads only the values of
            these variables.
    """

    body: str
    template: BoundTemplate | None
    roots: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def compile_body(body: str) -> CompiledBody:
    """Compile a message body. Each process caches the latest 1,024 results.

    Raises:
        TextFailedError: The body is not valid Liquid. Bodies are checked when they are saved, so
            this does not happen for a saved body.
    """
    if "{{" not in body and "{%" not in body:
        return CompiledBody(remove_unsendable(body), None)
    try:
        template = ENVIRONMENT.from_string(remove_unsendable(body))
    except LiquidError as error:
        raise TextFailedError(
            f"The body is not valid Liquid: {error.message}. Correct the body."
        ) from error
    roots = template.analyze(include_partials=False).globals
    return CompiledBody(body, template, frozenset(roots))


def render_body(compiled: CompiledBody, context: Mapping[str, object]) -> str:
    """Render the message for one contact, without the footer.

    Args:
        context: The fields of the contact, and the mappings ``attributes``, ``line`` and
            ``business``. None or a blank value counts as missing.

    Raises:
        MissingValueError: A value is missing and has no default, or the message is empty.
        TextFailedError: A filter cannot process a value, or the output is too long.
    """
    if compiled.template is None:
        return compiled.body
    try:
        text = compiled.template.render(_present(context, compiled.roots))
    except FAULTS as error:
        raise TextFailedError(
            f"The message cannot be rendered for this contact: {_reason(error)}. Correct the body, "
            "or the values of the contact."
        ) from error
    text = remove_unsendable(text)
    if not text.strip():
        raise MissingValueError(
            "The message is empty for this contact. Correct the body, or the values of the contact."
        )
    return text


def render_message(
    compiled: CompiledBody, context: Mapping[str, object], *, footer: str | None
) -> str:
    """Render the message for one contact, with the footer on a line below it.

    Args:
        context: As for ``render_body``.
        footer: None if there is no footer.

    Raises:
        MissingValueError: A value is missing and has no default, or the message is empty.
        TextFailedError: A filter cannot process a value, or the message is longer than the provider
            accepts.
    """
    text = append_footer(render_body(compiled, context), footer)
    if len(text) > MAX_TEXT:
        raise TextFailedError(
            f"The message for this contact has {len(text)} characters, but the limit is {MAX_TEXT}."
            " Shorten the body, or the values of the contact.",
        )
    return text


def append_footer(text: str, footer: str | None) -> str:
    """Return the text and, if there is a footer, the footer on a separate line below it."""
    return f"{text}\n{footer}" if footer else text


def remove_unsendable(text: str) -> str:
    """Remove control characters and unpaired surrogates, which phones and databases do not accept.

    Line breaks remain, and a tab becomes a space. The two characters that override the direction of
    the text are also removed: they would make the opt-out instruction unreadable.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSENDABLE.sub("", text.replace("\r\n", "\n").replace("\t", " "))


def _present(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """Return the items of ``values`` whose keys are in ``names``, for use in a message.

    Values that are None or blank are left out. Characters that cannot be sent are removed.
    """
    kept: dict[str, object] = {}
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            if value and not value.isspace():
                kept[name] = remove_unsendable(value)
        elif isinstance(value, Mapping):
            kept[name] = _present(value, value)
        else:
            kept[name] = value
    return kept


def find_template_faults(
    body: str, *, pointer: str, more: OwnFields = MappingProxyType({})
) -> list[FieldProblem]:
    """Return the faults of a body: syntax errors, unknown variables, unknown filters.

    If the body has no such fault, the body is rendered with sets of test values. If the rendering
    fails with every set, the fault of the first rendering is returned.

    Args:
        pointer: The JSON pointer of the body in the request.
        more: Further variables that the body may contain. Each variable is mapped to the names of
            its fields.

    Returns:
        One problem for each fault. The text of the problem names the line and the column of the
        fault, both from 1, if they are known.
    """
    if "{{" not in body and "{%" not in body:
        return []
    try:
        template = ENVIRONMENT.from_string(body)
    except LiquidError as error:
        return [_syntax_problem(error, body, pointer)]
    analysis = template.analyze(include_partials=False)
    own = {**OWN_FIELDS, **more}
    problems = [
        *_unknown_variables(analysis, body, pointer, own),
        *_unknown_filters(analysis, body),
    ]
    if problems:
        return [
            FieldProblem(pointer=pointer, code=problem.code, detail=problem.detail)
            for problem in problems
        ]
    return _render_samples(template, analysis, body, pointer, own)


def _unknown_variables(
    analysis: TemplateAnalysis, body: str, pointer: str, own: OwnFields
) -> list[FieldProblem]:
    return [
        FieldProblem(
            pointer=pointer,
            code="unknown_variable",
            detail=f"{_position(body, variable.span.index)}: the variable {variable} does not "
            "exist.",
        )
        for variables in analysis.globals.values()
        for variable in variables
        if not _is_known(variable, own)
    ]


def _unknown_filters(analysis: TemplateAnalysis, body: str) -> list[FieldProblem]:
    return [
        FieldProblem(
            pointer="",
            code="unknown_filter",
            detail=f"{_position(body, spans[0].index)}: the filter {name} does not exist.",
        )
        for name, spans in analysis.filters.items()
        if name not in ENVIRONMENT.filters
    ]


def _is_known(variable: Variable, fields: OwnFields) -> bool:
    root, *parts = variable.segments
    if root in CONTACT_FIELDS:
        return not parts
    if root == ATTRIBUTES:
        return bool(parts) and isinstance(parts[0], str)
    own = fields.get(str(root), frozenset())
    return len(parts) == 1 and isinstance(parts[0], str) and parts[0] in own


def _render_samples(
    template: BoundTemplate,
    analysis: TemplateAnalysis,
    body: str,
    pointer: str,
    own: OwnFields,
) -> list[FieldProblem]:
    faults: list[Exception] = []
    for sample in _SAMPLES:
        context: dict[str, object] = dict.fromkeys(CONTACT_FIELDS, sample)
        for root, names in own.items():
            context[root] = dict.fromkeys(names, sample)
        context[ATTRIBUTES] = dict.fromkeys(_attributes(analysis), sample)
        try:
            template.render(context)
        except FAULTS as error:
            faults.append(error)
        except MissingValueError:
            return []
        else:
            return []
    first = faults[0]
    token = first.token if isinstance(first, LiquidError) else None
    place = f"{_position(body, token.start_index)}: " if token and token.start_index >= 0 else ""
    detail = f"{place}the body cannot be rendered, whatever the values are: {_reason(first)}."
    return [FieldProblem(pointer=pointer, code="template_fails", detail=detail)]


def _attributes(analysis: TemplateAnalysis) -> list[str]:
    return [str(variable.segments[1]) for variable in analysis.globals.get(ATTRIBUTES, [])]


def placeholder_values(compiled: CompiledBody) -> list[dict[str, object]]:
    """Return sets of placeholder values for a message that is rendered without a contact.

    Returns:
        If the body has no variables and no tags, the result is one empty set. If it has some, the
        result is three sets. The caller tries the sets in this order:

        - In the first set, each value is the name of its field in brackets, such as
          ``[first_name]``.
        - In the second set, all values are the text ``7``.
        - In the third set, all values are the text ``Ada``.
    """
    if compiled.template is None:
        return [{}]
    attributes = _attributes(compiled.template.analyze(include_partials=False))
    return [
        {
            **{name: sample or f"[{name}]" for name in CONTACT_FIELDS},
            ATTRIBUTES: {name: sample or f"[{name}]" for name in attributes},
        }
        for sample in ("", *_SAMPLES)
    ]


def list_variables(compiled: CompiledBody) -> list[str]:
    """Return the variables in a body, such as ``attributes.roof``, in alphabetical order."""
    if compiled.template is None:
        return []
    found = compiled.template.analyze(include_partials=False).globals
    return sorted({str(variable) for variables in found.values() for variable in variables})


def _reason(error: Exception) -> str:
    return str(error.message if isinstance(error, LiquidError) else error)


def _syntax_problem(error: LiquidError, body: str, pointer: str) -> FieldProblem:
    known = error.token is not None and error.token.start_index >= 0
    index = error.token.start_index if error.token is not None and known else len(body)
    detail = f"{_position(body, index)}: {error.message}."
    return FieldProblem(pointer=pointer, code="template_syntax", detail=detail)


def _position(body: str, index: int) -> str:
    before = body[:index]
    line = before.count("\n") + 1
    column = index - (before.rfind("\n") + 1) + 1
    return f"line {line}, column {column}"
