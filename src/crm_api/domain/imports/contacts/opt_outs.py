"""Find the columns of a file that say who must not get messages, and read their cells.

Such a column can only stop messages. A "no" or an empty cell has no effect. A cell that is neither
a yes nor a no puts the phone number on hold until a user decides.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

CONSENT = "consent."
"""Prefix of fields that set a flag on a number, such as ``consent.opted_out``."""
OPTED_OUT = f"{CONSENT}opted_out"
DO_NOT_CONTACT = f"{CONSENT}do_not_contact"
CONSENT_FIELDS = frozenset({OPTED_OUT, DO_NOT_CONTACT})

_NOT_A_FLAG = re.compile(
    r"email|correo|fax|postal|reason|motivo|source|fuente|link|url|notes?$|method|channel"
    r"|(?<!ac)count(?!r?y)|by$|(?<!not)(?<!text)(?<!sms)message$|keyword"
)
"""Regular expression for names of columns that are about an opt-out, but do not say whether the
person opted out of messages.

Examples are the reason for the opt-out, and an opt-out from e-mail.
"""
_OPTED_OUT_NAMES = re.compile(
    r"opt(?:ed|s|ing)?out|unsubscri|don(?:o)?t(?:text|sms|message)|notext(?:s|ing)?$|nosms$|^dnt$"
    r"|^stop(?:ped|texts?|texting|sms)?(?:date|at|on|status|flag|list)?$"
    r"|da(?:do|da|r)(?:se)?debaja|^(?:fecha(?:de)?)?baja$|cancel(?:o|ad[oa])?(?:la)?suscripcion"
    r"|suscripcioncancelada|nomensajes|no(?:enviar|mandar)|notextear"
)
_DO_NOT_CONTACT_NAMES = re.compile(
    r"dono?t(?:contact|call|disturb|solicit|phone)|^dnc|dnc(?:flag|status|list|registry)?$"
    r"|dnc\d$|^dnd$|^nocontact(?:ar|o|flag)?$|nollam(?:ar|e)|nomolest(?:ar|e)"
    r"|listanegra|^blacklist(?:ed)?$"
)
_YES_WORDS = """
yes y true t 1 1.0 x on si s verdadero ✓ ✔ ☑ checked optedout optout unsubscribed unsubscribe stop
stopped stopall dnc donotcontact donotcall donottext dontcontact blocked blacklisted removed remove
baja dadodebaja dadadebaja nocontactar nollamar nomolestar cancelado cancelada suppressed revoked
listed registered
"""
_NO_WORDS = """
no n false f 0 0.0 off falso none null nil na nan - -- unchecked notoptedout optedin optin
subscribed notlisted notondnc clean clear 00000000 00000000000000 ningun ninguno
"""
_YES = frozenset(_YES_WORDS.split())
_NO = frozenset((*_NO_WORDS.split(), "\u2013", "\u2014"))
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?: .*)?"
    r"|\d{1,2}\.? ?(?:de )?[a-zà-ÿ]{3,12}\.?,? (?:de )?\d{4}(?: .*)?"
    r"|[a-zà-ÿ]{3,12}\.?(?: \d{1,2}(?:st|nd|rd|th)?,?)? \d{4}(?: .*)?",
    re.IGNORECASE,
)
_ZERO_DATE = re.compile(r"[0:/.\- ]+(?:T[0:.]+)?")
_DAY_NUMBER = re.compile(r"[2-6]\d{4}(?:\.\d+)?")
"""A date from 1954 to 2091 as a spreadsheet stores it: the number of days since the end of 1899."""
_NAMES_A_DATE = re.compile(r"date|fecha|at$|on$")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutRow:
    """A cell that forbids, or perhaps forbids, messages to one person.

    Attributes:
        phones: All phone numbers of the person. The first one is the number of the contact.
        column: The name of the column.
        value: The text of the cell.
        is_do_not_contact: True if the column forbids every kind of contact; False if it forbids
            only messages.
        is_clear: True if the cell is a yes; False if it is neither a yes nor a no.
    """

    line: int
    phones: list[str]
    column: str
    value: str
    is_do_not_contact: bool
    is_clear: bool


def consent_field(column: str) -> str | None:
    """Find out from a column's name whether the column says who must not get messages.

    Returns:
        ``DO_NOT_CONTACT`` or ``OPTED_OUT`` for such a column; None for any other column.
    """
    key = _key(column)
    if _NOT_A_FLAG.search(key):
        return None
    if _DO_NOT_CONTACT_NAMES.search(key):
        return DO_NOT_CONTACT
    return OPTED_OUT if _OPTED_OUT_NAMES.search(key) else None


def read_answer(text: str, *, column: str) -> bool | None:
    """Read one cell of a consent column, which says who must not get messages.

    A date counts as a yes: it is the day of the opt-out. A cell that contains the name of its
    column counts as a yes too.

    Returns:
        True for a yes, which stops messages. False for a no or a blank cell. None for any other
        text.
    """
    squeezed = " ".join(text.split())
    key = _key(squeezed)
    if not squeezed or squeezed.casefold() in _NO or (key and key in _NO):
        return False
    if _ZERO_DATE.fullmatch(squeezed):
        # A date that consists only of zeros, such as 0000-00-00, means that there is no opt-out.
        return False
    if squeezed.casefold() in _YES or key in _YES or key == _key(column):
        return True
    if _DATE.fullmatch(squeezed):
        return True
    is_day = _DAY_NUMBER.fullmatch(squeezed) and _NAMES_A_DATE.search(_key(column))
    return True if is_day else None


def is_yes_or_no(column: str) -> Callable[[str], bool]:
    """Return a function that checks whether a cell contains a clear yes or a clear no.

    A blank cell counts as a no.

    Args:
        column: The name of the consent column of the cell.
    """
    return lambda value: read_answer(value, column=column) is not None


def _key(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[^a-z0-9]+", "", folded)
