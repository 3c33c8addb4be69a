"""Jobs of messaging: send queued messages, look up unclear messages, download media files.

A message is unclear if it is unknown whether the provider has sent it.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.media import fetching
from crm_api.domain.messaging.media import service as links
from crm_api.domain.messaging.media.download import Downloader
from crm_api.domain.messaging.media.fetching import ClaimedFetch, FetchResult
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import matching, queue, queued_claim, settle
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.matching import UnknownAttempt
from crm_api.domain.messaging.sends.queued_claim import MediaLink
from crm_api.domain.messaging.sends.settle import ListedMessage, LookUp
from crm_api.domain.messaging.waiting import derive_waiting_of_attempts
from crm_api.domain.provider.openphone.errors import OpenPhoneDownError
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform import clock, failpoints, instruments
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import guards
from crm_api.workers.deps import Deps, TimeLimit, deps_of
from crm_api.workers.guards import provider_read, wait_for_rate_limit

log = structlog.get_logger()

SWEEP = 500
"""The largest number of messages that one transaction releases after the end of their lease. A
lease is the time for which a worker has reserved a message."""
NEXT_SEND_SECONDS = 0.05
"""Seconds after which a job that has reached its time limit runs again."""
SCHEDULED_WITHIN = timedelta(minutes=1)
"""How far ahead the job ``send_messages`` looks for messages whose send time a user has chosen. If
such a message is due within this time, the job requests a run for the send time. Otherwise, the job
runs only every minute."""
LOOKS = 100
"""The largest number of unclear messages that one run looks up at the provider. A message is
unclear if it is unknown whether it was sent. The next run looks up the remaining messages."""


async def resolve_unknown_sends(ctx: dict[str, Any]) -> None:
    """End attempts that no worker finished in time, and look for unclear messages at the provider.

    A message is unclear if it is unknown whether the provider has sent it. While the clock of this
    machine is wrong, the job does nothing.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return
    limit = TimeLimit(deps)
    while True:
        async with deps.new_uow() as uow:
            swept = await settle.expire_leases(uow, limit=SWEEP, now=clock.now())
            await failpoints.reach("settle.leases_open")
        if swept < SWEEP or limit.is_over():
            break
    async with deps.new_uow() as uow:
        unknown = await matching.list_unknown_attempts(uow, limit=LOOKS)
    results = await _settle_all(deps, unknown, limit)
    async with deps.new_uow() as uow:
        await complete_finished_campaigns(uow, now=clock.now())
    await _come_back_for_leases(deps)
    if AttemptStatus.NOT_FOUND in results or swept:
        await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    if limit.is_over():
        await deps.queue.push(
            Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=NEXT_SEND_SECONDS)
        )
    elif AttemptStatus.UNKNOWN in results:
        delay = deps.times.look_gap.total_seconds() + 0.1
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))


async def _come_back_for_leases(deps: Deps) -> None:
    """Request a run of ``resolve_unknown_sends`` for the time when the next lease ends.

    A lease is the time for which a worker has reserved a message. If the message has no result when
    its lease ends, the worker may be dead.
    """
    async with deps.new_uow() as uow:
        ends_at = await settle.next_lease_end(uow)
    if ends_at is not None:
        delay = max(0.0, (ends_at - clock.now()).total_seconds()) + 0.5
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))


async def _settle_all(
    deps: Deps, unknown: Sequence[UnknownAttempt], limit: TimeLimit
) -> set[AttemptStatus]:
    lagging: dict[UUID, bool] = {}
    results: set[AttemptStatus] = set()
    for attempt in unknown:
        if limit.is_over() or not await guards.clock_agrees(deps):
            break
        try:
            if attempt.line_id not in lagging:
                lagging[attempt.line_id] = await _list_lags(deps, attempt)
            look = await _look_up(deps, attempt, list_lags=lagging[attempt.line_id])
        except OpenPhoneDownError:
            # The provider is down, so this run ends. The next run begins with the same messages.
            break
        except CrmError as error:
            # The look-up failed, so the result of the attempt is still unknown. The next run looks
            # the attempt up again.
            log.warning(
                "look-up of a message at the provider failed",
                attempt=str(attempt.id),
                error=error.code,
            )
            async with deps.new_uow() as uow:
                await settle.postpone_look_up(uow, attempt, now=clock.now())
            results.add(AttemptStatus.UNKNOWN)
            continue
        await failpoints.reach("settle.looked_up")
        async with deps.new_uow() as uow:
            status = await settle.conclude_look_up(
                uow, attempt, look, times=deps.times, now=clock.now()
            )
            await failpoints.reach("settle.open")
        await failpoints.reach("settle.committed")
        log.info(
            "looked up the unknown result of a message at the provider",
            attempt=str(attempt.id),
            status=status.value,
        )
        instruments.SETTLED.labels(status.value).inc()
        results.add(status)
    return results


