"""Register and rotate the four legacy webhooks, one per family of event types.

The provider cannot change a legacy webhook. So a change creates a new webhook and deletes the old
one.
"""

from collections.abc import Sequence

from crm_api.domain.inbound.webhook_setup import keys as key_store
from crm_api.domain.inbound.webhook_setup.comparing import BY_PLAN, Fault, OurWebhook, Registration
from crm_api.domain.inbound.webhook_setup.errors import KeyNotShownError
from crm_api.domain.inbound.webhook_setup.webhook_address import (
    FEWER_EVENTS_MAY_DO,
    LABEL,
    WebhookAddress,
)
from crm_api.domain.provider.openphone.errors import OpenPhoneRefusedError
from crm_api.domain.provider.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.provider.openphone.signature import SignatureScheme


async def register(place: WebhookAddress, found: Registration) -> list[str]:
    """Create, adopt or replace the webhook of each family; return one sentence per family."""
    done: list[str] = []
    for family, events in LEGACY_FAMILIES.items():
        ours = _of_family(found, events)
        sound = [one for one in ours if not one.faults - {Fault.KEY_UNKNOWN}]
        if sound:
            done.append(await _adopt(place, sound[0], family))
        else:
            done.append(await _try_family(place, family, events, ours))
    return done


async def rotate(place: WebhookAddress, found: Registration) -> list[str]:
    """Replace each legacy webhook, because the provider creates a key only for a new webhook.

    Return one sentence per replaced family.
    """
    return [
        await _replace(place, family, events, ours)
        for family, events in LEGACY_FAMILIES.items()
        if (ours := _of_family(found, events))
    ]


def _of_family(found: Registration, events: frozenset[str]) -> list[OurWebhook]:
    return [
        one for one in found.of(SignatureScheme.LEGACY) if events.intersection(one.webhook.events)
    ]


async def _adopt(place: WebhookAddress, one: OurWebhook, family: str) -> str:
    name = f"Legacy webhook {one.webhook.webhook_id} ({family})"
    if Fault.KEY_UNKNOWN not in one.faults:
        return f"{name} needs no change."
    if one.webhook.key is None:
        return await _replace(place, family, LEGACY_FAMILIES[family], [one])
    await place.save_key(one.webhook.webhook_id, SignatureScheme.LEGACY, one.webhook.key)
    await place.audit("adopt_webhook", one.webhook.webhook_id)
    return f"Adopted {name[0].lower()}{name[1:]}; its key is saved."


async def _try_family(
    place: WebhookAddress, family: str, events: frozenset[str], old: Sequence[OurWebhook]
) -> str:
    """Register the webhook of a family; return a sentence about the result.

    The provider may refuse a family that only some plans have. This raises no error: the sentence
    then says that the family is not registered.
    """
    try:
        return await _replace(place, family, events, old)
    except OpenPhoneRefusedError as error:
        if error.status not in FEWER_EVENTS_MAY_DO or not events <= BY_PLAN:
            raise
        return f"Not registered: {family}, because the provider refuses it ({error.detail})"


async def _replace(
    place: WebhookAddress, family: str, events: frozenset[str], old: Sequence[OurWebhook]
) -> str:
    """Create a new webhook, then delete the old ones, so that no event is lost in between."""
    made = await place.hooks.create_legacy(
        family=family, url=place.url, events=sorted(events), label=LABEL
    )
    if made.key is None:
        raise KeyNotShownError(
            f"The provider created webhook {made.webhook_id} but did not return its key. Delete "
            "the webhook at the provider, create one in the provider's app, and copy its key into "
            "CRM_OPENPHONE_WEBHOOK_SECRETS."
        )
    await place.save_key(made.webhook_id, SignatureScheme.LEGACY, made.key)
    for one in old:
        await place.hooks.delete(one.webhook.webhook_id, is_dated=False)
    gone = [one.webhook.webhook_id for one in old]
    async with place.new_uow() as uow:
        await key_store.retire_keys(uow, webhook_ids=gone, now=place.now())
    await place.audit("register_webhook", made.webhook_id, replaced=gone)
    instead = f" instead of {', '.join(gone)}" if gone else ""
    return f"Registered legacy webhook {made.webhook_id} ({family}){instead}; its key is saved."
