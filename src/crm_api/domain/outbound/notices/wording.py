"""Write mails and pushes about notices.

A mail or push contains the texts of messages, notes and tasks only if the user wants this.
"""

import json
from collections.abc import Sequence

from crm_api.domain.identity.preferences.notices import NoticeKind
from crm_api.domain.outbound.notices.subjects import NoticeItem
from crm_api.domain.outbound.web_push.push_message import MOST_BYTES

LONGEST_TEXT = 160
MOST_LINES = 4
"""The largest number of items that a push mentions."""
_COUNTED = {
    NoticeKind.REPLY: ("1 conversation waits for an answer", "{} conversations wait for an answer"),
    NoticeKind.MENTION: ("1 note mentions you", "{} notes mention you"),
    NoticeKind.TASK: ("1 task is due", "{} tasks are due"),
}


def write_title(items: Sequence[NoticeItem]) -> str:
    """Return one line that counts the items, such as "2 notes mention you; 1 task is due"."""
    parts = []
    for kind, (one, many) in _COUNTED.items():
        count = sum(item.kind is kind for item in items)
        if count:
            parts.append(one if count == 1 else many.format(count))
    return "; ".join(parts)


def write_notice_mail(
    items: Sequence[NoticeItem], *, show_text: bool, name: str, app_url: str
) -> tuple[str, str]:
    """Return the subject and the plain text of a mail that notifies a user.

    Args:
        items: The conversations, notes and tasks about which the user is notified.
        show_text: Whether the mail contains the texts of messages, notes and tasks.
        name: The name of the business.
        app_url: The URL of the frontend, for links.
    """
    lines = []
    for item in items:
        lines += [_line(item, show_text=show_text), f"{app_url}{_path(item)}", ""]
    footer = ["--", "Change what you are notified of:", f"{app_url}/settings"]
    whose = " ".join(name.split())
    return f"[{whose}] {write_title(items)}", "\n".join([*lines, *footer]) + "\n"


def write_push(items: Sequence[NoticeItem], *, show_text: bool, tag: str) -> bytes:
    """Return the JSON that the service worker of the frontend shows.

    The JSON has these fields:

    - ``title`` and ``body``;
    - ``url``: a path of the frontend;
    - ``tag``: a new notice replaces an older notice with the same tag;
    - ``count``: the number of ``items``.
    """
    lines = [_line(item, show_text=show_text) for item in items[:MOST_LINES]]
    if len(items) > MOST_LINES:
        lines.append(f"and {len(items) - MOST_LINES} more")
    paths = {_path(item) for item in items}
    shown = {
        "title": write_title(items),
        "body": "\n".join(lines),
        "url": paths.pop() if len(paths) == 1 else "/inbox",
        "tag": tag,
        "count": len(items),
    }
    payload = json.dumps(shown, ensure_ascii=False).encode()
    if len(payload) > MOST_BYTES:
        # Some alphabets need up to four bytes per character, so the push can be too long. Then it
        # is sent without its body.
        payload = json.dumps(shown | {"body": ""}, ensure_ascii=False).encode()
    return payload


def _line(item: NoticeItem, *, show_text: bool) -> str:
    words = " ".join((item.text or "").split()) if show_text else ""
    if len(words) > LONGEST_TEXT:
        words = words[: LONGEST_TEXT - 1] + "…"
    name = " ".join((item.name or "").split())[:LONGEST_TEXT]
    if item.kind is NoticeKind.REPLY:
        return f"{name}: {words}" if words else f"{name} waits for an answer."
    if item.kind is NoticeKind.MENTION:
        return f"{name} mentions you: {words}" if words else f"{name} mentions you in a note."
    return f"Due: {words}" if words else "A task is due."


def _path(item: NoticeItem) -> str:
    return "/today" if item.conversation_id is None else f"/inbox/{item.conversation_id}"
