"""Texts in Liquid: checked when they are saved, compiled once, rendered for each contact.

    Hi {{ first_name | default: "there" }}, this is {{ business.name }} about {{ street }}.

Values are text and never evaluated. Tags and filters that load, read the clock or can grow
without bound are not available. See ``docs`` of the library for the language itself.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from liquid import BoundTemplate
from liquid.exceptions import LiquidError
from liquid.static_analysis import TemplateAnalysis, Variable

from crm_api.domain.campaigns.dialect import ENVIRONMENT, FAULTS
from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.errors import FieldProblem

MAX_TEXT = 1600
"""Characters the provider takes. Source: OpenPhone API reference, "Send a text message"."""
CONTACT_FIELDS = frozenset(
    {
        "first_name",
        "last_name",
        "email",
        "company",
        "street",
        "city",
        "state",
        "postal_code",
        "phone",
    }
)
ATTRIBUTES = "attributes"
OWN_FIELDS = {"line": frozenset({"name", "number"}), "business": frozenset({"name", "contact"})}

_UNSENDABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff\ufeff\ufff9-\uffff]"
)
_SAMPLES = ("7", "Ada")
"""Stand-ins for every value when a text is tried at save: some filters want a number."""


@dataclass(frozen=True)
class Compiled:
    """A text ready to render; without markup it needs no rendering and ``template`` is None.

    ``roots`` are the values that it names, so that a render looks at no others.
    """

    body: str
    template: BoundTemplate | None
    roots: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def compile_text(body: str) -> Compiled:
    """Prepare a text; the same body is prepared once a process.

    Raises:
        TextFailedError: It is not valid Liquid, which saving has ruled out.
    """
    if "{{" not in body and "{%" not in body:
        return Compiled(sendable(body), None)
    try:
        template = ENVIRONMENT.from_string(sendable(body))
    except LiquidError as error:
        raise TextFailedError(f"The text is not valid: {error.message}.") from error
    roots = template.analyze(include_partials=False).globals
    return Compiled(body, template, frozenset(roots))


def render(compiled: Compiled, context: Mapping[str, object]) -> str:
    """Write the text for one contact.

    Args:
        compiled: From ``compile_text``.
        context: Contact fields, and ``attributes``, ``line``, ``business`` as mappings. None
            and blank values count as missing.

    Raises:
        MissingValueError: A value is missing and has no default, or nothing is left to send.
        TextFailedError: A filter cannot take the contact's value, or the text grows too long.
    """
    if compiled.template is None:
        return compiled.body
    try:
        text = compiled.template.render(_present(context, compiled.roots))
    except FAULTS as error:
        raise TextFailedError(f"The text cannot be made: {_reason(error)}.") from error
    text = sendable(text)
    if not text.strip():
        raise MissingValueError("The text comes out empty for this contact.")
    return text


def compose(compiled: Compiled, context: Mapping[str, object], *, footer: str | None) -> str:
    """Write the text for one contact with the footer below it.

    Raises:
        MissingValueError: As ``render``.
        TextFailedError: As ``render``, or the whole is longer than the provider takes.
    """
    text = with_footer(render(compiled, context), footer)
    if len(text) > MAX_TEXT:
        raise TextFailedError(
            f"The text comes to {len(text)} characters; {MAX_TEXT} can be sent.",
        )
    return text


def with_footer(text: str, footer: str | None) -> str:
    """Put the opt-out footer on a line of its own below the text."""
    return f"{text}\n{footer}" if footer else text


def sendable(text: str) -> str:
    """Drop what no phone shows and no store takes: control characters and broken halves.

    So are the two marks that turn the letters after them round, whatever their script: in a name
    they would show the rest of the text, and how to stop, backwards.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSENDABLE.sub("", text.replace("\r\n", "\n").replace("\t", " "))


def _present(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """Keep of these what has a value, cleaned."""
    kept: dict[str, object] = {}
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            if value and not value.isspace():
                kept[name] = sendable(value)
        elif isinstance(value, Mapping):
            kept[name] = _present(value, value)
        else:
            kept[name] = value
    return kept


def check(body: str, *, pointer: str) -> list[FieldProblem]:
    """Find the faults of a text: syntax, unknown variables, unknown filters.

    Args:
        body: The text as it would be saved.
        pointer: Where it stands in the request.

    Returns:
        Each fault with its line and column, both from 1; empty when the text is good.
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
    return _trial(template, analysis, body, pointer)


def _unknown_variables(analysis: TemplateAnalysis, body: str, pointer: str) -> list[FieldProblem]:
    return [
        FieldProblem(
            pointer=pointer,
            code="unknown_variable",
            detail=f"{_place(body, variable.span.index)}: unknown variable {variable}.",
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
            detail=f"{_place(body, spans[0].index)}: unknown filter {name}.",
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


def _trial(
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
    place = f"{_place(body, token.start_index)}: " if token and token.start_index >= 0 else ""
    detail = f"{place}the text fails whatever its values: {_reason(first)}."
    return [FieldProblem(pointer=pointer, code="template_fails", detail=detail)]


def _attributes(analysis: TemplateAnalysis) -> list[str]:
    return [str(variable.segments[1]) for variable in analysis.globals.get(ATTRIBUTES, [])]


def placeholders(compiled: Compiled) -> list[dict[str, object]]:
    """Return values of nobody in particular, for a text that is shown before it has a reader.

    Returns:
        First each value as its name in brackets, then others for texts that want a number.
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


def names_in(compiled: Compiled) -> list[str]:
    """Return the values that a text names, in order of the alphabet: ``attributes.roof``."""
    if compiled.template is None:
        return []
    found = compiled.template.analyze(include_partials=False).globals
    return sorted({str(variable) for variables in found.values() for variable in variables})


def _reason(error: Exception) -> str:
    return str(error.message if isinstance(error, LiquidError) else error)


def _syntax_problem(error: LiquidError, body: str, pointer: str) -> FieldProblem:
    known = error.token is not None and error.token.start_index >= 0
    index = error.token.start_index if error.token is not None and known else len(body)
    detail = f"{_place(body, index)}: {error.message}."
    return FieldProblem(pointer=pointer, code="template_syntax", detail=detail)


def _place(body: str, index: int) -> str:
    before = body[:index]
    line = before.count("\n") + 1
    column = index - (before.rfind("\n") + 1) + 1
    return f"line {line}, column {column}"
