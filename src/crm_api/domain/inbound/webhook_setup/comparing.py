"""Compare our webhooks at the provider with the webhooks that this service needs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from crm_api.domain.provider.openphone.facts import RegisteredWebhook
from crm_api.domain.provider.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.provider.openphone.signature import SignatureScheme, decode_key

NEEDED: Mapping[SignatureScheme, frozenset[str]] = {
    SignatureScheme.STANDARD: frozenset(
        (
            "message.received",
            "message.delivered",
            "message.failed",
            "message.undelivered",
            "call.ringing",
            "call.answered",
            "call.completed",
            "call.missed",
            "call.forwarded",
            "call.menu.selected",
            "call.recording.completed",
            "call.voicemail.completed",
        )
    ),
    SignatureScheme.LEGACY: LEGACY_FAMILIES["messages"] | LEGACY_FAMILIES["calls"],
}
"""Event types that this service needs, by signature scheme."""
BY_PLAN = frozenset(("call.summary.completed", "call.transcript.completed"))
"""Event types that are requested but not required, because only some plans have them."""
_TASK_EVENTS = (
    "created updated deleted completed reopened assigned unassigned overdue linked unlinked "
    "duedate.updated duedate.removed"
)
WELCOME = frozenset(
    (
        *BY_PLAN,
        "contact.updated",
        "contact.deleted",
        *(f"task.{name}" for name in _TASK_EVENTS.split()),
    )
)
"""Event types that are requested in addition, if the provider accepts them."""
_DEFAULT_PORTS = {"https": 443, "http": 80}
ALL_LINES = "*"


class Fault(StrEnum):
    """A fault of our webhook registration; each kind is repaired by one command."""

    MISSING = "missing"
    DISABLED = "disabled"
    EVENTS_MISSING = "events_missing"
    LINES_MISSING = "lines_missing"
    KEY_UNKNOWN = "key_unknown"


_REPAIRS = {
    Fault.MISSING: "crm-api webhooks register",
    Fault.DISABLED: "crm-api webhooks register",
    Fault.EVENTS_MISSING: "crm-api webhooks register",
    Fault.LINES_MISSING: "crm-api webhooks register",
    Fault.KEY_UNKNOWN: "crm-api webhooks rotate",
}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The signing keys with which this service checks webhook requests of the provider.

    Attributes:
        saved: The ids of the webhooks whose current key is in our database.
        accepted: All keys from the database and the settings, decoded to bytes.
        has_given: True if the settings contain keys; the webhooks of these keys are not known.
    """

    saved: frozenset[str]
    accepted: frozenset[bytes]
    has_given: bool


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault of our webhooks at the provider.

    Attributes:
        sentence: A description of the fault.
        repair: The command that repairs the fault.
    """

    fault: Fault
    sentence: str
    repair: str


@dataclass(frozen=True, kw_only=True)
class OurWebhook:
    """A webhook at the provider that points to our address, with its faults."""

    webhook: RegisteredWebhook
    scheme: SignatureScheme
    faults: frozenset[Fault]
    missing_events: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """All webhooks at the provider: those that point to our address, and the others.

    Attributes:
        url: Our address, at which events are received.
        ours: The webhooks that point to our address: those of API version 2026-03-30, and legacy
            webhooks.
        foreign: The webhooks that point to other addresses.
        dated_is_known: False if the provider supports only legacy webhooks, not API version
            2026-03-30.
    """

    url: str
    ours: tuple[OurWebhook, ...]
    foreign: tuple[RegisteredWebhook, ...]
    dated_is_known: bool = True

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The faults of our webhooks; empty if our webhooks deliver all needed events.

        If webhooks of API version 2026-03-30 point to our address, only these are examined.
        Otherwise the legacy webhooks are examined.
        """
        return tuple(_findings(self))

    def of(self, scheme: SignatureScheme) -> tuple[OurWebhook, ...]:
        """Return our webhooks whose events are signed with ``scheme``.

        The scheme of legacy webhooks is ``LEGACY``. The scheme of webhooks of API version
        2026-03-30 is ``STANDARD``.
        """
        return tuple(one for one in self.ours if one.scheme is scheme)


def compare(
    *,
    url: str,
    dated: Sequence[RegisteredWebhook] | None,
    legacy: Sequence[RegisteredWebhook],
    keys: Keys,
    line_ids: Collection[str] = (),
) -> Registration:
    """Compare the registered webhooks with the webhooks that this service needs.

    Args:
        url: Our address, at which events are received.
        dated: The webhooks of API version 2026-03-30; None if the provider does not support them.
        line_ids: The provider's ids of the lines whose events are needed. If empty, the lines are
            not compared.
    """
    listed = [
        *((SignatureScheme.STANDARD, one) for one in dated or ()),
        *((SignatureScheme.LEGACY, one) for one in legacy),
    ]
    ours = [
        _judge(one, scheme, keys=keys, line_ids=line_ids)
        for scheme, one in listed
        if is_same_address(one.url, url)
    ]
    foreign = tuple(one for _, one in listed if not is_same_address(one.url, url))
    return Registration(
        url=url, ours=tuple(ours), foreign=foreign, dated_is_known=dated is not None
    )


