"""SQL expressions about conversations that wait for an answer, and about what a user has read.

In the expressions, ``c`` is a conversation and ``w.user_id`` a user.
"""

WAITING_SINCE = "c.waiting_since"
"""The time of the first message or call that waits for an answer."""

LAST_HEARD = "greatest(c.waiting_since, c.last_incoming_at)"
"""The time of the last message or call that waits for an answer."""

WAITS = "(c.state = 'waiting' AND c.waiting_since IS NOT NULL)"
"""Condition that the conversation waits for an answer, and is not snoozed."""

IS_FOR_USER = "(c.assignee_id = w.user_id OR c.assignee_id IS NULL)"
"""Condition that the conversation is assigned to the user, or to nobody."""

READ_UNTIL = """coalesce((
    SELECT r.read_until FROM conversation_read r
    WHERE r.caller_id = CAST({user_id} AS text) AND r.conversation_id = {conversation_id}
), '-infinity')"""
"""Until when the user ``{user_id}`` has read the conversation ``{conversation_id}``."""
