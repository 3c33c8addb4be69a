"""Our webhooks as they are at the provider, compared with what they should be; all pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from crm_api.domain.openphone.facts import RegisteredWebhook
from crm_api.domain.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.openphone.signature import SignatureScheme, decode_key

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
"""Without these something is missed here."""
BY_PLAN = frozenset(("call.summary.completed", "call.transcript.completed"))
"""Asked for, but not missed: the provider has them in some plans only."""
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
"""Asked for as well where the provider has them."""
_DEFAULT_PORTS = {"https": 443, "http": 80}
ALL_LINES = "*"


class Fault(StrEnum):
    """What can be wrong with our registration; each is repaired by one command."""

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
    """Which keys the receiver accepts.

    Attributes:
        saved: Ids of webhooks whose present key is saved.
        accepted: The bytes of all keys.
        has_given: The settings give keys, and nobody can tell of which webhooks they are.
    """

    saved: frozenset[str]
    accepted: frozenset[bytes]
    has_given: bool


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault, in a sentence, with the command that repairs it."""

    fault: Fault
    sentence: str
    repair: str


@dataclass(frozen=True, kw_only=True)
class OurWebhook:
    """A webhook that points here, and what is wrong with it alone."""

    webhook: RegisteredWebhook
    scheme: SignatureScheme
    faults: frozenset[Fault]
    missing_events: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Everything that is registered, seen from this address.

    Attributes:
        ours: Those that point here, of both schemes.
        foreign: Those that point elsewhere.
        dated_is_known: The provider has webhooks of 2026-03-30; some hosts have only the old ones.
    """

    url: str
    ours: tuple[OurWebhook, ...]
    foreign: tuple[RegisteredWebhook, ...]
    dated_is_known: bool = True

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be repaired; empty when all events reach us by one scheme or the other."""
        return tuple(_findings(self))

    def of(self, scheme: SignatureScheme) -> tuple[OurWebhook, ...]:
        """Return ours of one scheme."""
        return tuple(one for one in self.ours if one.scheme is scheme)


def compare(
    *,
    url: str,
    dated: Sequence[RegisteredWebhook] | None,
    legacy: Sequence[RegisteredWebhook],
    keys: Keys,
    line_ids: Collection[str] = (),
) -> Registration:
    """Compare what is registered with what should be.

    Args:
        url: Where events are received.
        dated: None when the provider has none of that kind.
        line_ids: Provider ids of the lines whose events are wanted; empty asks for nothing.
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
    """Tell whether two addresses are the same place, however they are written."""
    return _place(one) == _place(other)


def wanted_events(webhook: RegisteredWebhook | None, *, offered: frozenset[str]) -> list[str]:
    """Return what to ask for: what is offered, and what it has already."""
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
    """Return what a webhook should tell: a legacy one only of its family."""
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
    """Find what is missing of the better scheme that is there; one without faults is enough."""
    dated, legacy = found.of(SignatureScheme.STANDARD), found.of(SignatureScheme.LEGACY)
    if any(not one.faults for one in dated):
        return
    if dated:
        yield from _faults_of(dated[0])
        return
    told = {event for one in legacy if not one.faults for event in one.webhook.events}
    if told >= NEEDED[SignatureScheme.LEGACY]:
        return
    if not legacy:
        option = "" if found.dated_is_known else " --legacy"
        elsewhere = len(found.foreign)
        others = f"; webhooks that point elsewhere: {elsewhere}" if elsewhere else ""
        yield Finding(
            fault=Fault.MISSING,
            sentence=f"No webhook of this API key points to {found.url}{others}. One that was made "
            "in the provider's app is not listed.",
            repair=_REPAIRS[Fault.MISSING] + option,
        )
        return
    for one in legacy:
        yield from _faults_of(one)
    missing = NEEDED[SignatureScheme.LEGACY].difference(*(one.webhook.events for one in legacy))
    if missing:
        yield Finding(
            fault=Fault.EVENTS_MISSING,
            sentence=f"No webhook tells of {', '.join(sorted(missing))}.",
            repair=_REPAIRS[Fault.EVENTS_MISSING] + " --legacy",
        )


def _faults_of(one: OurWebhook) -> Iterator[Finding]:
    name = f"Webhook {one.webhook.webhook_id}"
    sentences = {
        Fault.DISABLED: f"{name} is disabled: nothing is delivered.",
        Fault.EVENTS_MISSING: f"{name} does not tell of {', '.join(sorted(one.missing_events))}.",
        Fault.LINES_MISSING: f"{name} does not tell of every line.",
        Fault.KEY_UNKNOWN: f"{name} signs with a key that is not known here: all it delivers is "
        "refused.",
    }
    option = " --legacy" if one.scheme is SignatureScheme.LEGACY else ""
    for fault, sentence in sentences.items():
        if fault in one.faults:
            # A legacy webhook shows its key, so that registering it again takes it over.
            is_shown = fault is Fault.KEY_UNKNOWN and one.webhook.key is not None
            repair = "crm-api webhooks register" if is_shown else _REPAIRS[fault]
            yield Finding(fault=fault, sentence=sentence, repair=repair + option)
