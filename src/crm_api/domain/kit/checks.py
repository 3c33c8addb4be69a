"""SQL expressions that several table definitions use."""

from collections.abc import Iterable


def one_of(column: str, values: Iterable[str]) -> str:
    """Return ``column IN ('a', 'b')`` for a CHECK or a partial index.

    The values are not escaped, so they must come from a StrEnum of this code, not from a request.
    """
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"
