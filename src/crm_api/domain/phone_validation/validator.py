"""What a validator of numbers is: asked about one number, it says what kind of line that is."""

from dataclasses import dataclass
from typing import Protocol

from crm_api.domain.phone_validation.models import LineType


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a validator says of a number; ``unknown`` when it cannot tell."""

    line_type: LineType
    carrier: str | None = None


class Validator(Protocol):
    """Tells line types.

    Attributes:
        source: Its name, kept beside each answer.
    """

    source: str

    async def look_up(self, phone: str) -> Answer:
        """Say what kind of line a number in E.164 is.

        Raises:
            PhoneLookupBusyError: It cannot be asked now; later may help.
            PhoneLookupRefusedError: It will not answer anybody until somebody puts that right.
            BudgetSpentError: No more may be asked today.
        """
