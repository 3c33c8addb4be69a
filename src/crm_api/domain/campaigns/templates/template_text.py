"""Message bodies in Liquid: checked when saved, compiled once, rendered for each contact.

    Hi {{ first_name | default: "there" }}, this is {{ business.name }} about {{ street }}.

Values are data and never evaluated. Tags and filters that load, read the clock or can grow without
bound are not available. See ``docs`` of the library for the language itself.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from liquid import BoundTemplate
from liquid.exceptions import LiquidError
from liquid.static_analysis import TemplateAnalysis, Variable

from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.templates.dialect import ENVIRONMENT, FAULTS
from crm_api.domain.kit.contact_columns import MESSAGE_COLUMNS
from crm_api.domain.kit.errors import FieldProblem

MAX_TEXT = 1600
"""Most characters of a message. Source: OpenPhone API reference, "Send a text message"."""
ATTRIBUTES = "attributes"
CONTACT_FIELDS = frozenset({*MESSAGE_COLUMNS, "phone"})
OWN_FIELDS = {"line": frozenset({"name", "number"}), "business": frozenset({"name", "contact"})}

_UNSENDABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff\ufeff\ufff9-\uffff]"
)
_SAMPLES = ("7", "Ada")
"""Test values for a body when it is saved; a number is first, because some filters need one."""


@dataclass(frozen=True)
class CompiledBody:
    """A body ready to render; without markup it needs no rendering and ``template`` is None.

    ``roots`` are the values that it names; a render reads only these.
    """

    body: str
    template: BoundTemplate | None
    roots: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def compile_body(body: str) -> CompiledBody:
    """Compile a body; cached per process.

    Raises:
        TextFailedError: It is not valid Liquid; this cannot happen for a saved body.
    """
    if "{{" not in body and "{%" not in body:
        return CompiledBody(remove_unsendable(body), None)
    try:
        template = ENVIRONMENT.from_string(remove_unsendable(body))
    except LiquidError as error:
        raise TextFailedError(f"The body is not valid: {error.message}.") from error
    roots = template.analyze(include_partials=False).globals
    return CompiledBody(body, template, frozenset(roots))


def render_body(compiled: CompiledBody, context: Mapping[str, object]) -> str:
    """Render the message for one contact.

    Args:
        compiled: From ``compile_text``.
        context: Contact fields, and ``attributes``, ``line``, ``business`` as mappings. None and
            blank values count as missing.

    Raises:
        MissingValueError: A value is missing and has no default, or the result is empty.
        TextFailedError: A filter cannot process the contact's value, or the result is too long.
    """
    if compiled.template is None:
        return compiled.body
    try:
        text = compiled.template.render(_present(context, compiled.roots))
    except FAULTS as error:
        raise TextFailedError(f"The text cannot be made: {_reason(error)}.") from error
    text = remove_unsendable(text)
    if not text.strip():
        raise MissingValueError("The message is empty for this contact.")
    return text


def render_message(
    compiled: CompiledBody, context: Mapping[str, object], *, footer: str | None
) -> str:
    """Render the message for one contact, with the footer below it.

    Raises:
        MissingValueError: As ``render``.
        TextFailedError: As ``render``, or the result is longer than the provider accepts.
    """
    text = append_footer(render_body(compiled, context), footer)
    if len(text) > MAX_TEXT:
        raise TextFailedError(
            f"The message has {len(text)} characters; the limit is {MAX_TEXT}.",
        )
    return text


def append_footer(text: str, footer: str | None) -> str:
    """Append the opt-out footer on a line of its own."""
    return f"{text}\n{footer}" if footer else text


def remove_unsendable(text: str) -> str:
    """Remove control characters and broken surrogates, which phones and databases refuse.

    Also remove the two marks that reverse the direction of all following letters. In a name they
    would show the rest of the message, with the opt-out instruction, backwards.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSENDABLE.sub("", text.replace("\r\n", "\n").replace("\t", " "))


def _present(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """Return the named values that are present, cleaned."""
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


def find_template_faults(body: str, *, pointer: str) -> list[FieldProblem]:
    """Find the faults of a body: syntax, unknown variables, unknown filters.

    Args:
        body: The body to save.
        pointer: Its place in the request.

    Returns:
        Each fault with its line and column, both from 1; empty without faults.
    """
    if "{{" not in body and "{%" not in body:
        return []
    try:
        template = ENVIRONMENT.from_string(body)
    except LiquidError as error:
        return [_syntax_problem(error, body, pointer)]
    analysis = template.analyze(include_partials=False)
    problems = [*_unknown_variables(analysis, body, pointer), *_unknown_filters(analysis, body)]
    if problems:
        return [
            FieldProblem(pointer=pointer, code=problem.code, detail=problem.detail)
            for problem in problems
        ]
    return _render_samples(template, analysis, body, pointer)


def _unknown_variables(analysis: TemplateAnalysis, body: str, pointer: str) -> list[FieldProblem]:
    return [
        FieldProblem(
            pointer=pointer,
            code="unknown_variable",
            detail=f"{_position(body, variable.span.index)}: unknown variable {variable}.",
        )
        for variables in analysis.globals.values()
        for variable in variables
        if not _is_known(variable)
    ]


def _unknown_filters(analysis: TemplateAnalysis, body: str) -> list[FieldProblem]:
    return [
        FieldProblem(
            pointer="",
            code="unknown_filter",
            detail=f"{_position(body, spans[0].index)}: unknown filter {name}.",
        )
        for name, spans in analysis.filters.items()
        if name not in ENVIRONMENT.filters
    ]


def _is_known(variable: Variable) -> bool:
    root, *parts = variable.segments
    if root in CONTACT_FIELDS:
        return not parts
    if root == ATTRIBUTES:
        return bool(parts) and isinstance(parts[0], str)
    own = OWN_FIELDS.get(str(root), frozenset())
    return len(parts) == 1 and isinstance(parts[0], str) and parts[0] in own


def _render_samples(
    template: BoundTemplate, analysis: TemplateAnalysis, body: str, pointer: str
) -> list[FieldProblem]:
    faults: list[Exception] = []
    for sample in _SAMPLES:
        context: dict[str, object] = dict.fromkeys(CONTACT_FIELDS, sample)
        for root, names in OWN_FIELDS.items():
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
    detail = f"{place}the body fails for all values: {_reason(first)}."
    return [FieldProblem(pointer=pointer, code="template_fails", detail=detail)]


def _attributes(analysis: TemplateAnalysis) -> list[str]:
    return [str(variable.segments[1]) for variable in analysis.globals.get(ATTRIBUTES, [])]


def placeholder_values(compiled: CompiledBody) -> list[dict[str, object]]:
    """Return placeholder values, for a message that is shown without a contact.

    Returns:
        First each value as its name in brackets, then other values for bodies that need a number.
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
    """Return the values that a body names, in alphabetical order, such as ``attributes.roof``."""
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
