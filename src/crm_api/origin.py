"""The request that a transaction belongs to, as the audit log tells of it."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Origin:
    """A request that changes something; filled in as it becomes known.

    Attributes:
        request_id: As its answer has it.
        address: Where it came from.
        operation: Its operationId.
        route: Method and path, with the names of the ids instead of the ids.
        ids: The ids of its path by their names; no free text.
        actor: The name of the key, or the user's e-mail address.
        actor_id: Of the key or the user.
    """

    request_id: str
    address: str
    operation: str = ""
    route: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    actor: str = ""
    actor_id: str | None = None
