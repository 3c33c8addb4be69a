/** The frame of every screen: navigation, connection state, user menu and short notices. */
import { Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { countConversations } from "../api/inbox";
import { useColleagues } from "../colleagues";
import { t, useLanguage } from "../i18n";
import { startKeys, useKeys } from "../keys";
import { refreshByEvents } from "../live";
import { usePreferences } from "../preferences";
import { may, signOut, useSession } from "../session";
import { Icon } from "../ui/icons";
import { PlainLink } from "../ui/plain-link";
import { Popover } from "../ui/popover";
import { stateName } from "../ui/states";
import { fail, Toasts } from "../ui/toasts";
import { BehindNotice, LiveState } from "./live-state";
import { SandboxBar } from "./sandbox-bar";
import { allowedPlaces } from "./nav";

const Palette = lazy(() => import("./palette").then((one) => ({ default: one.Palette })));
const KeysHelp = lazy(() => import("./keys-help").then((one) => ({ default: one.KeysHelp })));

function UserMenu({ onKeys }: { onKeys: () => void }) {
  const session = useSession();
  const { preferences, change } = usePreferences();
  const { me } = useColleagues();
  if (session.state !== "in") return null;
  const leave = async (everywhere: boolean) => {
    await signOut(everywhere).catch(fail);
  };
  const name = me?.name ?? session.me.name;
  const initials = name.split(/\s+/, 2).map((one) => one[0]).join("").toUpperCase();
  return (
    <Popover
      className="user-button"
      button={
        <>
          <span className="avatar" aria-hidden="true">{initials}</span>
          <span className="user-name">{name}</span>
          <span className="hidden">{t("Your account")}</span>
        </>
      }
    >
      {(close) => (
        <div className="menu">
          <p className="menu-head">
            {name}
            <span>{session.me.role && stateName(session.me.role)}</span>
          </p>
          <label>
            {t("Theme")}
            <select value={preferences?.theme ?? "system"} onChange={(event) => change({ theme: event.target.value as "dark" }).catch(fail)}>
              <option value="system">{t("As the system")}</option>
              <option value="light">{t("Light")}</option>
              <option value="dark">{t("Dark")}</option>
            </select>
          </label>
          <label>
            {t("Language")}
            <select value={preferences?.language ?? "en"} onChange={(event) => change({ language: event.target.value as "es" }).catch(fail)}>
              <option value="en">English</option>
              <option value="es">Español</option>
            </select>
          </label>
          <hr />
          <button type="button" onClick={() => (close(), onKeys())}>
            <Icon name="keyboard" /> {t("The keys of this screen")}
          </button>
          <button type="button" onClick={() => leave(false)}>
            <Icon name="out" /> {t("Sign out")}
          </button>
          <button type="button" onClick={() => leave(true)}>
            <Icon name="out" /> {t("Sign out everywhere")}
          </button>
        </div>
      )}
    </Popover>
  );
}

/** Return how many conversations wait for an answer. */
function useWaiting(): number {
  const counts = useQuery({ queryKey: ["conversations", "counts"], queryFn: countConversations, enabled: may("messages:read"), refetchInterval: 60_000 });
  return counts.data?.waiting ?? 0;
}

export function Shell() {
  const spoken = useLanguage();
  const cache = useQueryClient();
  const screen = useRouterState({ select: (state) => state.location.pathname.split("/")[1] });
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useEffect(() => refreshByEvents(cache), [cache]);
  useEffect(() => {
    // After a change of the screen, move the focus from the clicked link to the new screen.
    if (!isFirst.current) main.current?.focus({ preventScroll: true });
    isFirst.current = false;
    // On a phone, the navigation is wider than the screen, so scroll to the current link.
    // `scrollIntoView` would also change where the Tab key starts.
    const here = document.querySelector<HTMLElement>(".nav [aria-current]");
    const nav = here?.parentElement;
    if (here && nav) nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
  }, [screen]);
  useEffect(startKeys, []);
  const waiting = useWaiting();
  const navigate = useNavigate();
  const [open, setOpen] = useState<"palette" | "keys" | null>(null);
  const shown = allowedPlaces();
  useKeys(t("Everywhere"), [
    { key: "mod+k", name: t("Find a screen, a person, a conversation, a campaign or an action"), run: () => setOpen((was) => (was ? null : "palette")) },
    { key: "?", name: t("The keys of this screen"), run: () => setOpen("keys") },
    ...shown.map((one) => ({ key: `g ${one.key}`, name: t("Go to {screen}", { screen: t(one.name) }), run: () => void navigate({ to: one.to }) })),
  ]);
  return (
    <div className="shell">
      <a className="skip" href="#main">{t("Skip to the content")}</a>
      <div className="side">
        <div className="brand" aria-hidden="true">
          <span className="brand-mark" />
          crm-api
        </div>
        <button type="button" className="find-button" onClick={() => setOpen("palette")}>
          <Icon name="search" /> <span>{t("Find")}</span> <kbd aria-hidden="true">{/Mac|iPhone|iPad/.test(navigator.platform) ? "⌘K" : "Ctrl K"}</kbd>
        </button>
        <nav aria-label="Main" className="nav">
          {shown.map((one) => (
            <PlainLink key={one.to} href={one.to} preload aria-current={one.to === `/${screen}` ? "page" : undefined}>
              <Icon name={one.icon} />
              <span>{t(one.name)}</span>
              {one.to === "/inbox" && waiting > 0 && (
                <span className="nav-count number" title={t("{n} waiting", { n: waiting })}>{waiting > 99 ? "99+" : waiting}</span>
              )}
            </PlainLink>
          ))}
        </nav>
        <div className="side-foot">
          <LiveState />
          <UserMenu onKeys={() => setOpen("keys")} />
        </div>
      </div>
      <div className="stage">
        <SandboxBar />
        <BehindNotice />
        <main key={spoken} id="main" ref={main} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <Toasts />
      <Suspense>
        {open === "palette" && <Palette onClose={() => setOpen(null)} />}
        {open === "keys" && <KeysHelp onClose={() => setOpen(null)} />}
      </Suspense>
    </div>
  );
}
