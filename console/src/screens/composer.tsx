/** The screen to write a campaign: a form, and beside it the preview with the cost. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState, type ReactNode } from "react";
import { Meanwhile, useSaveChanges, versionOf } from "../api/changes";
import { data } from "../api/client";
import { createCampaign, previewDraft, readCampaign, updateCampaign, type CampaignCreate, type CampaignRead } from "../api/generated";
import { ApiProblem, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Icon } from "../ui/icons";
import { Button, Failed, Loading, PageHead } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { draftOf, dropLeft, EMPTY, forget, hasText, keep, kept, leftByClosedTabs, requestOf, takeLeft, type Draft, type Left, type Unsaved } from "./compose/draft";
import { useChanged } from "./campaign/head";
import { Beside } from "./compose/preview";
import { What } from "./compose/what";
import { When } from "./compose/when";
import { Who } from "./compose/who";
import "./composer.css";

function useLate<T>(value: T, ms: number): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return late;
}

const back = () => (
  <Link to="/campaigns" search={{}} className="back" aria-label={t("Back to the campaigns")}>
    <Icon name="left" />
  </Link>
);

/**
 * The screen for a new campaign. `?draft=` opens a stored draft instead. `?list=` and `?segment=`
 * choose the audience.
 */
export function NewCampaign() {
  const { draft: id, list, segment } = useSearch({ from: "/shell/campaigns/new" });
  const stored = useQuery({
    queryKey: ["campaign", id],
    enabled: id !== undefined && may("campaigns:write"),
    queryFn: () => data(readCampaign({ path: { campaign_id: id! }, throwOnError: true })),
  });
  if (!may("campaigns:write")) {
    return (
      <>
        <PageHead title={t("New campaign")} before={back()} />
        <Failed error={new ApiProblem(403, {})} />
      </>
    );
  }
  if (id === undefined) {
    const audience = list ? `list:${list}` : segment ? `segment:${segment}` : null;
    return <Chooser begin={() => ({ draft: { ...EMPTY, ...kept(undefined)?.draft, ...(audience ? { audience } : {}) }, base: null })} />;
  }
  const draft = stored.data;
  if (draft?.status === "draft") return <Chooser key={id} id={id} begin={() => kept(id) ?? unsavedOf(draft)} />;
  return (
    <>
      <PageHead title={t("Change the draft")} before={back()} />
      {stored.isLoadingError ? (
        <Failed error={stored.error} again={() => void stored.refetch()} />
      ) : stored.data ? (
        <p className="page-body">{t("This campaign was started, so its content cannot change any more. Copy it to change it.")}</p>
      ) : (
        <Loading />
      )}
    </>
  );
}

const fieldsOf = (one: CampaignRead): Partial<CampaignCreate> => requestOf(draftOf(one)) ?? {};
const unsavedOf = (one: CampaignRead): Unsaved => ({ draft: draftOf(one), base: versionOf(one, fieldsOf) });

/** Show the form, and offer the texts that closed tabs have left. */
function Chooser({ id, begin }: { id?: string; begin: () => Unsaved }) {
  const [{ unsaved, times }, setShown] = useState(() => ({ unsaved: begin(), times: 0 }));
  const [left, setLeft] = useState<Left[]>([]);
  const find = useCallback(() => void leftByClosedTabs(id).then(setLeft, () => undefined), [id]);
  useEffect(find, [find]);
  const show = (next: Unsaved) => setShown({ unsaved: next, times: times + 1 });
  return (
    <Composer key={times} {...(id ? { id } : {})} begin={unsaved} onRenew={show}>
      {left.map((one) => (
        <p key={one.key} className="notice" role="status">
          {t("A closed window left text that was not saved: “{name}”.", { name: one.draft.name.trim() || t("Untitled") })}{" "}
          <button type="button" className="link" onClick={() => (takeLeft(id, one), show(one), find())}>{t("Continue with it")}</button>{" "}
          <button type="button" className="link" onClick={() => (dropLeft(one.key), find())}>{t("Delete it")}</button>
        </p>
      ))}
    </Composer>
  );
}

