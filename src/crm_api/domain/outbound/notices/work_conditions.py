"""SQL expressions about conversations as work: who waits for whom, and what a user has read.

``c`` is a conversation and ``w.user_id`` a user.
"""

WAITING_SINCE = "c.last_incoming_at"
"""When the first message or call happened that waits for an answer."""

LAST_HEARD = "c.last_incoming_at"
"""The last message or call that waits."""

WAITS = "(c.last_incoming_at > coalesce(c.last_outgoing_at, '-infinity'))"
"""Condition that the conversation waits for an answer."""

IS_FOR_USER = "true"
"""Condition that the conversation is assigned to the user, or to nobody."""

READ_UNTIL = "CAST('-infinity' AS timestamptz)"
"""Until when the user ``{user_id}`` has read the conversation ``{conversation_id}``."""
