"""Dry runs: make a call, count its effects and undo it; its token allows the real call.

The token is sealed under the secret key and is not stored. It is bound to the caller, the call and
its content, and it holds a digest of the counts. The real call with the token counts again, and is
refused if the counts differ.
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

from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.kit.schemas import ReadModel, RequestModel
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import UnsealError, seal, unseal

VALID_FOR = timedelta(minutes=30)
"""Long enough to read the counts, short enough that the data has hardly changed."""
_ABOUT = "dry run"
_LONGEST = 400


class DryRunTokenError(ConflictError):
    """The token does not belong to a dry run of this call, with this content, by this caller."""

    code = "dry_run_token_unknown"
    title = "Token of another dry run"


class DryRunExpiredError(ConflictError):
    """The dry run was made too long ago."""

    code = "dry_run_expired"
    title = "Dry run has expired"


class DryRunChangedError(ConflictError):
    """The counts have changed since the dry run; nothing was done."""

    code = "dry_run_changed"
    title = "Counts have changed since the dry run"


class DryRunRequest(RequestModel):
    """A request for a call that supports dry runs."""

    dry_run: StrictBool = Field(
        default=False, description="Count what would happen, and change nothing."
    )
    token: Annotated[str, Field(min_length=1, max_length=_LONGEST)] | None = Field(
        default=None,
        description="The token of a dry run of the same call. The call is made only if the counts "
        "are still the same; otherwise the answer is 409 `dry_run_changed`.",
    )

    def content(self) -> Any:  # noqa: ANN401 - JSON
        """Return the request as JSON, without the members about the dry run."""
        return self.model_dump(
            mode="json", exclude_unset=True, exclude={"dry_run", "token"}, warnings=False
        )


class DryRunRead(ReadModel):
    """An answer to a call that supports dry runs.

    Only the answer to a dry run has the members of this class: routes leave out unset members.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    dry_run: bool = Field(
        default=False, description="True if nothing was changed: this is what would happen."
    )
    counts: dict[str, int] = Field(
        default_factory=dict,
        description="Only in the answer to a dry run: how many of each kind would change.",
    )
    token: str | None = Field(
        default=None,
        description="Only in the answer to a dry run: allows the same call within 30 minutes, "
        "while the counts stay the same.",
    )


AnswerT = TypeVar("AnswerT", bound=DryRunRead)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that supports dry runs.

    Attributes:
        name: The operation, with the ids of its path.
        caller_id: The caller that the token is bound to.
        secret: The secret key that seals tokens.
        now: The machine's time; tokens expire by it.
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
    content: Any = None,  # noqa: ANN401 - JSON
    basis: Callable[[AnswerT], Any] | None = None,
) -> AnswerT:
    """Make a call; for a dry run, undo all its effects before returning.

    Args:
        act: Makes the call in the open transaction. Its answer has ``counts``.
        content: The content that the token is bound to; None: the body's own content.
        basis: Returns what must be the same at the real call, in addition to the counts.

    Raises:
        DryRunTokenError: The body's token belongs to another call.
        DryRunExpiredError: The token is too old.
        DryRunChangedError: The counts differ from those of the dry run; the caller rolls back.
    """
    bound = _digest([call.name, call.caller_id, body.content() if content is None else content])
    if body.dry_run:
        async with uow.rehearsal():
            answer = await act()
        counted = _counted(answer, basis)
        token = sign(call, bound=bound, counted=counted)
        return answer.model_copy(update={"dry_run": True, "token": token})
    expected = None if body.token is None else open_token(call, body.token, bound=bound)
    answer = await act()
    if expected is not None and _counted(answer, basis) != expected:
        raise DryRunChangedError(
            "What the dry run counted has changed since; nothing was done. Make the dry run again "
            "and look at its counts.",
            counts=dict(answer.counts),
        )
    answer.model_fields_set.discard("counts")
    return answer


def _counted(answer: AnswerT, basis: Callable[[AnswerT], Any] | None) -> str:
    return _digest([dict(answer.counts), None if basis is None else basis(answer)])


def sign(call: Call, *, bound: str, counted: str) -> str:
    """Return the token of a dry run.

    Args:
        bound: The digest of call, caller and content.
        counted: The digest of what was counted.
    """
    expires_at = int((call.now + VALID_FOR).timestamp())
    text = f"{expires_at}.{bound}.{counted}"
    return base64.urlsafe_b64encode(seal(text, secret=call.secret, about=_ABOUT)).decode()


def open_token(call: Call, token: str, *, bound: str) -> str:
    """Return the digest of what a dry run counted.

    Raises:
        DryRunTokenError: The token is not bound to this call and content.
        DryRunExpiredError: The token is too old.
    """
    unknown = DryRunTokenError(
        "This token is not of a dry run of this call with this content by this caller. Make the "
        "dry run with the same content and send its token."
    )
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
            f"The dry run is older than {VALID_FOR.seconds // 60} minutes. Make it again."
        )
    return counted


def _digest(content: object) -> str:
    written = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return sha256(written).hexdigest()[:32]
