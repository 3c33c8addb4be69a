"""Compile a question to the sums from which its figures are read."""

from datetime import datetime
from typing import Any

from crm_api.domain.insight.measures.compiling import (
    PARTS,
    CompiledQuestion,
    InsightQuestion,
    amount_of,
    join_relations,
    select_from,
)
from crm_api.domain.insight.measures.kept import pieces_of


def compile_sums(question: InsightQuestion, *, now: datetime) -> CompiledQuestion:
    """Return the sums of a question as an SQL relation, and the values of its parameters.

    Each row has the number of ``records``, how many are ``counted``, their ``amount``, how many are
    ``unripe``, and the first instant ``at``. Where sums are kept, a row is the sum of an hour or a
    day; elsewhere it is a record.
    """
    relations: list[str] = []
    values: dict[str, Any] = {"as_of": now}
    for part_of, part in zip(PARTS, question.parts, strict=False):
        amount = amount_of(part)
        of_part = f"'{part_of}' AS part"
        of_rows = f"""{of_part}, 1 AS records, CAST(b.counted AS integer) AS counted,
            {amount} AS amount,
            CAST(b.ripe_at > :as_of AND b.ripe_at < 'infinity' AS integer) AS unripe, b.at"""
        found = pieces_of(part, part_of, now=now)
        if found is None:
            relations.append(select_from(part, of_rows, part.in_period(part.base.sql)))
            continue
        of_sums = f"{of_part}, b.records, b.counted, {amount} AS amount, b.unripe, b.at"
        of_numerator = f"{of_part}, 0, 1, {amount}, 0, b.at"
        values |= found.values
        relations.append(select_from(part, of_sums, found.sums))
        relations += [select_from(part, of_rows, one) for one in found.rows]
        relations += [select_from(part, of_numerator, one) for one in found.numerator]
    return join_relations(question, relations, values=values)
