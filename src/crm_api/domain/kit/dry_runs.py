"""Dry runs: carry out a request, count its effects, and roll it back.

The response has a token, which the client may send with the real request. The real request is then
refused if its counts differ from those of the dry run. The token is encrypted and not stored. It is
valid for one caller and one request.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import ConfigDict, Field, StrictBool

from crm_api.domain.kit.errors import ConflictError, Example
from crm_api.domain.kit.schemas import ReadModel, RequestModel
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import UnsealError, seal, unseal

VALID_FOR = timedelta(minutes=30)
"""How long the token of a dry run is valid.

This is enough time to read the counts that the dry run returned. The data hardly changes during
this time.
"""
_ABOUT = "dry run"
_LONGEST = 400


class DryRunTokenError(ConflictError):
    """The token is not from a dry run of the same request by the same caller."""

    code = "dry_run_token_unknown"
    title = "Token is from another dry run"
    detail = (
        "This token is not from a dry run of this request by this caller. Make a dry run of "
        "the same request, and send the token that it returns."
    )


class DryRunExpiredError(ConflictError):
    """The dry run is older than 30 minutes, so its token is no longer valid."""

    code = "dry_run_expired"
    title = "Dry run has expired"
    example = Example("The dry run is older than 30 minutes. Repeat it and send its new token.")


class DryRunChangedError(ConflictError):
    """The request would make other changes now than in its dry run, so nothing was done."""

    code = "dry_run_changed"
    title = "Counts have changed since the dry run"
    detail = (
        "The counts have changed since the dry run, so nothing was done. Repeat the dry run and "
        "check its new counts."
    )


class DryRunRequest(RequestModel):
    """The fields of every request that supports dry runs.

    A dry run only counts what the request would change.
    """

    dry_run: StrictBool = Field(
        default=False, description="True: count what the request would change, and change nothing."
    )
    token: Annotated[str, Field(min_length=1, max_length=_LONGEST)] | None = Field(
        default=None,
        description="The token from the response to a dry run of the same request. The request is "
        "carried out only if its counts are still the same; otherwise the response is 409 "
        "`dry_run_changed`.",
    )

    def content(self) -> Any:  # noqa: ANN401 - JSON
        """Return the fields of the request as JSON values, without ``dry_run`` and ``token``."""
        return self.model_dump(
            mode="json", exclude_unset=True, exclude={"dry_run", "token"}, warnings=False
        )


class DryRunRead(ReadModel):
    """The fields that only the response to a dry run has.

    In other responses they are unset, and routes leave out unset fields.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    dry_run: bool = Field(
        default=False,
        description="True: this is the response to a dry run, and nothing was changed.",
    )
    counts: dict[str, int] = Field(
        default_factory=dict,
        description="Only in the response to a dry run: the number of changes of each kind that "
        "the request would make.",
    )
    token: str | None = Field(
        default=None,
        description="Only in the response to a dry run: a token to send with the real request. It "
        "is valid for 30 minutes, and only while the counts stay the same.",
    )


AnswerT = TypeVar("AnswerT", bound=DryRunRead)


@dataclass(frozen=True, kw_only=True)
class Call:
    """An API request to a route that supports dry runs.

    Attributes:
        name: The method and the path, such as ``POST /v1/lists/{id}/members`` with the real id.
        caller_id: The user or API key that sent the request. A token is valid only for this caller.
        secret: The secret key that encrypts tokens.
        now: The time by the clock of this machine. It decides when tokens expire.
    """

    name: str
    caller_id: str
    secret: bytes
    now: datetime


async def make_call(
    uow: UnitOfWork,
    call: Call,
    body: DryRunRequest,
    act: Callable[[], Awaitable[AnswerT]],
    *,
    basis: Callable[[AnswerT], Any] | None = None,
) -> AnswerT:
    """Carry out an API request, or do a dry run of it.

    A dry run is rolled back, and its response has a token. If the real request has the token, its
    response must have the same ``counts`` as the response of the dry run.

    Args:
        act: Carries out the request in the open transaction, and returns the response.
        basis: Returns a value that must also be the same for the dry run and the real request; None
            if only ``counts`` are compared.

    Raises:
        DryRunTokenError: The token belongs to another request or another caller.
        DryRunExpiredError: The token is too old.
        DryRunChangedError: The real request made other changes than the dry run. The caller must
            roll back the transaction.
    """
    bound = _digest([call.name, call.caller_id, body.content()])
    if body.dry_run:
        async with uow.rehearsal():
            answer = await act()
        counted = _counted(answer, basis)
        token = sign(call, bound=bound, counted=counted)
        return answer.model_copy(update={"dry_run": True, "token": token})
    expected = None if body.token is None else open_token(call, body.token, bound=bound)
    answer = await act()
    if expected is not None and _counted(answer, basis) != expected:
        raise DryRunChangedError(counts=dict(answer.counts))
    answer.model_fields_set.discard("counts")
    return answer


def _counted(answer: AnswerT, basis: Callable[[AnswerT], Any] | None) -> str:
    return _digest([dict(answer.counts), None if basis is None else basis(answer)])


def sign(call: Call, *, bound: str, counted: str) -> str:
    """Return the encrypted token of a dry run, with two digests and a time of expiry.

    Args:
        call: The request of the dry run.
        bound: The digest of the method, path, caller and fields of the request.
        counted: The digest of the counts in the response, and of the value of ``basis`` (see
            ``make_call``).
    """
    expires_at = int((call.now + VALID_FOR).timestamp())
    text = f"{expires_at}.{bound}.{counted}"
    return base64.urlsafe_b64encode(seal(text, secret=call.secret, about=_ABOUT)).decode()


def open_token(call: Call, token: str, *, bound: str) -> str:
    """Check the token of a dry run; return the digest of the counts from the token.

    Args:
        call: The real request.
        bound: The digest of the method, path, caller and fields of the real request.

    Raises:
        DryRunTokenError: The token is not from a dry run of this request by this caller.
        DryRunExpiredError: The token is too old.
    """
    unknown = DryRunTokenError()
    try:
        sealed = base64.urlsafe_b64decode(token.encode("ascii"))
        expires_at, bound_then, counted = unseal(sealed, secret=call.secret, about=_ABOUT).split(
            "."
        )
    except (UnsealError, UnicodeError, binascii.Error, ValueError) as error:
        raise unknown from error
    if bound_then != bound:
        raise unknown
    if call.now.timestamp() >= int(expires_at):
        raise DryRunExpiredError(
            f"The dry run is older than {VALID_FOR.seconds // 60} minutes. Repeat it and "
            "send its new token."
        )
    return counted


def _digest(content: object) -> str:
    written = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return sha256(written).hexdigest()[:32]
