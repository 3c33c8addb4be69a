"""What a condition is made with: the values that it takes in, and how it asks other tables."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(kw_only=True)
class Making:
    """Bind values as they come up.

    Attributes:
        now: What distances are counted from, and when flags end.
        prefix: Begins the names of the values.
        by_person: Each look-up in another table stays a probe for one person.
    """

    now: datetime
    prefix: str
    by_person: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, sql_type: str) -> str:  # noqa: ANN401 - of that type
        """Take a value in, and return how the SQL names it."""
        name = f"{self.prefix}_{len(self.values)}"
        self.values[name] = value
        return f"CAST(:{name} AS {sql_type})"

    def exists(self, rows: str) -> str:
        """Ask whether there are rows, given as what follows FROM.

        The planner makes a join of a sub-select, but not of one with an OFFSET.
        """
        each = " OFFSET 0" if self.by_person else ""
        return f"EXISTS (SELECT 1 FROM {rows}{each})"  # noqa: S608 - constants and bind names
