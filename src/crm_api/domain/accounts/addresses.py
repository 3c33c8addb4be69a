"""E-mail addresses that people sign in with: one way of writing each, that shows what it is.

Two addresses that look alike must not be two users, nor one be two for being written in two ways.
So what only looks like a letter is made that letter (NFKC: full-width letters, ligatures); before
the ``@`` stands ASCII, as mail servers take it everywhere; a host of other letters is kept as it is
looked up (``xn--…``), so that a Cyrillic letter in it is seen. Case makes no difference
(``queries``).
"""

import unicodedata
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def read_address(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Read an address; what comes back is written as it is kept.

    Raises:
        PydanticCustomError: It is none, or not in plain letters before the ``@``.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Give the e-mail address as text.")
    try:
        found = validate_email(
            unicodedata.normalize("NFKC", value.strip()),
            check_deliverability=False,
            allow_smtputf8=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise PydanticCustomError("invalid_email", "{detail}", {"detail": str(error)}) from error
    return found.ascii_email or found.normalized


def as_kept(text: str) -> str:
    """Write an address as it is kept; what is none stays as it is, and is nobody's."""
    try:
        return read_address(text)
    except PydanticCustomError:
        return text.strip()


SignInAddress = Annotated[
    str, BeforeValidator(read_address), WithJsonSchema({"type": "string", "format": "email"})
]
"""An address that somebody signs in with."""
