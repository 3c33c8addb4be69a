/** The screen to write a campaign: a form, and beside it the preview with the cost. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { data } from "../api/client";
import { createCampaign, previewDraft, readCampaign, updateCampaign } from "../api/generated";
import { sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { Button, Failed, Loading, PageHead } from "../ui/parts";
import { say } from "../ui/toasts";
import { draftOf, EMPTY, forget, keep, kept, requestOf, type Draft } from "./compose/draft";
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
    enabled: id !== undefined,
    queryFn: () => data(readCampaign({ path: { campaign_id: id! }, throwOnError: true })),
  });
  if (id === undefined) {
    const audience = list ? `list:${list}` : segment ? `segment:${segment}` : null;
    return <Composer begin={{ ...EMPTY, ...kept(undefined), ...(audience ? { audience } : {}) }} />;
  }
  if (stored.data?.status === "draft") return <Composer key={id} id={id} begin={kept(id) ?? draftOf(stored.data)} />;
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

/** Return a sentence about the first missing input. The button is disabled because of it. */
function missingIn(draft: Draft): string {
  if (!draft.name.trim()) return t("Give it a name.");
  if (!draft.audience) return t("Choose people.");
  if (!draft.line) return t("Choose a line.");
  return t("Write a message.");
}

function Composer({ id, begin }: { id?: string; begin: Draft }) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const [draft, setDraft] = useState(begin);
  const [person, setPerson] = useState<string | null>(null);
  const set = (change: Partial<Draft>) => setDraft((was) => ({ ...was, ...change }));
  useEffect(() => keep(id, draft), [id, draft]);
  const request = useMemo(() => requestOf(draft), [draft]);
  const asked = useLate(request, 500);
  const preview = useQuery({
    queryKey: ["campaign-preview", asked, person],
    enabled: asked !== null,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => data(previewDraft({ body: { ...asked!, ...(person ? { contact_ids: [person] } : { limit: 8 }) }, signal, throwOnError: true })),
  });
  const save = useMutation({
    mutationFn: () =>
      id ? data(updateCampaign({ path: { campaign_id: id }, body: request!, throwOnError: true })) : data(createCampaign({ body: request!, throwOnError: true })),
    onSuccess: async (made) => {
      forget(id);
      say(t("The draft is saved."));
      cache.setQueryData(["campaign", made.id], made);
      void cache.invalidateQueries({ queryKey: ["campaign", made.id] });
      void cache.invalidateQueries({ queryKey: ["campaigns"] });
      await navigate({ to: "/campaigns/$id", params: { id: made.id }, search: {} });
    },
  });
  const discard = () => {
    forget(id);
    if (id) void navigate({ to: "/campaigns/$id", params: { id }, search: {} });
    else setDraft(EMPTY);
  };
  const error = save.error ?? preview.error;
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
            <Button kind="main" icon="check" busy={save.isPending} disabled={!isReady} onClick={() => save.mutate()}>{t("Review and start")}</Button>
          </>
        }
      />
      <div className="composer">
        <div className="composer-form">
          {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
          <Who draft={draft} set={set} error={error} />
          <What draft={draft} set={set} error={error} />
          <When draft={draft} set={set} error={error} />
        </div>
        <Beside preview={preview.data} error={preview.error} isAsked={asked !== null} person={person} onPerson={setPerson} />
      </div>
    </>
  );
}