def is_same_address(one: str, other: str) -> bool:
    """Return whether two URLs are equivalent.

    A default port, a final slash and the query do not matter. Upper and lower case do not matter in
    the scheme and the host name.
    """
    return _place(one) == _place(other)


def wanted_events(webhook: RegisteredWebhook | None, *, offered: frozenset[str]) -> list[str]:
    """Return the event types to request for a webhook, sorted.

    Args:
        webhook: The existing webhook; its event types are kept. None for a new webhook.
        offered: The event types to add.
    """
    return sorted(offered.union(webhook.events if webhook is not None else ()))


def _place(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    try:
        port = parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        port = None
    return scheme, (parts.hostname or "").lower(), port, parts.path.rstrip("/")


def _judge(
    webhook: RegisteredWebhook,
    scheme: SignatureScheme,
    *,
    keys: Keys,
    line_ids: Collection[str],
) -> OurWebhook:
    missing = _of_its_kind(webhook, scheme) - set(webhook.events)
    faults = set()
    if webhook.status == "disabled":
        faults.add(Fault.DISABLED)
    if missing:
        faults.add(Fault.EVENTS_MISSING)
    resources = set(webhook.resource_ids)
    if resources and ALL_LINES not in resources and not resources.issuperset(line_ids):
        faults.add(Fault.LINES_MISSING)
    if not _is_key_known(webhook, keys):
        faults.add(Fault.KEY_UNKNOWN)
    return OurWebhook(
        webhook=webhook, scheme=scheme, faults=frozenset(faults), missing_events=frozenset(missing)
    )


def _of_its_kind(webhook: RegisteredWebhook, scheme: SignatureScheme) -> frozenset[str]:
    """Return those of the needed event types that this webhook must deliver.

    A webhook of API version 2026-03-30 must deliver all of them. A legacy webhook must deliver only
    those of its family (a group of event types, for example ``messages``).
    """
    if scheme is SignatureScheme.STANDARD:
        return NEEDED[scheme]
    families = (events for events in LEGACY_FAMILIES.values() if events & set(webhook.events))
    return NEEDED[scheme] & frozenset().union(*families)


def _is_key_known(webhook: RegisteredWebhook, keys: Keys) -> bool:
    if webhook.key is not None:
        try:
            return decode_key(webhook.key) in keys.accepted
        except ValueError:
            return False
    return webhook.webhook_id in keys.saved or keys.has_given


def _findings(found: Registration) -> Iterator[Finding]:
    """Yield the faults of our webhooks.

    The first case that applies decides:

    1. There are webhooks of API version 2026-03-30. If one of them has no fault, nothing is
       yielded. If not, the faults of the first webhook are yielded.
    2. There are legacy webhooks. If those without faults deliver all needed events, nothing is
       yielded. If not, all faults and the missing event types are yielded.
    3. No webhook points to our address. Only this fault is yielded.
    """
    dated, legacy = found.of(SignatureScheme.STANDARD), found.of(SignatureScheme.LEGACY)
    if any(not one.faults for one in dated):
        return
    if dated:
        yield from _faults_of(dated[0])
        return
    delivered = {event for one in legacy if not one.faults for event in one.webhook.events}
    if delivered >= NEEDED[SignatureScheme.LEGACY]:
        return
    if not legacy:
        option = "" if found.dated_is_known else " --legacy"
        elsewhere = len(found.foreign)
        others = f" Webhooks that point to other addresses: {elsewhere}." if elsewhere else ""
        yield Finding(
            fault=Fault.MISSING,
            sentence=f"No webhook of this API key points to {found.url}.{others} Webhooks that "
            "were created in the provider's app are not listed.",
            repair=_REPAIRS[Fault.MISSING] + option,
        )
        return
    for one in legacy:
        yield from _faults_of(one)
    missing = NEEDED[SignatureScheme.LEGACY].difference(*(one.webhook.events for one in legacy))
    if missing:
        yield Finding(
            fault=Fault.EVENTS_MISSING,
            sentence=f"No webhook delivers {', '.join(sorted(missing))}.",
            repair=_REPAIRS[Fault.EVENTS_MISSING] + " --legacy",
        )


def _faults_of(one: OurWebhook) -> Iterator[Finding]:
    name = f"Webhook {one.webhook.webhook_id}"
    sentences = {
        Fault.DISABLED: f"{name} is disabled, so it delivers nothing.",
        Fault.EVENTS_MISSING: f"{name} does not deliver {', '.join(sorted(one.missing_events))}.",
        Fault.LINES_MISSING: f"{name} does not deliver the events of every line.",
        Fault.KEY_UNKNOWN: f"{name} signs with a key that this service does not have, so all its "
        "deliveries are refused.",
    }
    option = " --legacy" if one.scheme is SignatureScheme.LEGACY else ""
    for fault, sentence in sentences.items():
        if fault in one.faults:
            # The provider shows the key of a legacy webhook. So this service can save the key if
            # the webhook is registered again.
            is_shown = fault is Fault.KEY_UNKNOWN and one.webhook.key is not None
            repair = "crm-api webhooks register" if is_shown else _REPAIRS[fault]
            yield Finding(fault=fault, sentence=sentence, repair=repair + option)
