"""Collect the bind values of an SQL condition, and write the SQL that several rules share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(kw_only=True)
class ConditionBuilder:
    """Collects the bind values of a condition.

    Attributes:
        now: The end of periods such as "the last 30 days". Flags that expired earlier are ignored.
        prefix: Beginning of the names of the bind values.
        by_person: True: evaluate sub-selects (EXISTS) for each contact. False: joins are allowed.
    """

    now: datetime
    prefix: str
    by_person: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, sql_type: str) -> str:  # noqa: ANN401 - any value of ``sql_type``
        """Add a bind value and return the SQL expression for it."""
        name = f"{self.prefix}_{len(self.values)}"
        self.values[name] = value
        return f"CAST(:{name} AS {sql_type})"

    def exists(self, rows: str) -> str:
        """Return an SQL condition (EXISTS) that is true if a query finds a row.

        If ``by_person`` is True, PostgreSQL runs the query separately for each contact.

        Args:
            rows: The SQL of the query after ``SELECT 1 FROM``.
        """
        each = " OFFSET 0" if self.by_person else ""
        return f"EXISTS (SELECT 1 FROM {rows}{each})"


def word_condition(op: str, subject: str, texts: Sequence[str]) -> str:
    """Return a condition that compares the stored string ``subject`` with the strings of a rule.

    The condition ignores case, but not accents. The database converts all these strings to lower
    case, so that the same conversion applies to all of them.
    """
    lower = [f"lower({text})" for text in texts]
    subject = f"lower({subject})"
    if op == "in":
        return f"{subject} = ANY(ARRAY[{', '.join(lower)}])"
    if op == "contains":
        return f"strpos({subject}, {lower[0]}) > 0"
    if op == "starts_with":
        return f"starts_with({subject}, {lower[0]})"
    if op == "ends_with":
        return f"right({subject}, length({lower[0]})) = {lower[0]}"
    return f"{subject} = {lower[0]}"
