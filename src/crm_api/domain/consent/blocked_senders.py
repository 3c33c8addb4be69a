"""The flag ``blocked_sender``: messages and calls from the number need no answer."""

from crm_api.domain.consent.models import FlagType

_IS_BLOCKED = f"""EXISTS (
    SELECT 1 FROM contact_flag blocking
    WHERE blocking.phone = {{phone}} AND blocking.flag_type = '{FlagType.BLOCKED_SENDER}'
      AND (blocking.expires_at IS NULL OR blocking.expires_at > CAST(:now AS timestamptz)))"""


def is_blocked_sender(*, phone: str) -> str:
    """Return an SQL condition that is true while a phone number has the flag ``blocked_sender``.

    Messages and calls from such a number need no answer: their conversation does not wait, and they
    cause neither a notice nor an away reply.

    Args:
        phone: The SQL expression of the phone number.
    """
    return _IS_BLOCKED.format(phone=phone)
