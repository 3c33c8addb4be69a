"""Attributes of a chunk's people under the custom fields that stand."""

from collections.abc import Mapping, Sequence

import orjson

from crm_api.domain.custom_fields.definitions import Definitions
from crm_api.domain.transfer.formats import ATTRIBUTES, SECOND
from crm_api.domain.transfer.merge_statements import PERSON
from crm_api.domain.transfer.rows import MAX_SHOWN, Record, RowProblem

_LINE, _VALUES = PERSON.index("line"), PERSON.index("attributes")


def typed(
    records: Sequence[Record], defined: Definitions, mapping: Mapping[str, str | None]
) -> tuple[Sequence[Record], list[RowProblem]]:
    """Write attributes as their custom fields want them; what does not fit is left out, and told.

    Args:
        mapping: Column to field, for the column that a problem names.
    """
    # Most files name none of them, and then nobody's attributes are read again.
    marks = [f'"{name}":' for name in defined.by_name]
    taken: list[Record] = []
    problems: dict[tuple[int, str], RowProblem] = {}
    for record in records:
        if not any(mark in record[_VALUES] for mark in marks):
            taken.append(record)
            continue
        attributes, misfits = defined.normalise(orjson.loads(record[_VALUES]))
        written = orjson.dumps(attributes).decode()
        taken.append((*record[:_VALUES], written, *record[_VALUES + 1 :]))
        for misfit in misfits:
            # Two people of one row share its cells.
            problems[record[_LINE], misfit.name] = RowProblem(
                line=record[_LINE],
                column=_column(misfit.name, mapping),
                value=str(misfit.value)[:MAX_SHOWN],
                code=misfit.code,
                reason=f"{misfit.detail} The person was taken without it.",
                refuses=False,
            )
    return taken, list(problems.values())


def _column(name: str, mapping: Mapping[str, str | None]) -> str | None:
    wanted = {f"{ATTRIBUTES}{name}", f"{SECOND}{ATTRIBUTES}{name}"}
    return next((column for column, target in mapping.items() if target in wanted), None)
