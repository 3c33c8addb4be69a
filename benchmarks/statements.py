"""Count the SQL statements that an engine sends, by the names that they have in the code."""

import sys
from collections import Counter
from typing import Any

from sqlalchemy import ClauseElement, event
from sqlalchemy.ext.asyncio import AsyncEngine

PACKAGE = "crm_api.domain."


class StatementCounter:
    """Counts SQL statements from its creation on.

    A statement without a name in the code is counted by its first two words.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.counts: Counter[str] = Counter()
        self._engine = engine
        self._names = _names_of_built(engine)
        event.listen(engine.sync_engine, "before_cursor_execute", self._note)

    def close(self) -> None:
        """Stop counting."""
        event.remove(self._engine.sync_engine, "before_cursor_execute", self._note)

    def clear(self) -> None:
        """Set all counts to zero."""
        self.counts.clear()

    def _note(self, *given: Any) -> None:  # noqa: ANN401 - the event's own signature
        statement: str = given[2]
        name = self._names.get(statement) or " ".join(statement.split()[:2]).lower()
        self.counts[name] += 1


def _names_of_built(engine: AsyncEngine) -> dict[str, str]:
    """For the SQL text of each statement that a module defines at import, return its name."""
    names: dict[str, str] = {}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith(PACKAGE):
            continue
        for name, value in vars(module).items():
            if isinstance(value, ClauseElement) and name.isupper():
                compiled = str(value.compile(dialect=engine.dialect))
                names.setdefault(compiled, name.lower())
    return names