async def _look_up(deps: Deps, attempt: UnknownAttempt, *, list_lags: bool) -> LookUp:
    async with provider_read(deps):
        begun_at = await wait_for_rate_limit(deps)
        messages = [
            facts
            async for facts in deps.provider.list_messages(
                phone_number_id=attempt.phone_number_id,
                participant=attempt.phone,
                created_after=attempt.called_at - deps.times.skew,
                created_before=attempt.called_at + deps.times.grace,
            )
        ]
    return LookUp(begun_at=begun_at, messages=messages, list_lags=list_lags)


async def _list_lags(deps: Deps, attempt: UnknownAttempt) -> bool:
    """Return True if the provider's message list may be out of date.

    The list is checked for a message that it should show by now (``ARCHITECTURE.md``, "Sending,
    rule 7"). If the message is missing, raise an alert and return True. If the list cannot be read,
    return True. If there is no message to check, return False.

    Raises:
        OpenPhoneDownError: The circuit breaker is open, so the list is not read.
    """
    async with deps.new_uow() as uow:
        canary = await settle.find_canary(
            uow, line_id=attempt.line_id, times=deps.times, now=clock.now()
        )
    if canary is None:
        return False
    try:
        async with provider_read(deps):
            await wait_for_rate_limit(deps)
            listed = await _find_listed(deps, attempt.phone_number_id, canary)
        if listed is not None:
            await _learn_user(deps, attempt.line_id, listed)
            return False
    except OpenPhoneDownError:
        raise
    except CrmError:
        return True
    async with deps.new_uow() as uow:
        await alerts.raise_alert(
            uow,
            kind=AlertKind.PROVIDER_LIST_LAGS,
            subject=str(attempt.line_id),
            detail="OpenPhone's message list does not show a message that OpenPhone accepted "
            "minutes ago. Until the list shows it, unclear messages are not sent again. No action "
            "is needed. If this lasts for hours, contact OpenPhone's support.",
            now=clock.now(),
        )
    return True


async def _learn_user(deps: Deps, line_id: UUID, ours: MessageFacts) -> None:
    """Store which user account at the provider sends our messages on this line.

    ``ours`` is a message that this service sent on the line.
    """
    if ours.user_id is not None:
        async with deps.new_uow() as uow:
            await matching.learn_own_user(uow, line_id=line_id, user_id=ours.user_id)


async def _find_listed(
    deps: Deps, phone_number_id: str, canary: ListedMessage
) -> MessageFacts | None:
    found: list[MessageFacts] = [
        facts
        async for facts in deps.provider.list_messages(
            phone_number_id=phone_number_id,
            participant=canary.phone,
            created_after=canary.accepted_at - deps.times.skew,
            created_before=canary.accepted_at + deps.times.skew,
        )
    ]
    return next(
        (facts for facts in found if facts.provider_message_id == canary.provider_message_id), None
    )


