"""HTTP route that changes many conversations."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.errors import MissingScopeError
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.office.inbox import bulk
from crm_api.domain.office.inbox.bulk import ConversationsChanged, ConversationsUpdate
from crm_api.domain.office.inbox.errors import DryRunNeededError, TooManyConversationsError
from crm_api.domain.office.inbox.search import select_found
from crm_api.domain.office.inbox.selection import InboxFilter
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/conversations", tags=["conversations"])
Writer = Annotated[Caller, require(Scope.MESSAGES_SEND)]


@router.post(
    "/bulk",
    status_code=202,
    response_model_exclude_unset=True,
    openapi_extra=fails_with(
        "dry_run_needed",
        "invalid_snooze",
        "invalid_states",
        "missing_scope",
        "too_many_conversations",
        "unknown_assignee",
        "unsearchable",
    ),
)
async def change_conversations(
    body: ConversationsUpdate, uow: Uow, call: ThisCall, caller: Writer
) -> ConversationsChanged:
    """Change state, assignee or tags of many conversations, selected by `ids` or by a filter.

    Make a dry run first. Then send the request again, with the `token` of the dry run. The second
    request is refused with 409 `dry_run_changed` if, after the dry run:

    - the selected conversations or their states changed,
    - a person began or ceased to wait for an answer,
    - a person sent a new message, made a call that was missed, or left a voicemail.
    """
    if not body.dry_run and body.token is None:
        raise DryRunNeededError
    if body.set.add_tag is not None and not caller.may(Scope.CONTACTS_WRITE):
        raise MissingScopeError(
            "A tag changes contacts, so `add_tag` needs the scope contacts:write, which the caller "
            "does not have. Leave `add_tag` out, or use a key or user with this scope.",
            required_scope=Scope.CONTACTS_WRITE.value,
        )
    terms = [] if body.filter is None else body.filter.terms()
    if terms and not caller.may(Scope.MESSAGES_READ):
        raise MissingScopeError(
            "The field `q` of the filter searches messages, so it needs the scope messages:read, "
            "which the caller does not have. Leave `q` out, or use a key or user with this scope.",
            required_scope=Scope.MESSAGES_READ.value,
        )
    caller_id = UUID(caller.id)
    requested = _wanted(body, caller_id)
    digest = 0

    async def act() -> ConversationsChanged:
        nonlocal digest
        now = await uow.database_now()
        wanted = requested
        if terms:
            with_names = caller.may(Scope.CONTACTS_READ)
            wanted = await select_found(uow, wanted, terms, with_names=with_names)
        found = await bulk.select_conversations(uow, wanted, caller_id=caller_id, now=now)
        digest = found.digest
        if body.dry_run:
            await bulk.check_change(uow, body.set, now=now)
        elif found.count <= bulk.MOST:
            await bulk.change_conversations(
                uow, body.set, wanted, caller_id=caller_id, actor=caller.name, now=now
            )
        return ConversationsChanged(count=found.count, counts={"conversations": found.count})

    async with uow:
        answer = await make_call(uow, call.by(caller), body, act, basis=lambda _: digest)
        if not body.dry_run and answer.count > bulk.MOST:
            raise TooManyConversationsError(bulk.MOST)
    return answer


def _wanted(body: ConversationsUpdate, caller_id: UUID) -> InboxFilter:
    """Return the filter that selects the conversations of a request."""
    if body.filter is None:
        return InboxFilter(ids=tuple(body.ids or ()))
    return body.filter.wanted(caller_id)
