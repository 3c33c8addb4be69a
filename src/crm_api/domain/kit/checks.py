"""SQL fragments that the table definitions share."""

from collections.abc import Iterable


def one_of(column: str, values: Iterable[str]) -> str:
    """Return ``column IN ('a', 'b')`` for a CHECK or a partial index.

    The values come from a StrEnum in this code base, never from outside.
    """
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"
