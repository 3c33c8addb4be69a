/** The command palette (⌘K or Ctrl+K) finds screens, actions, people, conversations, campaigns. */
import { useNavigate } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState, type KeyboardEvent } from "react";
import { data } from "../api/client";
import { listCampaigns, listContacts } from "../api/generated";
import { listConversations } from "../api/inbox";
import { personName, phone } from "../format";
import { t } from "../i18n";
import { keyGroups } from "../keys";
import { may, signOut } from "../session";
import { fail } from "../ui/toasts";
import { campaignStatus } from "../ui/words";
import { Keys } from "./keys-help";
import { allowedPlaces, deepPlaces } from "./nav";

type Found = { id: string; text: string; note?: string | undefined; key?: string; run: () => unknown };
type Part = { title: string; all: Found[] };

const WAIT_MS = 180;
const MOST = 5;

function useLate(text: string): string {
  const [late, setLate] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setLate(text.trim()), WAIT_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return late;
}

/** Return what the API finds. Data that the user may not read are not searched. */
function useHits(text: string, go: (to: string) => void): Part[] {
  const q = useLate(text);
  const isOn = q.length >= 2;
  const people = useQuery({ queryKey: ["palette", "contacts", q], queryFn: () => data(listContacts({ query: { q, limit: MOST }, throwOnError: true })), enabled: isOn && may("contacts:read"), retry: false });
  const talks = useQuery({ queryKey: ["palette", "conversations", q], queryFn: ({ signal }) => listConversations({ q, limit: MOST }, signal), enabled: isOn && may("messages:read"), retry: false });
  const campaigns = useQuery({ queryKey: ["palette", "campaigns", q], queryFn: () => data(listCampaigns({ query: { q, limit: MOST }, throwOnError: true })), enabled: isOn && may("campaigns:read"), retry: false });
  if (!isOn) return [];
  return [
    { title: t("People"), all: (people.data?.data ?? []).map((one) => ({ id: one.id, text: personName(one), note: phone(one.phone), run: () => go(`/contacts/${one.id}`) })) },
    {
      title: t("Conversations"),
      all: (talks.data?.data ?? []).map((one) => ({ id: one.id, text: one.contact ? personName({ ...one.contact, phone: one.phone }) : phone(one.phone), note: one.last_message?.body_preview ?? undefined, run: () => go(`/inbox/${one.id}`) })),
    },
    { title: t("Campaigns"), all: (campaigns.data?.data ?? []).map((one) => ({ id: one.id, text: one.name, note: campaignStatus(one.status), run: () => go(`/campaigns/${one.id}`) })) },
  ];
}

const plainText = (text: string) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

export function Palette({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const name = useId();
  const box = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  // The actions of the screen behind the palette, as they are when the palette opens.
  const [actions] = useState(() => keyGroups().flatMap((group) => group.keys.filter((one) => one.run && !one.key.startsWith("g ")).map((one) => ({ ...one, group: group.title }))));
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const go = (to: string) => void navigate({ href: to });
  const hits = useHits(text, go);
  const words = plainText(text).split(/\s+/).filter(Boolean);
  const fits = (one: Found) => words.every((word) => plainText(`${one.text} ${one.note ?? ""}`).includes(word));
  const places: Found[] = [
    ...allowedPlaces().map((one) => ({ id: one.to, text: t(one.name), key: `g ${one.key}`, run: () => go(one.to) })),
    ...deepPlaces().filter((one) => text && (!one.scope || may(one.scope))).map((one) => ({ id: one.to, text: one.name, run: () => go(one.to) })),
  ];
  const own: Found[] = [
    ...actions.filter((one) => one.key !== "mod+k").map((one) => ({ id: `${one.group} ${one.key}`, text: one.name, note: one.group, key: one.key, run: one.run! })),
    { id: "out", text: t("Sign out"), run: () => void signOut(false).catch(fail) },
    { id: "out everywhere", text: t("Sign out everywhere"), run: () => void signOut(true).catch(fail) },
  ];
  const parts = [{ title: t("Screens"), all: places.filter(fits) }, { title: t("Actions"), all: own.filter(fits) }, ...hits].filter((one) => one.all.length > 0);
  const all = parts.flatMap((one) => one.all);
  const current = all[Math.min(at, all.length - 1)];
  const idOf = (one: Found) => `${name}-${all.indexOf(one)}`;
  const choose = (one: Found | undefined) => {
    if (!one) return;
    onClose();
    // Run the action after the palette has closed and the focus has returned.
    setTimeout(one.run);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step && all.length) {
      const to = (Math.min(at, all.length - 1) + step + all.length) % all.length;
      setAt(to);
      document.getElementById(`${name}-${to}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && !event.nativeEvent.isComposing) choose(current);
    else return;
    event.preventDefault();
  };
  return (
    <dialog ref={box} className="dialog palette" aria-label={t("Find and do")} onCancel={(event) => (event.preventDefault(), onClose())} onClick={(event) => event.target === box.current && onClose()}>
      <input
        type="text"
        role="combobox"
        aria-label={t("Find a screen, a person, a conversation, a campaign or an action")}
        placeholder={t("Find a screen, a person, a conversation, a campaign or an action")}
        aria-expanded="true"
        aria-controls={`${name}-list`}
        aria-activedescendant={current ? idOf(current) : undefined}
        autoComplete="off"
        value={text}
        onChange={(event) => (setText(event.target.value), setAt(0))}
        onKeyDown={onKey}
      />
      <div id={`${name}-list`} role="listbox" aria-label={t("Found")} className="palette-list">
        {parts.map((part) => (
          <div key={part.title} role="group" aria-label={part.title}>
            <p className="palette-head" aria-hidden="true">{part.title}</p>
            {part.all.map((one) => (
              <div key={one.id} id={idOf(one)} role="option" aria-selected={one === current} className="palette-option" onClick={() => choose(one)} onMouseMove={() => setAt(all.indexOf(one))}>
                <span>{one.text}</span>
                {one.note && <small>{one.note}</small>}
                {one.key && <Keys text={one.key} />}
              </div>
            ))}
          </div>
        ))}
      </div>
      {parts.length === 0 && <p className="faint palette-none">{t("Nothing found")}</p>}
    </dialog>
  );
}