/** Return a sentence about the first missing input. The button is disabled because of it. */
function missingIn(draft: Draft): string {
  if (!draft.name.trim()) return t("Give it a name.");
  if (!draft.audience) return t("Choose people.");
  if (!draft.line) return t("Choose a line.");
  return t("Write a message.");
}

type Props = { id?: string; begin: Unsaved; onRenew: (next: Unsaved) => void; children: ReactNode };

function Composer({ id, begin, onRenew, children }: Props) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const [draft, setDraft] = useState(begin.draft);
  const [person, setPerson] = useState<string | null>(null);
  const set = (change: Partial<Draft>) => setDraft((was) => ({ ...was, ...change }));
  useEffect(() => {
    // A form without text is not stored, so that a closed tab leaves nothing.
    const isChanged = id ? draft !== begin.draft || kept(id) !== null : hasText(draft);
    if (isChanged) keep(id, { draft, base: begin.base });
    else forget(id);
  }, [id, draft, begin]);
  const request = useMemo(() => requestOf(draft), [draft]);
  const asked = useLate(request, 500);
  const preview = useQuery({
    queryKey: ["campaign-preview", asked, person],
    enabled: asked !== null,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => data(previewDraft({ body: { ...asked!, ...(person ? { contact_ids: [person] } : { limit: 8 }) }, signal, throwOnError: true })),
  });
  const path = { campaign_id: id ?? "" };
  const read = () => data(readCampaign({ path, throwOnError: true }));
  const changed = useChanged();
  const { save, isPending, isConflict, error: refusal } = useSaveChanges<Partial<CampaignCreate>, CampaignRead>({
    base: begin.base ?? { fields: {}, tag: undefined },
    read: async () => versionOf(await read(), fieldsOf),
    write: (body, headers) => data(id ? updateCampaign({ path, body, headers, throwOnError: true }) : createCampaign({ body: body as CampaignCreate, throwOnError: true })),
    onSaved: async (made) => {
      forget(id);
      say(t("The draft is saved."));
      if (made) changed(made);
      await navigate({ to: "/campaigns/$id", params: { id: made?.id ?? id! }, search: {} });
    },
  });
  const load = () => {
    const show = (now: CampaignRead) => (forget(id), cache.setQueryData(["campaign", id], now), onRenew(unsavedOf(now)));
    void read().then(show, fail);
  };
  const discard = () => {
    forget(id);
    if (id) void navigate({ to: "/campaigns/$id", params: { id }, search: {} });
    else onRenew({ draft: EMPTY, base: null });
  };
  const error = refusal ?? preview.error;
  const isReady = request !== null && draft.name.trim() !== "";
  const missing = isReady ? null : missingIn(draft);
  return (
    <>
      <PageHead
        title={id ? t("Change the draft") : t("New campaign")}
        before={back()}
        actions={
          <>
            {missing && <span className="faint composer-missing" role="status">{missing}</span>}
            <Button kind="quiet" onClick={discard}>{id ? t("Discard the changes") : t("Empty the form")}</Button>
            <Button kind="main" icon="check" busy={isPending} disabled={!isReady} onClick={() => save(request!)}>{t("Review and start")}</Button>
          </>
        }
      />
      <div className="composer">
        <div className="composer-form">
          {children}
          {isConflict && <Meanwhile onLoad={load} />}
          {refusal && <p className="notice notice-bad" role="alert">{sentenceOf(refusal)}</p>}
          <Who draft={draft} set={set} error={error} />
          <What draft={draft} set={set} error={error} />
          <When draft={draft} set={set} error={error} />
        </div>
        <Beside preview={preview.data} error={preview.error} isAsked={asked !== null} person={person} onPerson={setPerson} />
      </div>
    </>
  );
}
