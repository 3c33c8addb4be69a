"""The validator that asks nobody: the numbering plans, as the `phonenumbers` package has them."""

import phonenumbers
from phonenumbers import PhoneNumberType

from crm_api.domain.phone_validation.models import LineType
from crm_api.domain.phone_validation.validator import Answer

# In the United States and Canada a number tells nothing about whether it is a mobile one, and may
# be carried over from one to the other: the plan itself says "fixed line or mobile".
_LINE_TYPES = {
    PhoneNumberType.MOBILE: LineType.MOBILE,
    PhoneNumberType.FIXED_LINE: LineType.LANDLINE,
    PhoneNumberType.VOIP: LineType.VOIP,
    PhoneNumberType.TOLL_FREE: LineType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: LineType.PREMIUM,
}
_UNKNOWN = Answer(line_type=LineType.UNKNOWN)


class OfflineValidator:
    """Knows toll-free and premium numbers, some VoIP ranges, and other countries' plans."""

    source = "offline"

    async def look_up(self, phone: str) -> Answer:
        """Say what the number's range tells; for most American numbers that is ``unknown``."""
        try:
            number = phonenumbers.parse(phone)
        except phonenumbers.NumberParseException:
            return _UNKNOWN
        known = _LINE_TYPES.get(phonenumbers.number_type(number))
        return _UNKNOWN if known is None else Answer(line_type=known)