async def send_messages(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Send queued messages that belong to no campaign, such as manual messages and HELP replies.

    The job requests its next run in these cases:

    - The time limit or a pause of the jobs has ended the run.
    - A message with a chosen send time is due within a minute.

    Returns:
        The counts of the run for the log; None if no message was claimed.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return None
    limit = TimeLimit(deps)
    is_cut_short = False

    async def claim_more(size: int) -> list[ClaimedAttempt]:
        nonlocal is_cut_short
        if limit.is_over():
            is_cut_short = True
            return []
        async with deps.new_uow() as uow:
            claimed = await queued_claim.claim_queued(
                uow,
                limit=size,
                times=deps.times,
                rules=deps.rules,
                media_link=_media_link(deps) if deps.settings.sends_media else None,
                now=clock.now(),
            )
        await _end_waiting(deps, claimed)
        return claimed

    dispatcher = Dispatcher(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        times=deps.times,
        now=clock.now,
        circuit=deps.circuit,
    )
    with deps.stopped_by(dispatcher.stop):
        tally = await dispatcher.run(claim_more)
    if tally.provider_skew:
        await guards.report_provider_skew(deps, tally.provider_skew)
    if tally.answers.get(ResponseKind.UNCLEAR):
        delay = deps.times.look_gap.total_seconds()
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
    if (is_cut_short or tally.is_interrupted) and not deps.is_stopping:
        await deps.queue.push(Job(name=JobName.SEND_MESSAGES, delay_seconds=NEXT_SEND_SECONDS))
    elif not deps.is_stopping:
        await _come_back_for_scheduled(deps)
    return {"did": str(tally)} if tally.claimed else None


async def _end_waiting(deps: Deps, claimed: Sequence[ClaimedAttempt]) -> None:
    """Record that people no longer wait for an answer, because messages to them are being sent.

    This function handles only messages with a chosen send time. The update needs its own
    transaction, because a conversation must be locked before its messages, but the claim of
    messages locks the messages first. If the worker dies after the claim and before this update,
    the conversation is updated when the delivery report arrives.
    """
    leaving = [one.attempt_id for one in claimed if one.is_scheduled]
    if leaving:
        async with deps.new_uow() as uow:
            await derive_waiting_of_attempts(uow.session, leaving, now=clock.now())


def _media_link(deps: Deps) -> MediaLink:
    """Return the function that makes signed links, with which the provider downloads files."""

    def link_to(media_id: UUID) -> str:
        url, _ = links.make_media_link(
            deps.secret,
            media_id=media_id,
            base_url=deps.settings.public_base_url,
            seconds=links.LONGEST_SECONDS,
            now=clock.now(),
        )
        return url

    return link_to


async def _come_back_for_scheduled(deps: Deps) -> None:
    async with deps.new_uow() as uow:
        due = await queue.next_scheduled(uow, within=SCHEDULED_WITHIN, now=clock.now())
    if due is not None:
        delay = max(0.0, (due - clock.now()).total_seconds())
        await deps.queue.push(Job(name=JobName.SEND_MESSAGES, delay_seconds=delay))


AT_ONCE = 8
"""The largest number of parallel downloads. Parallel downloads save time, because each download
mostly waits for another host."""
NEXT_FETCH_SECONDS = 0.5
"""Seconds after which a download job that has reached its time limit runs again."""


async def fetch_media(ctx: dict[str, Any]) -> None:
    """Download due media files, several at a time, until none is due or the time limit is reached.

    If the time limit is reached, the job requests its next run. Two runs at the same time are safe.
    """
    deps = deps_of(ctx)
    store = MediaStore.from_settings(deps.settings)
    limit = TimeLimit(deps)
    async with Downloader.from_settings(deps.settings) as downloader:
        while not limit.is_over():
            async with deps.new_uow() as uow:
                claimed = await fetching.claim_fetches(uow, limit=AT_ONCE, now=clock.now())
            if not claimed:
                return
            async with asyncio.TaskGroup() as tasks:
                started = [
                    tasks.create_task(_fetch_one(one, downloader=downloader, store=store))
                    for one in claimed
                ]
                # The result of each download is recorded as soon as it is known, so that a slow
                # host does not delay the results of other downloads.
                for ended in asyncio.as_completed(started):
                    one, outcome = await ended
                    async with deps.new_uow() as uow:
                        await fetching.record_fetch(uow, one, outcome, now=clock.now())
    await deps.queue.push(Job(name=JobName.FETCH_MEDIA, delay_seconds=NEXT_FETCH_SECONDS))


async def _fetch_one(
    claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore
) -> tuple[ClaimedFetch, FetchResult]:
    return claimed, await fetching.fetch_file(claimed, downloader=downloader, store=store)
